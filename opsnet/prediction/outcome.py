"""What became of a prediction's images, and how the command prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.cautions import Summary
from opsnet.prediction.cosines import shown_score
from opsnet.prediction.formats import shown_name
from opsnet.prediction.image_writing import WrittenImage

OUTCOMES = {
    "named": "named", "empty": "empty", "covered": "covered by masks in front", "score": "dropped by their scores",
}  # fmt: skip
"""What became of given masks: a key of :attr:`Outcome.masks`, and how it is printed."""


@dataclass
class Outcome:
    """Summary of a prediction run.

    Attributes:
        done: number of images whose maps are written.
        failed: one error message per image that was skipped.
        seconds: total time, including reading and writing.
        last: map of the image that this process predicted last.
        warnings: of all maps.
        masks: number of given masks that were "named", or why they were not, see :class:`DroppedMask`.
        resumed: number of images that an earlier run had written.
    """

    done: int = 0
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    last: PanopticResult | None = None
    warnings: Summary = field(default_factory=Summary)
    masks: Counter[str] = field(default_factory=Counter)
    resumed: int = 0

    def count(self, images: Mapping[int, WrittenImage], failed: Mapping[int, str]) -> None:
        """Counts the images that are written and those that were skipped, by their numbers."""
        self.done, self.failed = len(images), [message for _, message in sorted(failed.items())]
        for _, image in sorted(images.items()):
            self.masks.update(image.masks)
            self.warnings.add(Path(image.image["file_name"]).name, image.warnings)


class Skipped:
    """Images that are skipped, each reported at once.

    Attributes:
        messages: why, by the images' numbers.
        say: prints a line.
    """

    def __init__(self) -> None:
        self.messages: dict[int, str] = {}
        self.say: Callable[[str], Any] = print

    def add(self, number: int, message: str) -> None:
        """Skips an image."""
        self.messages[number] = message
        self.say(f"skipped: {message}")


class Progress:
    """A progress bar on stderr, between whose updates lines can be printed.

    Args:
        count: number of images, if it is known.
        is_shown: whether there is a bar; lines are printed without one too.
    """

    def __init__(self, count: int | None, *, is_shown: bool) -> None:
        import rich.progress
        from rich.console import Console

        self._bar = rich.progress.Progress(console=Console(stderr=True, markup=False), disable=not is_shown)
        self._task = self._bar.add_task("Predicting", total=count)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """One more image is predicted or skipped."""
        self._bar.advance(self._task)

    def say(self, line: str) -> None:
        """Prints a line."""
        self._bar.console.print(line, soft_wrap=True)

    def skip(self, line: str) -> None:
        """Prints the line about an image that is skipped."""
        self.say(line)
        self.advance()


def print_outcome(outcome: Outcome, folder: Path, *, is_stream: bool, note: str) -> None:
    """Prints the segments of a single image, or the number of images and their pace, and all warnings.

    Args:
        outcome: what to print.
        folder: where the results are.
        is_stream: whether there were several images.
        note: added to the line about the folder.
    """
    from rich.console import Console

    console = Console(markup=False)  # names and paths may have brackets
    if not is_stream and outcome.last is not None:
        _print_segments(outcome.last, console)
    rate = (outcome.done - outcome.resumed) / max(outcome.seconds, 1e-9)
    if is_stream:
        count = outcome.done + len(outcome.failed)
        earlier = f" ({outcome.resumed} of them by an earlier run)" if outcome.resumed else ""
        console.print(f"{outcome.done} of {count} images{earlier}, {rate:.2f} images per second", soft_wrap=True)
    if any(outcome.masks.values()):
        rows = ", ".join(f"{outcome.masks[key]} {shown}" for key, shown in OUTCOMES.items() if outcome.masks[key])
        console.print(f"masks: {rows}", soft_wrap=True)
    if outcome.done:
        console.print(f"written to {folder}{note and '; '}{note}", soft_wrap=True)
    for line in outcome.warnings.lines():
        Console(stderr=True).print(f"warning: {line}", soft_wrap=True, markup=False, highlight=False)


def _print_segments(named: PanopticResult, console: Any) -> None:
    from rich.table import Table

    several, given = (any(len(s.top) > 1 for s in named.segments), any(s.source_ids for s in named.segments))
    more = [*(["masks"] if given else []), *(["best names"] if several else [])]
    columns = ("name", "kind", "score", "predicted IoU", "share of the image", *more)
    table = Table(*columns, caption="scores are not calibrated: docs/scores.md")
    for s in sorted(named.segments, key=lambda s: -s.area):
        shown = " > ".join(n.name for n in s.path) if s.path else s.name
        cells = [shown, "thing" if s.is_thing else "stuff", f"{s.score:.2f}", f"{s.iou:.2f}"]
        names = ["\n".join(f"{shown_name(n)} {shown_score(n)}" for n in s.top)] if several else []
        ids = [" ".join(map(str, s.source_ids))] if given else []
        table.add_row(*cells, f"{s.area / named.ids.numel():.1%}", *ids, *names)
    console.print(table)
