"""Checks and times opsnet on a GPU and writes a report in Markdown: ``make gpu-check``.

Usage: python -m scripts.gpu_check [--quick] [--device cpu] [--only kernels ...] [--minutes 8] [--output REPORT.md]

Each section runs in its own process, so that one that crashes or hangs does not stop the others; the report is written
after each. What fails is in the report with its error, and the exit status is then 1. On a CPU networks and images are
small, which tests the script rather than the machine. Nothing is downloaded: all weights and images are random.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from scripts.gpu_check.measure import Setup
from scripts.gpu_check.report import ROOT, Table, machine, sentence

SHARE = 0.4
"""Of the time given by ``--minutes``, what one section may take: one that hangs leaves the rest to the others."""


def _kernels(setup: Setup) -> list[Table]:
    from scripts.gpu_check.kernels import check_kernels

    return check_kernels(setup)


def _training(setup: Setup) -> list[Table]:
    from scripts.gpu_check.training import check_training

    return check_training(setup)


def _forward(setup: Setup) -> list[Table]:
    from scripts.gpu_check.networks import check_forward

    return check_forward(setup)


def _fcclip(setup: Setup) -> list[Table]:
    from scripts.gpu_check.networks import check_fcclip

    return check_fcclip(setup)


def _evaluation(setup: Setup) -> list[Table]:
    from scripts.gpu_check.evaluation import check_evaluation

    return check_evaluation(setup)


def _ddp(setup: Setup) -> list[Table]:
    from scripts.gpu_check.training import check_ddp

    return check_ddp(setup)


SECTIONS: dict[str, Callable[[Setup], list[Table]]] = {
    "kernels": _kernels, "training": _training, "forward": _forward, "fcclip": _fcclip, "evaluation": _evaluation,
    "ddp": _ddp,
}  # fmt: skip
"""Imports of a section are its own, so that a package that is missing fails that section only."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the sections; 1 if anything failed."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parse(given)
    if options.section:
        return _run_section(options)
    ends = time.monotonic() + 60 * options.minutes
    report: dict[str, list[Table]] = {}
    begin = time.strftime("%Y-%m-%d")
    with tempfile.TemporaryDirectory(prefix="opsnet_gpu_check_") as folder:
        for name in options.only or SECTIONS:
            start = time.monotonic()
            print(f"== {name}", flush=True)
            report[name] = _in_process(name, options, Path(folder), ends)
            print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)
            _write(options, begin, report)
    failed = [name for name, tables in report.items() if any(table.failures for table in tables)]
    print(f"{options.output}: {'failed: ' + ', '.join(failed) if failed else 'all sections passed'}")
    return int(bool(failed))


def _parse(arguments: list[str]) -> argparse.Namespace:
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], prog="python -m scripts.gpu_check")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu_check/report.md"), help="the report")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda if available")
    parser.add_argument("--quick", action="store_true", help="small networks and images; always on a CPU")
    parser.add_argument("--only", nargs="+", choices=[*SECTIONS], help="sections to run")
    parser.add_argument(
        "--minutes", type=float, default=60, help="sections that do not fit into this time are left out"
    )
    parser.add_argument("--commit", help="of the sources, if this is no git repository")
    parser.add_argument("--section", choices=[*SECTIONS], help=argparse.SUPPRESS)  # run in this process
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU: give --device cpu")
    options.quick = options.quick or options.device == "cpu"
    return options


def _run_section(options: argparse.Namespace) -> int:
    """Runs one section in this process and writes its tables to its folder as json."""
    folder = options.folder
    tables = SECTIONS[options.section](Setup(options.device, options.quick, folder))
    if os.environ.get("LOCAL_RANK", "0") == "0":  # not in the other processes of a distributed training
        (folder / "tables.json").write_text(json.dumps([asdict(table) for table in tables]), encoding="utf-8")
    return 0


def _in_process(name: str, options: argparse.Namespace, parent: Path, ends: float) -> list[Table]:
    """The tables of a section that runs in a process of its own."""
    folder = parent / name
    folder.mkdir()
    seconds = min(60 * SHARE * options.minutes, ends - time.monotonic())
    command = [sys.executable, "-m", "scripts.gpu_check", "--section", name, "--folder", str(folder)]
    command += ["--device", options.device, *(["--quick"] if options.quick else [])]
    try:
        if seconds < 5:
            raise TimeoutError("left out, since the time given by --minutes was over")
        code = _call(command, seconds)
        if code:
            raise RuntimeError(f"the process ended with exit status {code}; its error is in the output")
        tables = json.loads((folder / "tables.json").read_text(encoding="utf-8"))
        return [Table(**{**table, "columns": tuple(table["columns"])}) for table in tables]
    except Exception as error:
        print(f"FAILED {name}: {sentence(error)}", flush=True)
        return [Table(name, ("",), failures=[sentence(error)])]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _call(command: list[str], seconds: float) -> int:
    """The exit status of a command; it and the processes that it started end after ``seconds`` at the latest.

    Raises:
        TimeoutError: it was ended.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.getenv("PYTHONPATH"))))}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"stopped after {seconds:.0f} s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _write(options: argparse.Namespace, day: str, report: dict[str, list[Table]]) -> None:
    introduction = f"{day}, {machine(options.device, options.commit)}"
    if options.quick:
        introduction += " Small networks and images: these figures test the script, not the machine."
    parts = ["# GPU check", "", introduction, "", *(t.markdown() for tables in report.values() for t in tables)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
