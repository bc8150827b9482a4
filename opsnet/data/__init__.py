"""Data on disk -> ``Batch``: datasets, transforms, and data modules whose order and augmentation resume exactly."""
