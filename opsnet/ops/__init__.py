"""Tensor functions used by the other packages: each fast form next to a plain form to which it is tested equal."""
