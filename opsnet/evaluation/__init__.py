"""Evaluation: what the network said of a set's pictures, kept or fresh, scored under any number of settings."""
