"""Reading training samples from disk: this project's implementation against a straightforward one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from opsnet.data.coco_panoptic_writing import SegmentLabel, describe
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.data.transforms import TrainTransform, Transform
from opsnet.vocabulary import Vocabulary
from scripts.benchmarks.pair import Pair

IMAGES, SEGMENTS, SIZE = 4, 20, (480, 640)


def write_dataset(root: Path, images: int = IMAGES, annotations: int | None = None) -> Path:
    """Writes COCO-like images of 640 x 480 pixels with twenty segments each, in COCO's layout; returns the json's path.

    Args:
        root: folder of the dataset.
        images: number of image files.
        annotations: number of entries in the json, which repeat the files; by default one per image.
    """
    rng, classes = np.random.default_rng(0), Vocabulary.load("coco")
    out = root / "annotations" / "panoptic_train2017.json"
    for folder in (root / "train2017", out.with_suffix("")):
        folder.mkdir(parents=True, exist_ok=True)
    infos = []
    for i in range(images):
        ids = _voronoi(rng) * 1000 + 7
        labels = [
            SegmentLabel(k * 1000 + 7, classes.ids[int(rng.integers(len(classes)))]) for k in range(1, SEGMENTS + 1)
        ]
        noise = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((80, 60)).resize(SIZE[::-1]).save(root / "train2017" / f"{i}.jpg")
        Image.fromarray(ids_to_rgb(ids)).save(out.with_suffix("") / f"{i}.png")
        infos.append(describe(ids, labels))
    entries = [(k, k % images) for k in range(annotations or images)]
    content = {
        "images": [{"id": k, "file_name": f"{i}.jpg"} for k, i in entries],
        "annotations": [{"image_id": k, "file_name": f"{i}.png", "segments_info": infos[i]} for k, i in entries],
        "categories": classes.categories(),
    }
    out.write_text(json.dumps(content))
    return out


def _voronoi(rng: np.random.Generator) -> np.ndarray:
    """Ids 1 to 20: each pixel has the id of the nearest of twenty random points."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    centres = rng.random((SEGMENTS, 2)) * SIZE
    return ((y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2).argmin(-1) + 1


def data() -> Pair:
    """Training samples with large-scale jitter and crops of 1024, against transforming one full mask per segment."""
    disk = tempfile.TemporaryDirectory(prefix="opsnet_benchmark_")  # removed together with `plain`, which references it
    root = Path(disk.name)
    path = write_dataset(root)
    transform = TrainTransform()
    dataset = PanopticDataset(images=root / "train2017", annotations=path, vocabulary="coco", transform=transform)
    records = json.loads(path.read_text())["annotations"]

    def ours() -> list[Tensor]:
        torch.manual_seed(0)
        return [dataset[i].masks for i in range(IMAGES)]

    def plain() -> list[Tensor]:
        torch.manual_seed(0)
        return [plain_sample(Path(disk.name), record, transform) for record in records]

    same = all(torch.equal(_in_order(a), _in_order(b)) for a, b in zip(ours(), plain(), strict=True))
    return Pair(ours, plain, f"{'identical' if same else 'DIFFERENT'} masks of {IMAGES} images")


def plain_sample(root: Path, record: dict, transform: Transform) -> Tensor:
    """Masks of an image (G, H, W): one ``ids == id`` per segment, all of them transformed."""
    png = root / "annotations" / "panoptic_train2017" / record["file_name"]
    pixels = np.array(Image.open(root / "train2017" / f"{png.stem}.jpg").convert("RGB"))
    rgb = np.array(Image.open(png), dtype=np.int64)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65_536 * rgb[..., 2]
    masks = torch.stack([torch.from_numpy(ids == segment["id"]) for segment in record["segments_info"]])
    image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
    _, moved = transform(image, tv_tensors.Mask(masks))
    return moved.as_subclass(Tensor)[moved.flatten(1).any(1)]


def _in_order(masks: Tensor) -> Tensor:
    """Masks sorted by size, because one side orders segments as in the json and the other by id."""
    return masks[masks.flatten(1).sum(1).argsort(stable=True)]
