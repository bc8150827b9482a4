"""How the processes of an evaluation wait for one another: by files beside its output.

Their results are files anyway (:mod:`opsnet.evaluation.journal`), and while a process waits for a file, signals and the
errors of others reach it, which a collective call of PyTorch would not let through.
"""

from __future__ import annotations

import json
import os
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from opsnet.utils.errors import InputError, sentence_of
from opsnet.utils.files import write_json
from opsnet.utils.ranks import Ranks
from opsnet.utils.stop_signals import Stopped

POLL = 0.1  # seconds
SECONDS_TO_BE_ENDED = 60.0
"""A process that failed waits so long for the first one, which reports its error and ends it."""


class Exchange:
    """Values and errors that processes exchange through a folder.

    Args:
        folder: a folder that all processes see.
        ranks: this process among them; all must be here.
    """

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self.folder, self.ranks = folder, ranks
        self._name = f".{ranks.gather(uuid.uuid4().hex[:12])[0]}"  # of this start: files of earlier ones are not read
        if ranks.is_main:
            self._remove(lambda path: not path.name.startswith(self._name))

    def from_main(self, compute: Callable[[], Any]) -> Any:
        """The json value that the first process computes, on all."""
        if self.ranks.count == 1:
            return compute()
        path = self.folder / f"{self._name}.plan.json"
        if self.ranks.is_main:
            write_json(path, compute())
        while not path.is_file():
            time.sleep(POLL)
        return json.loads(path.read_text(encoding="utf-8"))

    def check(self) -> None:
        """Raises in the first process if another one failed or was killed.

        Raises:
            InputError: the error of the other process.
        """
        for path in self.folder.glob(f"{self._name}.failed.*.json") if self.ranks.count > 1 else ():
            raise InputError(json.loads(path.read_text(encoding="utf-8")))
        for rank, process in enumerate(self.ranks.started, start=1):
            if process.poll():
                raise InputError(
                    f"process {rank} of the evaluation ended with code {process.returncode}, perhaps because memory "
                    "was full: run the same command again to continue, with fewer trainer.devices or workers"
                )

    @contextmanager
    def reported(self) -> Iterator[None]:
        """A context whose errors the first process raises; the others leave them to it, and wait for their end.

        Raises:
            Exception: of this process.
        """
        try:
            yield
        except (KeyboardInterrupt, Stopped) as stop:
            reason = stop.number.name if isinstance(stop, Stopped) else "Ctrl-C"
            self._leave(f"process {self.ranks.rank} of the evaluation was stopped by {reason}")
            raise
        except Exception as error:
            if self.ranks.is_main:
                raise
            if (sentence := sentence_of(error)) is None:
                traceback.print_exc()
                sentence = f"process {self.ranks.rank} of the evaluation failed: its traceback is above"
            self._leave(sentence)
            time.sleep(SECONDS_TO_BE_ENDED)
            raise
        finally:
            if self.ranks.is_main:
                self._remove(lambda path: True)

    def _remove(self, chosen: Callable[[Path], bool]) -> None:
        for path in self.folder.glob(".*.json"):
            if chosen(path):
                path.unlink(missing_ok=True)

    def _leave(self, sentence: str) -> None:
        if not self.ranks.is_main:
            with suppress(OSError):
                write_json(self.folder / f"{self._name}.failed.{self.ranks.rank}.{os.getpid()}.json", sentence)
