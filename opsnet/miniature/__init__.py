"""The miniature: what its runs are measured by, and their report."""
