"""The paper's tables and Figure 4 from finished runs, and its similarities from stored text embeddings."""
