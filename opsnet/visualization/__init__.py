"""Visualization of results: overlays, plots, tables."""
