"""Published Mask2Former weights: file formats, layouts, and the names of their tensors in this project."""
