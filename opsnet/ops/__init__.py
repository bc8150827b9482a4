"""Tensor functions that everything stands on: the fast forms, each beside its plain form and tested equal to it."""
