"""How a proposal gets its name: Mask Pooling, Embedding Modulation, and what the paper compares them with."""
