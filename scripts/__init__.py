"""Scripts that are not installed, run from the root of the repository: ``python -m scripts.<folder>.<name>``."""
