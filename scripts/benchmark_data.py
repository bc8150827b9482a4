"""Reading training samples from the disk: this project's way beside the plain one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from pairs import Pair
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from opsnet.data.conversion import SegmentLabel, describe, ids_to_rgb
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.transforms import TrainTransform
from opsnet.vocabulary import Vocabulary

PICTURES, SEGMENTS, SIZE = 4, 20, (480, 640)


def write_pictures(folder: Path, count: int = PICTURES) -> Path:
    """COCO-like pictures: 640 x 480 pixels, twenty segments each; answers the json."""
    rng, classes = np.random.default_rng(0), Vocabulary.load("coco")
    images, annotations = [], []
    for name in ("images", "panoptic"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        ids = _voronoi(rng) * 1000 + 7
        labels = [
            SegmentLabel(k * 1000 + 7, classes.ids[int(rng.integers(len(classes)))]) for k in range(1, SEGMENTS + 1)
        ]
        noise = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((80, 60)).resize(SIZE[::-1]).save(folder / "images" / f"{i}.jpg")
        Image.fromarray(ids_to_rgb(ids)).save(folder / "panoptic" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.jpg"})
        annotations.append({"image_id": i, "file_name": f"{i}.png", "segments_info": describe(ids, labels)})
    out = folder / "panoptic.json"
    out.write_text(json.dumps({"images": images, "annotations": annotations, "categories": classes.categories()}))
    return out


def _voronoi(rng: np.random.Generator) -> np.ndarray:
    """Ids 1 to 20: each pixel has that of the nearest of as many random points."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    centres = rng.random((SEGMENTS, 2)) * SIZE
    return ((y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2).argmin(-1) + 1


def data() -> Pair:
    """Samples for training, jittered and cropped to 1024, against a mask a segment made first and moved along."""
    disk = tempfile.TemporaryDirectory(prefix="opsnet_benchmark_")  # removed with the functions below, which hold it
    path = write_pictures(Path(disk.name))
    transform = TrainTransform()
    dataset = PanopticDataset(images=path.parent / "images", annotations=path, vocabulary="coco", transform=transform)
    records = json.loads(path.read_text())["annotations"]

    def ours() -> list[Tensor]:
        torch.manual_seed(0)
        return [dataset[i].masks for i in range(PICTURES)]

    def plain() -> list[Tensor]:
        torch.manual_seed(0)
        return [_plain_sample(Path(disk.name), record, transform) for record in records]

    same = all(torch.equal(_in_order(a), _in_order(b)) for a, b in zip(ours(), plain(), strict=True))
    return Pair(ours, plain, f"{'identical' if same else 'DIFFERENT'} masks of {PICTURES} pictures")


def _plain_sample(folder: Path, record: dict, transform: TrainTransform) -> Tensor:
    picture = np.array(Image.open(folder / "images" / f"{record['image_id']}.jpg").convert("RGB"))
    rgb = np.array(Image.open(folder / "panoptic" / record["file_name"]), dtype=np.int64)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65_536 * rgb[..., 2]
    masks = torch.stack([torch.from_numpy(ids == segment["id"]) for segment in record["segments_info"]])
    image = tv_tensors.Image(torch.from_numpy(picture).permute(2, 0, 1))
    _, moved = transform(image, tv_tensors.Mask(masks))
    return moved.as_subclass(Tensor)[moved.flatten(1).any(1)]


def _in_order(masks: Tensor) -> Tensor:
    """Masks by their sizes: one side lists segments as the json does, the other by id."""
    return masks[masks.flatten(1).sum(1).argsort(stable=True)]
