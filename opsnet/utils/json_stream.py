"""Reads a json object whose lists are long, without holding them in memory: elements are given one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from opsnet.utils.structured_files import LARGEST_JSON, FileError, read_json, require_size

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_FOLLOWING = " \t\n\r,:]}"
"""Characters that end a value."""
_CHUNK = 2**18
"""Characters that are read at a time."""


class Entry(NamedTuple):
    """A part of a json object.

    Attributes:
        key: its key.
        number: position of an element of a streamed list, from 0; ``None`` for the whole value of a key.
        value: the element or the value; ``[]`` where a streamed list begins.
        start: first byte of the element in the file; 0 for other entries.
        end: the byte behind it; 0 for other entries.
    """

    key: str
    number: int | None
    value: Any
    start: int = 0
    end: int = 0


def stream_json(path: Path, lists: Collection[str], *, what: str, largest: int = LARGEST_JSON) -> Iterator[Entry]:
    """Yields the parts of a json object in the order of the file, the elements of some of its lists one at a time.

    A list begins with an entry of its own, which comes again if the key does: as everywhere, the last one counts.

    Args:
        path: a json file in UTF-8, with or without a byte order mark.
        lists: keys of the lists to stream.
        what: what the object is, for the message that it is none.
        largest: most bytes.

    Raises:
        FileError: as :func:`opsnet.utils.structured_files.read_json`, or it holds no object.
    """
    require_size(path, largest)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield from _entries(_Reader(file), lists)
    except (ValueError, RecursionError, OSError):
        content = read_json(path, largest)  # says where the file is damaged
        if isinstance(content, dict):
            raise
        raise FileError(f"holds a {type(content).__name__}, not {what}: convert it to an object") from None


def _entries(reader: _Reader, lists: Collection[str]) -> Iterator[Entry]:
    reader.skip("{")
    if reader.peek() == "}":
        reader.skip("}")
    else:
        while True:
            key = reader.value()
            if not isinstance(key, str):
                raise ValueError("a key is not text")
            reader.skip(":")
            if key in lists and reader.peek() == "[":
                yield Entry(key, None, [])
                yield from (Entry(key, number, *element) for number, element in enumerate(_elements(reader)))
            else:
                yield Entry(key, None, reader.value())
            if reader.skip(",", "}") == "}":
                break
    if reader.peek():
        raise ValueError("there is text after the object")


def _elements(reader: _Reader) -> Iterator[tuple[Any, int, int]]:
    """Each element of a list with its first byte and the one behind it."""
    reader.skip("[")
    if reader.peek() == "]":
        reader.skip("]")
        return
    while True:
        reader.peek()
        start = reader.offset()
        yield reader.value(), start, reader.offset()
        if reader.skip(",", "]") == "]":
            return


class _Reader:
    """Values and punctuation of a json text, of which a part is in memory."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._ended = file, file.read(_CHUNK), False
        self._at = int(self._text.startswith("\ufeff"))  # a byte order mark
        self._counted, self._bytes = 0, 0

    def offset(self) -> int:
        """The byte of the file at which the next character stands."""
        if self._text.isascii():
            self._bytes += self._at - self._counted
        else:
            self._bytes += len(self._text[self._counted : self._at].encode())
        self._counted = self._at
        return self._bytes

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._more()

    def skip(self, *expected: str) -> str:
        """Passes one of the ``expected`` characters and returns it.

        Raises:
            ValueError: another one comes.
        """
        if (found := self.peek()) not in expected:
            raise ValueError(f"'{found}' instead of '{' or '.join(expected)}'")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value.

        Raises:
            ValueError: it is malformed.
        """
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if self._ended:
                    raise
            else:
                following = self._text[end : end + 1]
                if (following and following in _FOLLOWING) or self._ended:  # otherwise a number may go on, as 1 in 1.5
                    self._at = end
                    return value
            self._more()

    def _more(self) -> None:
        """Reads on; twice as much each time that a value does not fit."""
        self.offset()
        rest = self._text[self._at :]
        chunk = self._file.read(max(_CHUNK, len(rest)))
        self._ended = not chunk
        self._text, self._at, self._counted = rest + chunk, 0, 0
