"""Failures of a run: one of each kind is made smaller and saved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from scripts.fuzz.cases import Case
from scripts.fuzz.judge import Verdict
from scripts.fuzz.minimize import minimized
from scripts.fuzz.pool import Chunk, Pool
from scripts.fuzz.targets import Target

Key = tuple[str, str, str]


class Failures:
    """Collects the failures of a run by their kind.

    Args:
        pool: runs smaller cases.
        folder: where they are saved.
    """

    def __init__(self, pool: Pool, folder: Path) -> None:
        self.pool, self.folder = pool, folder
        self._first: dict[Key, tuple[Target, int, Verdict]] = {}

    def take(self, chunk: Chunk) -> None:
        """Takes the failures of a range, and prints the first of each kind."""
        for seed, verdict in chunk.verdicts.items():
            if verdict.is_failure and (key := _key(chunk.target, verdict)) not in self._first:
                self._first[key] = chunk.target, seed, verdict
                last = verdict.detail.strip().splitlines()[-1][:200]
                print(f"{chunk.target.name} {seed}: {verdict.kind}: {last!r}", flush=True)

    def save(self) -> None:
        """Makes the first failure of each kind smaller, unless it takes long, and saves it."""
        for key, (target, seed, verdict) in self._first.items():
            case = target.case(seed)
            if isinstance(case, Case) and verdict.seconds < 1 and verdict.kind not in ("died", "hang"):
                case = minimized(case, lambda smaller: self._key_of(target, smaller) == key)  # noqa: B023
            _save(self.folder / f"{target.name}-{seed}", seed, target, case, verdict)

    def _key_of(self, target: Target, case: Case) -> Key:
        one = Target(target.name, lambda seed: case, target.run, target.names)
        pool = Pool(self.pool.folder / "smaller", 1, self.pool.seconds, self.pool.gigabytes)
        (chunk,) = pool.run([Chunk(one, 0, 1)])
        return _key(target, chunk.verdicts[0])


def _key(target: Target, verdict: Verdict) -> Key:
    """What failures of one kind have in common: of tracebacks their last place, of others the text without values."""
    lines = [line.strip() for line in verdict.detail.splitlines() if line.strip().startswith("File ")]
    text = lines[-1] if lines else re.sub(r"'[^']*'|\d+", "", verdict.detail)[:40]
    return target.name, verdict.kind, text


def _save(place: Path, seed: int, target: Target, case: Any, verdict: Verdict) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if isinstance(case, Case):
        Case({f"files/{name}": content for name, content in case.files.items()}).write(place)
    arguments = repr(dict(case.arguments) if isinstance(case, Case) else case)
    again = f"make fuzz ARGS='--only {target.name} --first {seed} --cases 1'"
    text = f"{verdict.kind}\nagain: {again}\narguments: {arguments[:5000]}\n\n{verdict.detail}\n"
    (place / "about.txt").write_text(text, encoding="utf-8", errors="backslashreplace")
