"""The instances of a dataset whose annotations are federated (LVIS), read for average precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.metrics.federated import FederatedImage
from opsnet.metrics.instances import Instance
from opsnet.preparation.lvis_json import FREQUENCIES, load_lvis
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary


class LvisTruth:
    """The ground truth of LVIS for the images of a dataset; see :class:`opsnet.metrics.federated.FederatedTruth`.

    Args:
        dataset: its ``instances`` is LVIS' json, which has every image of the dataset.

    Raises:
        InputError: the json is missing or damaged, or lacks an image.
    """

    def __init__(self, dataset: PanopticDataset) -> None:
        assert dataset.instances is not None
        self._path, self._ids, self._labels = dataset.instances, dataset.image_ids, dataset.vocabulary.index_of_id
        self._content = load_lvis(dataset.instances)
        missing = [i for i in self._ids if i not in self._content.images]
        if missing:
            raise DatasetError(
                f"{self._path} lacks image {missing[0]} of {dataset.annotations}: give `instances` of the same images"
            )
        self.groups: Mapping[str, Sequence[int]] = _groups(self._content.frequencies, dataset.vocabulary)

    def image(self, index: int) -> FederatedImage:
        """The image at this position of the dataset.

        Raises:
            DatasetError: an instance cannot be drawn.
        """
        number = int(self._ids[index])
        image = self._content.images[number]
        instances = []
        for shape in self._content.shapes.get(number, ()):
            assert shape.draw is not None and shape.label is not None
            try:
                instances.append(Instance(self._labels[int(shape.label)], shape.draw(image.size)))
            except Exception as error:  # pycocotools raises plain Exception
                raise DatasetError(f"{shape.where} cannot be drawn ({error}): replace the file") from error
        negative, not_exhaustive = (
            frozenset(self._labels[i] for i in ids if i in self._labels)
            for ids in (image.negative, image.not_exhaustive)
        )
        return FederatedImage((image.size[1], image.size[0]), tuple(instances), negative, not_exhaustive)


def _groups(frequencies: Mapping[int, str], vocabulary: Vocabulary) -> dict[str, Sequence[int]]:
    """The labels of each frequency."""
    labels = vocabulary.index_of_id
    return {key: [labels[i] for i, f in frequencies.items() if f == key and i in labels] for key in FREQUENCIES}
