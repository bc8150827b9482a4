"""The frozen CLIP: dense image features, and text embeddings of class names."""
