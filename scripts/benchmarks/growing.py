"""What ``python -m scripts.benchmarks growth`` measures: each row is prepared for a size and then run.

===================== ===================== ==========================================================================
row                   size                  work
===================== ===================== ==========================================================================
``merge_pixels``      megapixels            the merge of 19 masks, as in ``opsnet-predict``
``merge_proposals``   masks                 the same at 480 x 640
``sweep_proposals``   masks                 one setting scored against ground truth, as in ``opsnet-evaluate``
``sweep_settings``    settings              that many settings scored against ground truth, 100 masks at 480 x 640
``naming_names``      class names           cosines of 100 proposals with the names, and Mask Filtering
``semantic_names``    class names           pixels of one image for mIoU
``score_pixels``      megapixels            one image of ``opsnet-score``
``score_images``      images                ``opsnet-score``
===================== ===================== ==========================================================================
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from opsnet.data.panoptic_png import write_ids
from opsnet.evaluation.score import score
from opsnet.evaluation.scored_image import ImageMasks, score_image
from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.metrics.semantic import SemanticCounts, semantic_block
from opsnet.ops.cosines import cosines
from opsnet.panoptic.mask_filtering import Filtered, MaskFiltering
from opsnet.panoptic.merge import merge_masks
from opsnet.structures import GroundTruth, PanopticMap, Segment
from opsnet.utils.free_memory import return_free_memory

Run = Callable[[], Any]
SIZE, SEGMENTS = (480, 640), 20


@dataclass(frozen=True)
class Work:
    """A row: ``prepare`` makes what is run at a size; ``small`` sizes are for trying the script."""

    prepare: Callable[[Any], Run]
    sizes: tuple[float, ...]
    small: tuple[float, ...]


@dataclass(frozen=True)
class Large:
    """The prediction of one large file: memory is that of the whole process, time that of the CPU."""

    seconds: float
    gigabytes: float
    segments: int


def _discs(count: int, size: tuple[int, int]) -> Tensor:
    """Mask logits (count, H / 4, W / 4) of discs at random places, with ragged borders."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(0, 1, size[0] // 4), torch.linspace(0, 1, size[1] // 4), indexing="ij")
    centres, radius = (
        torch.rand(count, 2, 1, 1, generator=generator),
        0.1 + 0.2 * torch.rand(count, 1, 1, generator=generator),
    )
    distance = ((y - centres[:, 0]) ** 2 + (x - centres[:, 1]) ** 2).sqrt()
    ragged = F.interpolate(torch.randn(1, count, 15, 20, generator=generator), size=distance.shape[1:], mode="bilinear")
    return 20 * (radius - distance) + ragged[0]


def _height_width(megapixels: float) -> tuple[int, int]:
    """Of an image of 3 x 4, in multiples of four pixels."""
    unit = (megapixels * 1e6 / 12) ** 0.5
    return 4 * round(3 * unit / 4), 4 * round(unit)


def _ids(size: tuple[int, int], shift: int = 0) -> Tensor:
    """Ids 1 to 20 (H, W) of regions with slanted borders."""
    y, x = np.mgrid[: size[0], : size[1]]
    fraction = (x / size[1] + 0.15 * np.sin(6 * y / size[0]) + shift / 100) % 1
    return torch.from_numpy((fraction * 5).astype(np.int64) + 5 * (y * 4 // size[0]) + 1)


def merge(count: int, size: tuple[int, int]) -> Run:
    """The merge of ``count`` masks into a map of ``size``."""
    logits, scores, labels = _discs(count, size), torch.linspace(0.9, 0.5, count), torch.arange(count) % 10
    return lambda: merge_masks(logits, scores, labels, [True] * 10, padded=size, valid=size, iou=torch.ones(count))


def sweep(count: int, settings: int) -> Run:
    """The scoring of one image with ``count`` masks; each setting weighs them in another way."""
    logits, generator = _discs(count, SIZE), torch.Generator().manual_seed(1)
    scores = torch.rand(settings, count, generator=generator)
    labels = (torch.arange(count) % 10).expand(settings, count)
    rows = Filtered(scores, labels, scores > 0.1, scores)
    masks = ImageMasks(logits, torch.ones(count), SIZE, SIZE, SIZE)
    truth = GroundTruth(_ids(SIZE), tuple(Segment(i, i % 10, True) for i in range(1, SEGMENTS + 1)))
    is_thing, none = [True] * 10, [False] * settings
    return lambda: score_image(masks, truth, rows, with_map=none, is_thing=is_thing, overlaps=[0.8] * settings)


def naming(names: int) -> Run:
    """Names for 100 proposals."""
    generator = torch.Generator().manual_seed(0)
    bank = F.normalize(torch.randn(names, 256, generator=generator), dim=-1)
    embeds, filtering = torch.randn(1, 100, 256, generator=generator), MaskFiltering(kind="cls_iou", threshold=0.05)

    @torch.inference_mode()
    def run() -> Filtered:
        return filtering(100 * cosines(embeds, bank), torch.zeros(1, 100), torch.ones(1, 100))

    return run


def semantic(names: int) -> Run:
    """Pixels of one image added to the counts of a setting."""
    segments = tuple(Segment(i, i * names // 25, True) for i in range(1, SEGMENTS + 1))
    prediction, truth = PanopticMap(_ids(SIZE, shift=3), segments), GroundTruth(_ids(SIZE), segments)
    counts = SemanticCounts.zeros(names)
    return lambda: counts.add(semantic_block(image_overlaps(prediction, truth, names)))


def files(images: int, size: tuple[int, int]) -> Run:
    """``opsnet-score`` of ``images`` entries, which repeat 20 files."""
    folder, generator = Path(tempfile.mkdtemp(prefix="opsnet_growth_")), np.random.default_rng(0)
    for side, shift in (("gt", 0), ("pred", 3)):
        for i in range(min(images, 20)):
            write_ids(folder / side / f"{i}.png", 1000 * _ids(size, shift + i).numpy())
        annotations = []
        for i in range(images):
            segments = [{"id": 1000 * k, "category_id": int(generator.integers(1, 11))} for k in range(1, SEGMENTS + 1)]
            annotations.append({"image_id": i, "file_name": f"{i % 20}.png", "segments_info": segments})
        categories = [{"id": i, "name": f"class {i}", "isthing": 1} for i in range(1, 11)]
        (folder / f"{side}.json").write_text(json.dumps({"categories": categories, "annotations": annotations}))

    def run() -> Any:
        return score(folder / "gt.json", folder / "pred.json")

    weakref.finalize(run, shutil.rmtree, folder)
    return run


WORKS = {
    "merge_pixels": Work(lambda mp: merge(19, _height_width(mp)), (1, 2, 4, 8, 16), (0.1, 0.2, 0.4)),
    "merge_proposals": Work(lambda k: merge(k, SIZE), (25, 50, 100, 200), (5, 10, 20)),
    "sweep_proposals": Work(lambda k: sweep(k, 1), (25, 50, 100, 200), (5, 10, 20)),
    "sweep_settings": Work(lambda s: sweep(100, s), (1, 8, 20, 60), (1, 2, 4)),
    "naming_names": Work(naming, (1000, 4000, 16_000, 64_000), (100, 200, 400)),
    "semantic_names": Work(semantic, (150, 847, 5000, 20_000), (50, 100, 200)),
    "score_pixels": Work(lambda mp: files(1, _height_width(mp)), (1, 2, 4, 8), (0.1, 0.2, 0.4)),
    "score_images": Work(lambda n: files(n, SIZE), (50, 100, 200, 400), (5, 10, 20)),
}


def predict_large(checkpoint: Path) -> Large:
    """Predicts a file of 95 megapixels with the training names; the memory is that of the whole process.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
    """
    import opsnet

    predictor = opsnet.load(checkpoint, device="cpu")
    height, width = _height_width(95)
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory(prefix="opsnet_growth_") as folder:
        path = Path(folder) / "large.jpg"
        Image.fromarray(noise).resize((width, height)).save(path)
        reset_peak()
        start = time.process_time()
        found = predictor(path, predictor.train_vocabulary)
        return Large(time.process_time() - start, memory()["VmHWM"] / 1024**2, len(found.segments))


def reset_peak() -> None:
    """Sets the peak of this process' memory to what it has now, without free memory, which would hide new memory."""
    return_free_memory()
    Path("/proc/self/clear_refs").write_text("5")


def memory() -> dict[str, int]:
    """Resident memory (``VmRSS``) and its peak (``VmHWM``) in KiB."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if words[0] in ("VmRSS:", "VmHWM:")}
