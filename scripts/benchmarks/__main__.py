"""``python -m scripts.benchmarks growth``: scripts/benchmarks/growth.py. Other benchmarks are modules of their own."""

from __future__ import annotations

import sys

from scripts.benchmarks import growth

if __name__ == "__main__":
    if sys.argv[1:2] != ["growth"]:
        sys.exit("usage: python -m scripts.benchmarks growth [--help]")
    growth.main(sys.argv[2:])
