"""Draws the figures of README.md and docs/ that come from this project's own code and drawings."""
