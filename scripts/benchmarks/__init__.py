"""Time and memory of the full-size networks, and against transformers' Mask2Former."""
