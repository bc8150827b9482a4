"""The jobs of ``make run``, ``make smoke`` and ``make tables`` on the embedded world, and their seeds side by side."""
