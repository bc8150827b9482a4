"""What a run leaves for people: result files, tables, plots and overlays."""
