"""Compares finished runs of several seeds: the paper's rankings per seed, and PQ as mean ± sd.

Usage: python -m scripts.miniature.summarize_seeds runs/seed0 runs/seed1 runs/seed2 --out seeds.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from opsnet.metrics.results import load_run
from opsnet.miniature.seeds import seed_metrics_table, seed_rankings_table
from opsnet.utils.errors import exit_on_user_error
from opsnet.utils.files import write_text
from opsnet.visualization.tables import to_markdown, to_rich


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints both tables and, with ``--out``, writes them as markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished `make run`")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="markdown file to write the tables to")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        runs = [load_run(run) for run in options.runs]
    tables = (seed_rankings_table(runs), seed_metrics_table(runs))
    # A pipe or a file has no width, and 80 columns would wrap every row.
    console = Console(width=None if sys.stdout.isatty() else 120)
    for table in tables:
        console.print(to_rich(table))
    if options.out:
        write_text(options.out, "# Seeds\n\n" + "\n".join(to_markdown(table) for table in tables))
        console.print(f"Written: {options.out}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
