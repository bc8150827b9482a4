"""The jobs of ``make run``, ``make smoke`` and ``make tables`` in the synthetic world, and a comparison of seeds."""
