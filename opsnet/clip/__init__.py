"""The frozen CLIP: image features that keep their resolution, and names as text embeddings."""
