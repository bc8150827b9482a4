"""The models that a page offers: loaded when they are first used, one at a time in memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Condition
from typing import Any

from opsnet.prediction.predictor import Predictor
from opsnet.utils.errors import InputError

PATIENCE = 120


class Models:
    """Gives all visitors the same predictor; a request for another model waits until the current one is not in use.

    Args:
        loaders: name of each model -> a function that loads it; the first is the one with which the page opens.
        patience: seconds to wait for the end of the requests that use another model.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], Predictor]], patience: float = PATIENCE) -> None:
        self._loaders, self._patience = dict(loaders), patience
        self._changed = Condition()
        self._users = 0
        self._name: str | None = None
        self._predictor: Predictor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the choice."""
        return tuple(self._loaders)

    @contextmanager
    def using(self, name: Any) -> Iterator[Predictor]:
        """A model, which stays in memory during the block.

        Raises:
            InputError: there is no such model, it cannot be loaded, or another one was in use all the time.
        """
        if not isinstance(name, str) or name not in self._loaders:
            raise InputError(f"there is no model '{name}': choose one of {', '.join(self.names)}")
        with self._changed:
            if not self._changed.wait_for(lambda: self._users == 0 or self._name == name, self._patience):
                raise InputError(f"others are using another model than '{name}': try again in a minute")
            predictor = self._load(name)
            self._users += 1
        try:
            yield predictor
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def _load(self, name: str) -> Predictor:
        if self._predictor is None or self._name != name:
            self._name = self._predictor = None
            gc.collect()  # modules are parts of cycles; both models together might not fit
            self._predictor = self._loaders[name]()
            self._name = name
        return self._predictor
