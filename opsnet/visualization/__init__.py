"""Images of results: overlays, plots, tables."""
