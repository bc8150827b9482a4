"""The segmenter: Mask2Former's proposals without classes, with an embedding and an IoU for each."""
