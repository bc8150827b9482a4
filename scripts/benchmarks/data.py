"""Reading training samples from the disk: this project's way beside the plain one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from opsnet.data.coco_panoptic import SegmentLabel, describe
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.data.transforms import TrainTransform, Transform
from opsnet.vocabulary import Vocabulary
from scripts.benchmarks.pair import Pair

PICTURES, SEGMENTS, SIZE = 4, 20, (480, 640)


def write_dataset(root: Path, pictures: int = PICTURES, annotations: int | None = None) -> Path:
    """COCO-like pictures of 640 x 480 pixels with twenty segments each, in COCO's layout; answers the json.

    Args:
        root: the folder that is COCO's.
        pictures: files to write.
        annotations: entries of the json, which come back to the same files; by default one a picture.
    """
    rng, classes = np.random.default_rng(0), Vocabulary.load("coco")
    out = root / "annotations" / "panoptic_train2017.json"
    for folder in (root / "train2017", out.with_suffix("")):
        folder.mkdir(parents=True, exist_ok=True)
    infos = []
    for i in range(pictures):
        ids = _voronoi(rng) * 1000 + 7
        labels = [
            SegmentLabel(k * 1000 + 7, classes.ids[int(rng.integers(len(classes)))]) for k in range(1, SEGMENTS + 1)
        ]
        noise = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((80, 60)).resize(SIZE[::-1]).save(root / "train2017" / f"{i}.jpg")
        Image.fromarray(ids_to_rgb(ids)).save(out.with_suffix("") / f"{i}.png")
        infos.append(describe(ids, labels))
    entries = [(k, k % pictures) for k in range(annotations or pictures)]
    content = {
        "images": [{"id": k, "file_name": f"{i}.jpg"} for k, i in entries],
        "annotations": [{"image_id": k, "file_name": f"{i}.png", "segments_info": infos[i]} for k, i in entries],
        "categories": classes.categories(),
    }
    out.write_text(json.dumps(content))
    return out


def _voronoi(rng: np.random.Generator) -> np.ndarray:
    """Ids 1 to 20: each pixel has that of the nearest of as many random points."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    centres = rng.random((SEGMENTS, 2)) * SIZE
    return ((y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2).argmin(-1) + 1


def data() -> Pair:
    """Samples for training, jittered and cropped to 1024, against a mask a segment made first and moved along."""
    disk = tempfile.TemporaryDirectory(prefix="opsnet_benchmark_")  # removed with `plain`, which holds it
    root = Path(disk.name)
    path = write_dataset(root)
    transform = TrainTransform()
    dataset = PanopticDataset(images=root / "train2017", annotations=path, vocabulary="coco", transform=transform)
    records = json.loads(path.read_text())["annotations"]

    def ours() -> list[Tensor]:
        torch.manual_seed(0)
        return [dataset[i].masks for i in range(PICTURES)]

    def plain() -> list[Tensor]:
        torch.manual_seed(0)
        return [plain_sample(Path(disk.name), record, transform) for record in records]

    same = all(torch.equal(_in_order(a), _in_order(b)) for a, b in zip(ours(), plain(), strict=True))
    return Pair(ours, plain, f"{'identical' if same else 'DIFFERENT'} masks of {PICTURES} pictures")


def plain_sample(root: Path, record: dict, transform: Transform) -> Tensor:
    """A picture's masks (G, H, W): one by ``ids == id`` for each segment, all moved along by the transform."""
    png = root / "annotations" / "panoptic_train2017" / record["file_name"]
    picture = np.array(Image.open(root / "train2017" / f"{png.stem}.jpg").convert("RGB"))
    rgb = np.array(Image.open(png), dtype=np.int64)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65_536 * rgb[..., 2]
    masks = torch.stack([torch.from_numpy(ids == segment["id"]) for segment in record["segments_info"]])
    image = tv_tensors.Image(torch.from_numpy(picture).permute(2, 0, 1))
    _, moved = transform(image, tv_tensors.Mask(masks))
    return moved.as_subclass(Tensor)[moved.flatten(1).any(1)]


def _in_order(masks: Tensor) -> Tensor:
    """Masks by their sizes: one side lists segments as the json does, the other by id."""
    return masks[masks.flatten(1).sum(1).argsort(stable=True)]
