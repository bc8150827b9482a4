"""Where a set of your own data is written, and the vocabulary that it shares with the other sets there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opsnet.data.conversion import Reader, Source, convert
from opsnet.preparation import own_vocabulary
from opsnet.preparation.own_shapes import Label, ReadLabels, ShapeReader, Survey
from opsnet.utils.files import write_json
from opsnet.vocabulary import Vocabulary


@dataclass(frozen=True)
class Destination:
    """Where a set is written, and the vocabulary that it shares with the other sets there.

    Attributes:
        set: its name, such as train.
        dst: the folder that all sets with this vocabulary share.
        stuff, things: names of classes that are stuff or things regardless of their source.
        workers: processes; by default one per core.
        skip_damaged: leave damaged images and labels out, instead of refusing the set.
    """

    set: str
    dst: Path
    stuff: Sequence[str] = ()
    things: Sequence[str] = ()
    workers: int | None = None
    skip_damaged: bool = False

    @property
    def shared(self) -> Path:
        """The file of the shared vocabulary."""
        return self.dst / own_vocabulary.SHARED

    @property
    def images(self) -> Path:
        """The folder of the set's images."""
        return self.dst / "images" / self.set

    def vocabulary(self, found: Vocabulary) -> Vocabulary:
        """The shared vocabulary, which must contain all of ``found``.

        Raises:
            InputError: it does not.
        """
        return own_vocabulary.shared(
            own_vocabulary.with_kinds(found, stuff=self.stuff, things=self.things), self.shared
        )

    def write(self, sources: Sequence[Source], reader: Reader, vocabulary: Vocabulary) -> None:
        """Converts the images and prints what was written."""
        count = convert(
            sources, reader, annotations=self.dst / f"panoptic_{self.set}.json", images=self.images,
            categories=vocabulary.categories(), workers=self.workers, skip_damaged=self.skip_damaged,
            recipe=f"{reader} {sources[:1]} {vocabulary.categories()}",
        )  # fmt: skip
        if not self.shared.is_file():  # only now, so that a wrong vocabulary can be replaced
            write_json(self.shared, {"categories": vocabulary.categories()})
        things = sum(vocabulary.is_thing)
        print(f"{self.set}: {count} images; {self.shared}: {things} things, {len(vocabulary) - things} stuff")

    def write_named(
        self, sources: Sequence[Source], read: ReadLabels, found: Survey, *, tool: str, declared: Sequence[str] = (),
        vocabulary: str | None = None,
    ) -> None:  # fmt: skip
        """Converts shapes whose labels are names.

        Args:
            sources: the images.
            read: reads the labels of one.
            found: the labels in use.
            tool: where labels can be renamed, for messages.
            declared: all names of the tool's list, in order; by default those in use, sorted.
            vocabulary: used to look up the labels in use; by default the shared one, if it exists, or else one of the
                names, with ids from 1.

        Raises:
            InputError: the vocabulary lacks a label, or a file is invalid.
        """
        used: dict[Label, str] = dict(sorted(found.used.items(), key=lambda pair: str(pair[0])))
        if vocabulary is None and self.shared.is_file():
            vocabulary = str(self.shared)
        if vocabulary is None:
            classes = own_vocabulary.of_labels({**dict.fromkeys(declared, tool), **used}, tool)
        else:
            classes = Vocabulary.load(vocabulary)
        ids = own_vocabulary.label_ids(used, classes, f"the vocabulary {vocabulary}", tool)
        classes = self.vocabulary(classes)
        self.write(sources, ShapeReader(read, ids, own_vocabulary.stuff_ids(classes)), classes)
