"""Load and soak of the page, the predictor, training and prediction; writes a report in Markdown: ``make soak``.

Usage: python -m scripts.soak [--minutes 5] [--clients 16] [--steps 2000] [--only training ...] [--checkpoint PATH]

Load: clients ask the page, and then one predictor, at the same time; each compares every result with the one that it
got alone. Soak: 2,000 training steps and 2,000 predictions, whose memory, open handles and threads must not grow. Each
section runs in its own process. What fails is in the report, and the exit status is then 1. It needs ``/proc`` (Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from scripts.gpu_check.report import ROOT, Table, machine, sentence
from scripts.soak.options import Options


def _load_page(options: Options) -> list[Table]:
    from scripts.soak.load import load_page

    return load_page(options)


def _load_predictor(options: Options) -> list[Table]:
    from scripts.soak.load import load_predictor

    return load_predictor(options)


def _training(options: Options) -> list[Table]:
    from scripts.soak.soaking import soak_training

    return soak_training(options)


def _predictions(options: Options) -> list[Table]:
    from scripts.soak.soaking import soak_predictions

    return soak_predictions(options)


SECTIONS: dict[str, Callable[[Options], list[Table]]] = {
    "page": _load_page, "predictor": _load_predictor, "training": _training, "predictions": _predictions,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the sections; 1 if anything failed."""
    options = _parse(sys.argv[1:] if arguments is None else list(arguments))
    if options.section:
        return _run_section(options)
    from scripts.soak.network import find_network

    tables: list[Table] = []
    begin = time.strftime("%Y-%m-%d")
    with tempfile.TemporaryDirectory(prefix="opsnet_soak_") as folder:
        options.checkpoint = find_network(options.checkpoint, Path(os.environ.get("OPSNET_RUNS", "runs")), Path(folder))
        for name in options.only or SECTIONS:
            start = time.monotonic()
            print(f"== {name}", flush=True)
            tables += _in_process(name, options, Path(folder))
            print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)
            _write(options, begin, tables)
    failures = [failure for table in tables for failure in table.failures]
    print(
        "\n".join(
            [f"{options.output}: {len(failures)} failures" if failures else f"{options.output}: passed", *failures]
        )
    )
    return int(bool(failures))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], prog="python -m scripts.soak")
    parser.add_argument("--minutes", type=float, default=5, help="of load, on the page and on the predictor")
    parser.add_argument("--clients", type=int, default=16, help="at the same time")
    parser.add_argument("--steps", type=int, default=2000, help="training steps, and predictions")
    parser.add_argument("--only", nargs="+", choices=[*SECTIONS], help="sections to run")
    parser.add_argument("--checkpoint", type=Path, help="default: the newest of make run, or one that is trained here")
    parser.add_argument("--output", type=Path, default=Path("runs/soak/report.md"), help="the report")
    parser.add_argument("--section", choices=[*SECTIONS], help=argparse.SUPPRESS)  # run in this process
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _run_section(options: argparse.Namespace) -> int:
    """Runs one section in this process and writes its tables to its folder as json."""
    given = Options(options.checkpoint, options.folder, options.clients, options.minutes, options.steps)
    tables = SECTIONS[options.section](given)
    (options.folder / "tables.json").write_text(json.dumps([asdict(table) for table in tables]), encoding="utf-8")
    return 0


def _in_process(name: str, options: argparse.Namespace, parent: Path) -> list[Table]:
    """The tables of a section that runs in a process of its own."""
    folder = parent / f"section_{name}"
    folder.mkdir()
    command = [sys.executable, "-m", "scripts.soak", "--section", name, "--folder", str(folder)]
    command += ["--checkpoint", str(options.checkpoint), "--minutes", str(options.minutes)]
    command += ["--clients", str(options.clients), "--steps", str(options.steps)]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    try:
        subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})
        tables = json.loads((folder / "tables.json").read_text(encoding="utf-8"))
        return [Table(**{**table, "columns": tuple(table["columns"])}) for table in tables]
    except (OSError, subprocess.SubprocessError) as error:
        return [Table(name, ("",), failures=[f"{sentence(error)}; its error is in the output"])]


def _write(options: argparse.Namespace, day: str, tables: Sequence[Table]) -> None:
    how = f"{options.clients} clients for {options.minutes:g} minutes, {options.steps:,} steps; {options.checkpoint}."
    parts = ["# Load and soak", "", f"{day}, {machine('cpu', None)}", "", how, "", *(t.markdown() for t in tables)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
