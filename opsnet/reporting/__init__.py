"""What a run leaves for people: tables beside the paper's, orderings, plots, overlays and the report."""
