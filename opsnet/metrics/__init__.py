"""Metrics: ``PanopticQuality`` (in ``panoptic_quality``) and the numpy functions it is built on.

Nothing is imported here, so that ``python -m opsnet.score`` runs without loading torch.
"""
