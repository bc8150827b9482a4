"""Published weights: converted, compared with transformers, scored with their own class head."""
