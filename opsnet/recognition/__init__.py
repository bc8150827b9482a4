"""Recognizers, which classify proposals: Mask Pooling, Embedding Modulation, and the paper's baselines."""
