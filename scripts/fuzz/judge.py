"""Runs one case as a command would, and says whether what a user sees is what is promised."""

from __future__ import annotations

import io
import logging
import os
import re
import resource
import shutil
import time
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsnet.utils.errors import exit_on_user_error
from scripts.fuzz.seeds import photo
from scripts.fuzz.targets import Target
from scripts.fuzz.watch import Watch

SECONDS = 5.0
"""The longest that one case may take."""
GIGABYTES = 2.0
"""How much the process may grow."""
LONGEST_MESSAGE = 1000
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\u202e]|Traceback|object at 0x")


@dataclass(frozen=True)
class Verdict:
    """The outcome of one case.

    Attributes:
        kind: accepted, refused, or the kind of failure.
        detail: the message that a user reads, or what is wrong.
        seconds: of the processor; on a busy machine more pass.
        megabytes: the largest size of the process so far, above that before its first case.
    """

    kind: str
    detail: str
    seconds: float = 0.0
    megabytes: float = 0.0

    @property
    def is_failure(self) -> bool:
        """Whether a promise was broken."""
        return self.kind not in ("accepted", "refused")


class Judge:
    """Judges cases in this process, which :meth:`prepare` makes fit for that.

    Args:
        folder: where cases get their folders; it is emptied before each.
        seconds, gigabytes: limits; the seconds are those of the processor.
    """

    def __init__(self, folder: Path, seconds: float = SECONDS, gigabytes: float = GIGABYTES) -> None:
        self.folder = Path(os.path.realpath(folder))
        self.seconds, self.gigabytes = seconds, gigabytes
        self._watch, self._base = Watch(), 0.0

    def prepare(self) -> None:
        """Limits this process's memory, silences warnings and logs, and watches what it does, until it ends."""
        base = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = base + int((self.gigabytes + 4) * 2**30)  # Pillow asks for 4 GB that it never touches
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        self._base = _peak()
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        elsewhere = self.folder / "elsewhere"  # a file without a folder would be written here, outside the case's
        elsewhere.mkdir(parents=True, exist_ok=True)
        for level in (self.folder, self.folder.parent):
            (level / "opsnet_canary.png").write_bytes(photo())
        os.chdir(elsewhere)
        self._watch.install()

    def judge(self, target: Target, seed: int) -> Verdict:
        """Makes and runs a case."""
        return self.judge_case(target, target.case(seed))

    def judge_case(self, target: Target, case: Any) -> Verdict:
        """Runs a case in an empty folder."""
        folder = self.folder / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._watch.begin(str(folder))
        start, worked = time.perf_counter(), time.process_time()
        kind, detail = _outcome(target, case, folder)
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
        findings, megabytes = self._watch.end(), _peak() - self._base
        if findings:
            kind, detail = "outside", "; ".join(findings[:3])
        elif worked > self.seconds:
            kind, detail = "slow", f"{worked:.1f} s ({kind}: {detail})"
        elif megabytes > self.gigabytes * 1024:
            kind, detail = "memory", f"{megabytes:.0f} MB ({kind}: {detail})"
        return Verdict(kind, detail, min(seconds, worked), megabytes)


def _peak() -> float:
    """The largest size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _outcome(target: Target, case: Any, folder: Path) -> tuple[str, str]:
    stderr = io.StringIO()
    try:
        with redirect_stderr(stderr), redirect_stdout(io.StringIO()), exit_on_user_error():
            target.run(case, folder)
    except SystemExit as end:
        found = re.search(r"^error: (.*)", stderr.getvalue(), re.DOTALL | re.MULTILINE)
        message = found[1].strip() if found else ""
        if _ran_out_of_memory(end):
            return "memory", f"a reader ran out of memory: {message[:500]!r}"
        problem = _problem(message, end, target, folder)
        return ("message", f"{problem}: {message[:500]!r}") if problem else ("refused", message)
    except BaseException as error:
        kind = "memory" if _ran_out_of_memory(error) else "traceback"
        return kind, traceback.format_exc()[-4000:]
    return "accepted", ""


def _problem(message: str, end: SystemExit, target: Target, folder: Path) -> str:
    """What is wrong with a message; empty if nothing is."""
    if end.code != 2:
        return f"exit code {end.code}"
    if not message or len(message.replace(str(folder), "")) > LONGEST_MESSAGE:
        return "is empty" if not message else f"has {len(message)} letters"
    if found := _UNREADABLE.search(message):
        return f"holds {found[0]!r}"
    if str(folder) not in message and not any(name in message for name in target.names):
        return "names neither a file nor a key"
    return ""


def _ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory did not suffice, even if a reader hides it behind an error of its own."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return any(isinstance(item, MemoryError) and "pillow" not in str(item).lower() for item in seen)
