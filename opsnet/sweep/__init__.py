"""Sweeps: several jobs of one command line, on this machine or a cluster, and the report of their results."""
