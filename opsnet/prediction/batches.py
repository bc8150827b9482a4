"""Images in batches of one padded size."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from opsnet.prediction.images import NetworkSize, SourceImage, padded_size


def in_batches(
    images: Iterable[SourceImage], batch_size: int, network_size: NetworkSize
) -> Iterator[list[SourceImage]]:
    """Groups up to ``batch_size`` successive images of equal padded size, so that a map does not depend on others."""
    for _, alike in itertools.groupby(images, key=lambda image: _padded(image, network_size)):
        while batch := list(itertools.islice(alike, batch_size)):
            yield batch


def by_padded_size(images: Sequence[SourceImage], batch_size: int, network_size: NetworkSize) -> list[list[int]]:
    """Indices of images in groups of one padded size and up to ``batch_size`` images."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for i, image in enumerate(images):
        by_size.setdefault(_padded(image, network_size), []).append(i)
    return [group[i : i + batch_size] for group in by_size.values() for i in range(0, len(group), batch_size)]


def _padded(image: SourceImage, network_size: NetworkSize) -> tuple[int, int]:
    return padded_size(*network_size.of(image.pixels.shape[0], image.pixels.shape[1]))
