"""The small but complete world in which faults are injected: images, labels, a CLIP and a trained network."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

COUNTS = {"train": 24, "val": 6, "test": 24, "labels": 2}
OWN_IMAGES = 300
"""Images that the preparation converts: so many that it is caught in the middle."""


@dataclass(frozen=True)
class World:
    """Files that the commands read, all below one folder.

    Attributes:
        folder: holds ``data``, ``photos``, ``own`` and, once a network is trained, ``last.ckpt``.
    """

    folder: Path

    @property
    def data(self) -> Path:
        """Folder of the synthetic sets and of CLIP's weights (``paths.data``)."""
        return self.folder / "data"

    @property
    def sets(self) -> Path:
        """The panoptic set to train and evaluate on."""
        return self.data / "scenes_0" / "scenes"

    @property
    def photos(self) -> Path:
        """Folder of images to predict."""
        return self.folder / "photos"

    @property
    def own(self) -> Path:
        """``images`` and ``instances.json``, to be converted."""
        return self.folder / "own"

    @property
    def checkpoint(self) -> Path:
        """The network that is evaluated and used for prediction."""
        return self.folder / "last.ckpt"

    def copy(self, folder: Path) -> World:
        """A copy, in which files may be damaged."""
        shutil.copytree(self.folder, folder)
        return World(folder)


def draw_world(folder: Path) -> World:
    """Writes everything but the trained network."""
    import torch

    from opsnet.clip.tiny import tiny_clip
    from opsnet.miniature.scenes import write_world

    world = World(folder)
    write_world(world.data / "scenes_0", seed=0, workers=1, **COUNTS)
    clip = world.data / "clip" / "tiny.pt"
    clip.parent.mkdir()
    torch.manual_seed(0)
    torch.save({"state_dict": tiny_clip().state_dict()}, clip)
    shutil.copytree(world.sets / "test", world.photos)
    _write_own(world.own)
    return world


def _write_own(folder: Path) -> None:
    """COCO instances: two polygons per image, at random places."""
    (folder / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(OWN_IMAGES):
        name = f"{number:04d}.png"
        Image.fromarray(generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "height": 64, "width": 64})
        for category in (1, 2):
            x, y = (float(v) for v in generator.integers(0, 40, 2))
            polygon = [x, y, x + 20, y, x + 20, y + 20, x, y + 20]
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0}
            annotations.append({**entry, "segmentation": [polygon]})
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")


def lenient(checkpoint: Path, path: Path) -> None:
    """Copies a hardly trained network so that it finds segments: a random mask head, and no threshold on overlaps."""
    import torch

    content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    content["opsnet"]["config"]["overlap"] = 0.0
    generator = torch.Generator().manual_seed(1)
    for name, weight in content["state_dict"].items():
        if name.startswith("model.query_decoder.mask_head.") and weight.ndim == 2:
            weight.normal_(0, 0.3, generator=generator)
    torch.save(content, path)
