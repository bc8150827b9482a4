"""The segmenter: Mask2Former with class-agnostic proposals, each with an embedding and a predicted IoU."""
