"""Checks and timings for whoever has a GPU: ``make gpu-check``."""
