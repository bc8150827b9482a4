"""A table of the paper compared with our results, from the finished runs in a folder.

Usage: python -m scripts.paper.table 6 [--world scenes] [--format md|latex|csv|png] [--measures all]
       [--runs DIR] [--out FILE]
       python -m scripts.paper.table --all [--world scenes] [--out DIR]

Rows that were not run are listed with the command that runs them. ``--all`` writes every table as md, tex and csv, the
figures of Tables 4 and 6, and tables.md with all of them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from opsnet.paper.comparison import Comparison, compare
from opsnet.paper.rows import tables
from opsnet.paper.runs import Runs
from opsnet.paper.table_figures import alpha_beta_pair, ensemble_ratios
from opsnet.paper.tables import paper_table, to_csv
from opsnet.paper.worlds import World, load_world
from opsnet.utils.errors import exit_on_user_error
from opsnet.utils.files import write_text
from opsnet.visualization.table_image import draw_table
from opsnet.visualization.tables import to_latex, to_markdown, to_rich

FIGURES = {4: ("table4_ratios.png", ensemble_ratios), 6: ("table6_grid.png", alpha_beta_pair)}


def main(words: Sequence[str] | None = None) -> None:
    """Prints or writes the requested tables."""
    options = _arguments(words)
    with exit_on_user_error():
        world, runs = load_world(options.world), Runs(options.runs)
        if options.all:
            _write_all(runs, world, options.out or options.runs / f"tables_{world.name}")
        else:
            _one(compare(options.table, runs, world), world, options)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", help="number of a table in the paper")
    parser.add_argument("--all", action="store_true", help="write all tables to a folder")
    parser.add_argument("--world", default="real", help="real, or scenes: the miniature")
    parser.add_argument("--format", choices=("terminal", "md", "latex", "csv", "png"), default="terminal")
    parser.add_argument("--measures", choices=("main", "all"), default="main", help="main: PQ and mIoU; csv has all")
    default = Path(os.environ.get("OPSNET_RUNS", "runs"))
    parser.add_argument("--runs", type=Path, default=default, help=f"folder of the runs, {default} by default")
    parser.add_argument("--out", type=Path, help="file to write; with --all a folder, RUNS/tables_WORLD by default")
    options = parser.parse_args(words)
    if (options.table is None) != options.all:
        parser.error("give the number of a table, or --all")
    return options


def _one(comparisons: Sequence[Comparison], world: World, options: argparse.Namespace) -> None:
    table = paper_table(comparisons, world, all_measures=options.measures == "all")
    if options.format == "terminal":
        # A pipe has no width, and 80 columns would wrap rows with three datasets.
        Console(width=None if sys.stdout.isatty() else 140).print(to_rich(table))
        return
    if options.format == "png":
        out = options.out or Path(f"table{comparisons[0].row.table}_{world.name}.png")
        print(f"Written: {draw_table(table, out)}")
        return
    texts = {"md": lambda: to_markdown(table), "latex": lambda: to_latex(table), "csv": lambda: to_csv(comparisons)}
    text = texts[options.format]()
    if options.out is None:
        sys.stdout.write(text)
    else:
        write_text(options.out, text)
        print(f"Written: {options.out}")


def _write_all(runs: Runs, world: World, folder: Path) -> None:
    parts = []
    for number in tables():
        comparisons = compare(number, runs, world)
        table = paper_table(comparisons, world)
        name, draw = FIGURES.get(number, ("", None))
        drawn = draw(comparisons, world, folder / name) if draw else None
        figure = f"\n![{table.title}]({drawn.name})\n" if drawn else ""
        write_text(folder / f"table{number}.md", to_markdown(table) + figure)
        write_text(folder / f"table{number}.tex", to_latex(paper_table(comparisons, world, all_measures=True)))
        write_text(folder / f"table{number}.csv", to_csv(comparisons))
        parts.append((folder / f"table{number}.md").read_text(encoding="utf-8"))
        run = sum(c.run is not None for c in comparisons)
        print(f"Table {number}: {run} of {len(comparisons)} rows were run")
    if (folder / "figure4.png").is_file():  # by scripts/paper/figure4.py
        parts.append("## Figure 4. Similarity between the classes of a vocabulary\n\n![Figure 4](figure4.png)\n")
    write_text(folder / "tables.md", "\n".join(parts))
    print(f"Written: {folder / 'tables.md'}, and each table as md, tex and csv")


if __name__ == "__main__":
    main()
