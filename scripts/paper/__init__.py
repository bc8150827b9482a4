"""The paper's tables and Figure 4 from finished runs, and vocabulary similarities from stored text embeddings."""
