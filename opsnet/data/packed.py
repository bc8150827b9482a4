"""Lists of records whose memory worker processes share with their parent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


class PackedRecords:
    """Records of json values, stored as bytes in one array and decoded one at a time.

    A worker process shares its parent's memory until one of them writes to it, and reading a Python object writes its
    reference count. Each worker would therefore end up with its own copy of a list of objects, but not of an array.

    Args:
        records: values that ``json.dumps`` accepts; tuples come back as lists.
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
