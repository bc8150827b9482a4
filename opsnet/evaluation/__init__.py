"""Evaluation: scores the network's outputs, fresh or stored, under any number of inference settings."""
