"""The report of a run: tables next to the paper's, rankings reproduced or not, plots, timings, versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from rich.console import Console

from opsnet.metrics.results import OUT_OF_DOMAIN, Results, load_run
from opsnet.miniature.rankings import Outcome, check, rankings_table
from opsnet.miniature.summary import summarize
from opsnet.miniature.tables import build_tables
from opsnet.utils.files import write_text
from opsnet.visualization.plots import alpha_beta_heatmap, learning_curves
from opsnet.visualization.tables import Table, to_markdown, to_rich

_BASELINE = "no_cross_attention"


def write_report(run: Path, *, title: str) -> Path:
    """Writes ``report.md`` and its plots into a finished run's folder.

    Args:
        run: folder with ``results.json`` of the full model and, if trained, ``no_cross_attention/``.
        title: the report's heading.

    Returns:
        The path of the report.

    Raises:
        ResultsError: the folder holds no readable results.
    """
    main, baseline = load_run(run)
    outcomes = check(main, baseline)
    parts = [
        f"# {title}\n",
        " ".join(summarize(main, outcomes)) + "\n",
        f"Experiment `{main.experiment}`, seed {main.seed}. {_count(outcomes)}\n",
        to_markdown(rankings_table(outcomes)),
        *(to_markdown(table) for table in build_tables(main, baseline)),
        *_plots(run, main),
        to_markdown(_similarity_table(main)),
        to_markdown(_seconds_table(main, baseline)),
        to_markdown(_versions_table(main)),
        f"## Reproduce\n\n```\nmake run SEED={main.seed}\n```\n",
    ]
    write_text(run / "report.md", "\n".join(parts))
    return run / "report.md"


def print_report(run: Path, console: Console) -> None:
    """Prints what a finished run found, in sentences and then in tables, to a terminal.

    Raises:
        ResultsError: the folder holds no readable results.
    """
    main, baseline = load_run(run)
    outcomes = check(main, baseline)
    console.print("", *summarize(main, outcomes), "", sep="\n", highlight=False)
    tables = (*build_tables(main, baseline), _similarity_table(main), _seconds_table(main, baseline))
    for table in (*tables, rankings_table(outcomes, brief=True)):
        console.print(to_rich(table))
    console.print(_count(outcomes), highlight=False)


def _count(outcomes: tuple[Outcome, ...]) -> str:
    verdicts = [o.verdict for o in outcomes]
    reproduced, missed, absent = (verdicts.count(v) for v in ("reproduced", "NOT reproduced", "not run"))
    return f"Rankings: {reproduced} reproduced, {missed} NOT reproduced, {absent} not run."


def _plots(run: Path, main: Results) -> list[str]:
    """Draws the plots and links them and the existing panels; links are relative to the report."""
    curves = {"full model": run / "opsnet" / "metrics.csv", "without cross-attention": run / _BASELINE / "metrics.csv"}
    drawn = {
        "Learning curves": learning_curves(curves, run / "learning_curves.png"),
        "PQ over alpha and beta, out-of-domain mean": alpha_beta_heatmap(
            main.metrics, OUT_OF_DOMAIN, run / "alpha_beta.png"
        ),
        **{f"Panel: {p.stem.replace('_', ' ')}": p for p in sorted((run / "panels").glob("*.png"))},
    }
    return [f"## {name}\n\n![{name}]({_link(path, run)})\n" for name, path in drawn.items() if path]


def _link(path: Path, run: Path) -> str:
    return quote(path.relative_to(run).as_posix())


def _similarity_table(main: Results) -> Table:
    rows = tuple((domain, f"{s:.3f}", f"{10 * (1 - s):.2f}") for domain, s in main.domain_similarity.items())
    caption = (
        "s: mean over target names of the highest cosine to a training name; 10(1-s): weight of the CLIP embedding."
    )
    return Table("Domain similarity", caption, ("Domain", "s", "10(1-s)"), rows)


def _seconds_table(main: Results, baseline: Results | None) -> Table:
    other: Mapping[str, float] = baseline.seconds if baseline else {}
    phases = dict.fromkeys([*main.seconds, *other])
    rows = tuple((phase, _seconds(main.seconds.get(phase)), _seconds(other.get(phase))) for phase in phases)
    return Table("Seconds per phase", "Wall-clock seconds.", ("Phase", "full model", "without cross-attention"), rows)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _versions_table(main: Results) -> Table:
    rows = tuple((package, version) for package, version in main.versions.items())
    return Table("Versions", "", ("Package", "Version"), rows, text_columns=2)
