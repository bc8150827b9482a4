"""Labels of samples in shards: what a file or key says, and which entries of a vocabulary it means."""

from __future__ import annotations

import json
import re
import reprlib
from collections import Counter
from functools import cached_property
from typing import Any

from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary

LONGEST_NAME = 200  # characters
MOST_LABELS = 1000  # of an image
_NUMBER = re.compile(r"[+-]?\d{1,9}")
_SYNSET = re.compile(r"n(\d{8})")


class LabelError(ValueError):
    """A sample's label cannot be read; the message continues after the sample's name."""


class LabelSource:
    """Where the label of a sample is.

    Args:
        text: ``cls``: the file KEY.cls; ``json.FIELD``: a field of KEY.json; ``key``: the key's last part up to its
            first underscore, the WordNet id of ImageNet's file names (``n02084071_12``).

    Attributes:
        extension: of the file to read; ``None`` if there is none.

    Raises:
        DatasetError: it is none of these.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        extension, _, self.field = text.partition(".")
        if text not in ("cls", "key") and (extension != "json" or not self.field):
            raise DatasetError(f"label '{text}' is neither cls, key nor json.FIELD: correct `label`")
        self.extension = None if text == "key" else extension

    def read(self, key: str, content: bytes | None) -> Any:
        """The label of a sample as it stands there: a whole number, a name, a list of these, or ``None``.

        Args:
            key: the sample's key.
            content: of the file; ``None`` if the sample has none.

        Raises:
            LabelError: there is no such file or field, or it does not hold labels.
        """
        if self.text == "key":
            return key.rpartition("/")[2].partition("_")[0]
        if content is None:
            raise LabelError(f"has no .{self.extension}")
        try:
            text = content.decode("utf-8").strip()
            value = json.loads(text) if self.field else int(text) if _NUMBER.fullmatch(text) else text
        except (ValueError, RecursionError) as error:
            raise LabelError(f"has a .{self.extension} that cannot be read ({error})") from error
        if self.field:
            value = self._field(value)
        _require_labels(value, self.text)
        return value

    def _field(self, record: Any) -> Any:
        if not isinstance(record, dict) or self.field not in record:
            fields = ", ".join(map(str, record)) if isinstance(record, dict) else reprlib.repr(record)
            raise LabelError(f"has no '{self.field}' in its .json, which has {fields or 'nothing'}")
        return record[self.field]


def _require_labels(value: Any, source: str) -> None:
    values = value if isinstance(value, list) else [] if value is None else [value]
    are_labels = all(type(v) is int or (isinstance(v, str) and 0 < len(v) <= LONGEST_NAME) for v in values)
    if not are_labels or len(values) > MOST_LABELS:
        raise LabelError(f"has {reprlib.repr(value)} as {source}, not a whole number, a name or a list of these")


class LabelIndices:
    """Maps labels as shards have them to the entries of a vocabulary.

    A whole number is an index into the vocabulary, and below 0 no label. A text is a WordNet id such as ``n02084071``,
    of vocabularies whose ids are WordNet's (``imagenet21k``, ``wordnet:animal.n.01``), or an entry's first name.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def of(self, value: Any) -> tuple[int, ...]:
        """The indices of a value of :meth:`LabelSource.read`, ascending; empty without a label.

        Raises:
            LabelError: the vocabulary lacks one of them.
        """
        values = value if isinstance(value, list) else [] if value is None else [value]
        found = {self._of_text(v) if isinstance(v, str) else v for v in values}
        for index in found:
            if index >= len(self.vocabulary):
                raise LabelError(
                    f"has label {index}, but vocabulary '{self.vocabulary.name}' numbers its names 0 to "
                    f"{len(self.vocabulary) - 1}"
                )
        return tuple(sorted(index for index in found if index >= 0))

    def _of_text(self, text: str) -> int:
        synset = _SYNSET.fullmatch(text)
        index = self.vocabulary.index_of_id.get(int(synset[1])) if synset else None
        if index is None:
            index = self._of_name.get(text.casefold())
        if index is None:
            kind = "the WordNet id" if synset else "the name"
            raise LabelError(f"has label {text!r}, which is {kind} of no entry of vocabulary '{self.vocabulary.name}'")
        if index < 0:
            raise LabelError(
                f"has label {text!r}, the name of several entries of vocabulary '{self.vocabulary.name}': give numbers "
                "or WordNet ids"
            )
        return index

    @cached_property
    def _of_name(self) -> dict[str, int]:
        """Name -> index, -1 if several entries have it."""
        names = [name.casefold() for name in self.vocabulary.names]
        counts = Counter(names)
        return {name: index if counts[name] == 1 else -1 for index, name in enumerate(names)}
