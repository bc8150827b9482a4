"""Panoptic quality: ``PanopticQuality`` (in ``panoptic_quality``) and the numpy functions it stands on.

Nothing is imported here, so that ``python -m opsnet.score`` answers without loading torch.
"""
