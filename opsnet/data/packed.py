"""Lists of records that worker processes share with their parent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


class PackedRecords:
    """Records of json values, kept as bytes in one array and made into objects one at a time.

    A worker process shares its parent's memory until one of the two writes to it, and reading a Python object writes
    to it: its count of references. So each worker would end up with a copy of a list of objects; not of an array.

    Args:
        records: what ``json.dumps`` takes; tuples come back as lists.
    """

    def __init__(self, records: Iterable[Any]) -> None:
        texts = [json.dumps(record, separators=(",", ":")).encode() for record in records]
        self._ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(texts), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        index %= len(self)
        start = int(self._ends[index - 1]) if index else 0
        return json.loads(self._bytes[start : int(self._ends[index])].tobytes())

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))
