"""Published Mask2Former weights: which file has which layout, and what its tensors are called here."""
