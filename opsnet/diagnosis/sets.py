"""Opens every set of a run as training does, and reads a batch of each through its transforms."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from opsnet.diagnosis.checklist import Checklist
from opsnet.structures import Batch, SegmentTargets
from opsnet.utils.errors import InputError


@dataclass(frozen=True)
class OpenedSets:
    """The opened sets of a run.

    Attributes:
        data: the data module, set up for training if ``usable``; ``None`` if it could not be built.
        usable: whether training can start with it.
        needed: the sets that training and its probes read.
    """

    data: Any
    usable: bool
    needed: frozenset[str]

    @property
    def built(self) -> dict[str, Any]:
        """The readable sets, by name."""
        builders = self.data.builders if self.data is not None else {}
        return {key: dataset for key, dataset in builders.items() if hasattr(dataset, "__len__")}

    def images(self, key: str) -> int:
        """The number of images in a set; 0 if it could not be read."""
        return len(self.built.get(key, ()))


def open_sets(cfg: DictConfig, checklist: Checklist) -> OpenedSets:
    """Builds every set, and checks the training's sets as training does.

    Args:
        cfg: conf/train.yaml.
        checklist: receives a failure for each set that training or its probes cannot read, and a warning for each that
            only evaluation reads.
    """
    from hydra.utils import instantiate

    data = None
    with checklist.failing("data"):
        data = instantiate(cfg.data.module, _convert_="object")
        data.prepare_data()
    if data is None:
        return OpenedSets(None, False, frozenset())
    needed = {key for key, builder in data.builders.items() if builder is not None and not key.startswith("test/")}
    needed |= {f"test/{name}" for name in cfg.probes.domains}
    usable = not _open(cfg, data, needed, checklist) & needed
    if usable:
        usable = False
        with checklist.failing("data"):
            data.setup("fit")
            usable = True
    return OpenedSets(data, usable, frozenset(needed))


def _open(cfg: DictConfig, data: Any, needed: Collection[str], checklist: Checklist) -> set[str]:
    """Replaces builders by the built sets, building equal sets once; returns the names of those that fail."""
    built: list[tuple[Any, Any]] = []
    failed = set()
    for key, builder in data.builders.items():
        if builder is None:
            continue
        described = OmegaConf.select(cfg.data.module, key.replace("/", ".").replace("train_labels", "labels"))
        content = OmegaConf.to_container(described, resolve=True) if OmegaConf.is_config(described) else described
        same = [dataset for other, dataset in built if content is not None and other == content]
        try:
            data.builders[key] = same[0] if same else builder() if callable(builder) else builder
            built.append((content, data.builders[key]))
        except InputError as error:
            failed.add(key)
            _complain(f"set {key}", str(error), key in needed, checklist)
    return failed


def _complain(check: str, sentence: str, needed: bool, checklist: Checklist) -> None:
    if needed:
        checklist.fail(check, sentence)
    else:
        key = check.removeprefix("set ").replace("/", ".")
        checklist.warn(check, f"only evaluation reads it: {sentence}; or leave it out with '~data.module.{key}'")


def read_batches(sets: OpenedSets, shares: Mapping[str, int], checklist: Checklist) -> float:
    """Reads one batch of every set through its transforms, in this process.

    Args:
        sets: the opened sets.
        shares: images per device and batch, by training set.
        checklist: receives a result for each set.

    Returns:
        Seconds per training batch for one worker, over all kinds of images.
    """
    from opsnet.data.batching import collate
    from opsnet.data.loaders import SeededDataset

    loading = 0.0
    for key, dataset in sets.built.items():
        share = shares.get(key, sets.data.eval_batch_size)
        training = key in shares
        start = time.monotonic()
        try:
            seeded: Any = SeededDataset(dataset, sets.data.seed)
            samples = [seeded[0, index] for index in range(min(share, len(dataset)))]
            batch = collate(
                samples,
                vocabulary=dataset.vocabulary.name,
                size_divisor=sets.data.size_divisor,
                with_ground_truth=not training,
            )
        except InputError as error:
            _complain(f"set {key}", str(error), key in sets.needed, checklist)
            continue
        loading += time.monotonic() - start if training else 0.0
        checklist.ok(f"set {key}", f"{len(dataset):,} images; {describe(batch)}")
    return loading


def describe(batch: Batch) -> str:
    """Shape and content of a batch as text."""
    count, _, height, width = batch.images.shape
    assert batch.targets is not None
    total = sum(labels.numel() for labels in batch.targets.labels)
    held = f"{total} {'segments' if isinstance(batch.targets, SegmentTargets) else 'labels'}"
    return f"a batch of {count} x {width} x {height} pixels (width x height) with {held}"
