"""Non-square images of flat coloured rectangles in the layout of ``data=own``, and a segmenter that reads colours."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from opsnet.structures import Proposals
from opsnet.vocabulary import Vocabulary

COLOURS = {"red car": (230, 20, 20), "green grass": (20, 200, 20), "blue sky": (20, 20, 230)}
THING = "red car"
SIZES = ((48, 75), (90, 40), (61, 100), (33, 50))  # (height, width) in pixels


def write_flat_set(root: Path, *, train: int = 8) -> Path:
    """Writes ``train`` training and four validation images; returns ``root``."""
    categories = [{"id": i, "name": n, "isthing": int(n == THING)} for i, n in enumerate(COLOURS, start=1)]
    (root / "images").mkdir(parents=True)
    (root / "vocabulary.json").write_text(json.dumps({"name": "flat", "categories": categories}))
    for split, count in (("train", train), ("val", len(SIZES))):
        images = [_write_image(root, split, i) for i in range(count)]
        content = {"images": [a for a, _ in images], "annotations": [b for _, b in images], "categories": categories}
        (root / f"panoptic_{split}.json").write_text(json.dumps(content))
    return root


def _write_image(root: Path, split: str, index: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sky above grass, and one or two thin cars, so that borders matter."""
    height, width = SIZES[index % len(SIZES)]
    classes = np.full((height, width), 2)
    classes[: height // 2 + index] = 3
    ids = classes.copy()
    for car in range(1 + index % 2):
        box = (slice(height // 3, height // 3 + 9), slice(5 + 20 * car, 16 + 20 * car))
        classes[box], ids[box] = 1, 10 + car
    name, folder, segments = f"{index}.png", root / "images" / split, root / f"panoptic_{split}"
    folder.mkdir(exist_ok=True)
    segments.mkdir(exist_ok=True)
    pixels = np.array([(0, 0, 0), *COLOURS.values()], np.uint8)[classes]
    Image.fromarray(pixels).save(folder / name)
    Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], -1).astype(np.uint8)).save(segments / name)
    infos = [{"id": int(i), "category_id": int(classes[ids == i][0]), "iscrowd": 0} for i in np.unique(ids)]
    image = {"id": index, "file_name": name, "height": height, "width": width}
    return image, {"image_id": index, "file_name": name, "segments_info": infos}


def reading_colours(forward: Any) -> Any:
    """A ``forward`` of the network whose masks in evaluation mode follow the colours; for ``OPSNet.forward``.

    The first three proposals are the three classes, at a quarter of the image size like the masks of a network, with
    class score 1 for car and grass and 0.62 for sky. The fourth is an uncertain car that covers the left half.
    """

    def planted(self: Any, images: Tensor, *sizes: Any, **options: Any) -> tuple[Proposals, Tensor]:
        proposals, clip_map = forward(self, images, *sizes, **options)
        if self.training:
            return proposals, clip_map
        colours = images.new_tensor(list(COLOURS.values()))[:, :, None, None] / 255
        distance = (images[:, None] - colours).abs().amax(2)  # (B, 3, H, W)
        masks = torch.full_like(proposals.mask_logits, -20.0)
        masks[:, :3] = F.interpolate(8 * (0.5 - distance), masks.shape[-2:], mode="area")
        masks[:, 3, :, : masks.shape[-1] // 2] = 3.0
        embeds, iou = proposals.query_embeds.clone(), torch.full_like(proposals.iou, 0.9)
        text = self.clip.text_encoder(Vocabulary.from_names(COLOURS)).embeds.to(embeds)
        embeds[:, :4] = _embeds(text)
        return dataclasses.replace(proposals, mask_logits=masks, query_embeds=embeds, iou=iou), clip_map

    return planted


def _embeds(text: Tensor) -> Tensor:
    """Embeddings (4, D) whose cosines with the names' (3, D) give the class scores, at CLIP's temperature of 0.01."""
    sure = torch.linalg.pinv(text).mT  # row k: its product with name k is 1, with the others 0
    car, grass, sky = sure

    def doubtful(own: Tensor, other: Tensor) -> Tensor:
        both = own + other
        return own + (1 - 0.005 * both.norm()) * other

    return torch.stack((car, grass, doubtful(sky, grass), doubtful(car, sky)))
