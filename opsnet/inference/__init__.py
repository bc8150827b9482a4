"""Inference: from network outputs to panoptic maps, and the settings that select recognizer, filter and overlap."""
