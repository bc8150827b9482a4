"""Every set of a run opened as training opens it, and a batch of each read through its transforms."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from opsnet.errors import InputError
from opsnet.rehearsal.checklist import Checklist
from opsnet.structures import Batch, SegmentTargets


@dataclass(frozen=True)
class OpenedSets:
    """What the sets of a run hold.

    Attributes:
        data: the data module, set up for training where ``usable``.
        usable: whether training can start on it.
        sizes: set name -> images, of the sets that could be read.
        loading: seconds that one worker takes for a training batch; ``None`` where it could not be read.
    """

    data: Any
    usable: bool
    sizes: dict[str, int]
    loading: float | None


def open_sets(cfg: DictConfig, checklist: Checklist) -> OpenedSets:
    """Builds every set and reads a batch of each, in this process.

    What training and its probes read must be sound; of the sets that only evaluation reads, a fault is a doubt.

    Args:
        cfg: conf/train.yaml.
        checklist: takes a result for each set.
    """
    from hydra.utils import instantiate

    data = None
    with checklist.failing("data"):
        data = instantiate(cfg.data.module, _convert_="object")
        data.prepare_data()
    if data is None:
        return OpenedSets(None, False, {}, None)
    needed = {key for key, builder in data.builders.items() if builder is not None and key.startswith("train")}
    needed |= {key for key in ("val",) if data.builders.get(key) is not None}
    needed |= {f"test/{name}" for name in cfg.probes.domains}
    failed = _open(cfg, data, needed, checklist)
    usable, loading = not failed & needed, None
    if usable:
        with checklist.failing("data"):
            data.setup("fit")  # the checks over all sets, as training runs them
            loading = _read_training_batch(data, checklist)
        usable = loading is not None
    sizes = {key: len(built) for key, built in data.builders.items() if hasattr(built, "__len__")}
    for key in sizes.keys() - {k for k in sizes if k.startswith("train")}:
        _read_evaluation_batch(data, key, key in needed, checklist)
    return OpenedSets(data, usable, sizes, loading)


def _open(cfg: DictConfig, data: Any, needed: Collection[str], checklist: Checklist) -> set[str]:
    """Puts the built sets in the place of their builders, equal ones once; returns the names of those that fail."""
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
        checklist.doubt(check, f"only evaluation reads it: {sentence}; or leave it out by '~data.module.{key}'")


def _read_training_batch(data: Any, checklist: Checklist) -> float:
    """Reads one batch of each training stream without worker processes; returns its seconds."""
    workers, data.num_workers = data.num_workers, 0
    try:
        start = time.monotonic()
        batches = next(iter(data.train_dataloader()))
        seconds = time.monotonic() - start
    finally:
        data.num_workers = workers
    # A CombinedLoader yields (batch, index, loader).
    batches = batches[0] if isinstance(batches, tuple) else batches
    streams = batches if isinstance(batches, dict) else {"panoptic": batches}
    names = {"panoptic": "train", "labels": "train_labels"}
    for stream, batch in streams.items():
        key = names[stream]
        checklist.ok(f"set {key}", f"{len(data.datasets[key]):,} images; {describe(batch)}")
    return seconds


def _read_evaluation_batch(data: Any, key: str, needed: bool, checklist: Checklist) -> None:
    from opsnet.data.batching import collate

    dataset = data.builders[key]
    try:
        samples = [dataset[i] for i in range(min(data.eval_batch_size, len(dataset)))]
        batch = collate(samples, vocabulary=dataset.vocabulary.name, size_divisor=data.size_divisor, with_truth=True)
    except InputError as error:
        _complain(f"set {key}", str(error), needed, checklist)
        return
    checklist.ok(f"set {key}", f"{len(dataset):,} images; {describe(batch)}")


def describe(batch: Batch) -> str:
    """Shape and content of a batch in words."""
    count, _, height, width = batch.images.shape
    assert batch.targets is not None
    total = sum(labels.numel() for labels in batch.targets.labels)
    held = f"{total} {'segments' if isinstance(batch.targets, SegmentTargets) else 'labels'}"
    return f"a batch of {count} x {height} x {width} pixels with {held}"
