"""Jobs around the package, run from the repository's root: ``python -m scripts.<folder>.<name>``; not installed."""
