"""The miniature: its synthetic images, and the measures and report of its runs."""
