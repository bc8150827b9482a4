"""The models that a page offers: loaded when they are first used, one at a time in memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Condition

from opsnet.prediction.predictor import Predictor
from opsnet.utils.errors import InputError


class Models:
    """Gives all visitors the same predictor; a request for another model waits until the current one is not in use.

    Args:
        loaders: name of each model -> a function that loads it; the first is the one with which the page opens.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], Predictor]]) -> None:
        self._loaders = dict(loaders)
        self._changed = Condition()
        self._users = 0
        self._name: str | None = None
        self._predictor: Predictor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the choice."""
        return tuple(self._loaders)

    @contextmanager
    def using(self, name: str) -> Iterator[Predictor]:
        """A model, which stays in memory during the block.

        Raises:
            InputError: there is no such model, or it cannot be loaded.
        """
        if name not in self._loaders:
            raise InputError(f"there is no model '{name}': choose one of {', '.join(self.names)}")
        with self._changed:
            self._changed.wait_for(lambda: self._users == 0 or self._name == name)
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
