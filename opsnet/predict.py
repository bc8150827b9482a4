"""``opsnet-predict``: a picture and any words in, a panoptic map with names out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from opsnet.data.conversion import SegmentLabel, describe, ids_to_rgb
from opsnet.data.pictures import to_rgb
from opsnet.errors import InputError
from opsnet.files import atomic_path, write_json
from opsnet.inference import TrainedModel, load_checkpoint, load_zero_shot
from opsnet.structures import Batch, PanopticMap
from opsnet.vocabulary import Vocabulary

SIZE_DIVISOR = 32  # pixels; the coarsest stride of any backbone


def predict(cfg: DictConfig) -> PanopticMap:
    """Segments one picture and writes overlay, COCO panoptic PNG and json.

    Args:
        cfg: conf/predict.yaml.

    Returns:
        The panoptic map (H, W).

    Raises:
        InputError: picture, vocabulary, checkpoint, weights or CLIP missing or unusable; before anything is computed.
    """
    from hydra.utils import instantiate

    picture = Path(cfg.image).expanduser()
    words = cfg.vocabulary
    vocabulary = Vocabulary.load(words if isinstance(words, str) else ", ".join(map(str, words)))
    pixels = read_picture(picture)
    trained = _load(cfg)
    prediction = trained.model.predict(
        to_batch(pixels, vocabulary.name).to(trained.model.void_embed.device),
        trained.text(vocabulary),
        trained.text(trained.train_vocabulary),
        modulation=instantiate(cfg.modulation),
        filtering=instantiate(cfg.filtering),
        overlap=trained.overlap,
    )[0]
    folder = Path(cfg.output)
    write_prediction(folder, picture, pixels, prediction, vocabulary)
    _print(prediction, vocabulary, folder)
    return prediction


def _load(cfg: DictConfig) -> TrainedModel:
    if cfg.checkpoint is not None and cfg.model.weights is not None:
        raise InputError("checkpoint and model.weights both name a network: give one of them")
    if cfg.checkpoint is not None:
        return load_checkpoint(
            cfg.checkpoint, clip_weights=cfg.clip_weights, device=cfg.device, label_names_known=cfg.label_names_known
        )
    if cfg.model.weights is None:
        raise InputError(
            "no network is named: give checkpoint=PATH of a .ckpt written by opsnet-train, or model.weights=PATH of a "
            "published Mask2Former"
        )
    if not cfg.modulation._target_.endswith(".ClipOnly"):
        raise InputError(
            "a Mask2Former from model.weights has no trained query embeddings: choose modulation=clip_only"
        )
    return load_zero_shot(cfg, device=cfg.device)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture as RGB (H, W, 3), see :func:`opsnet.data.pictures.to_rgb`.

    Raises:
        InputError: no such file, or not a picture.
    """
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise InputError(f"image {path} does not exist: give image=PATH of a picture")
    try:
        with Image.open(path) as image:
            return to_rgb(image)
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"image {path} cannot be read as a picture ({error}): give a PNG or JPEG file") from error


def to_batch(pixels: NDArray[np.uint8], vocabulary: str) -> Batch:
    """One picture (H, W, 3) as a padded batch of one."""
    height, width = pixels.shape[:2]
    padded = [-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in (height, width)]
    images = torch.zeros(1, 3, *padded)
    images[0, :, :height, :width] = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255
    return Batch(images=images, valid_sizes=[(height, width)], image_ids=[0], vocabulary=vocabulary)


def write_prediction(
    folder: Path, picture: Path, pixels: NDArray[np.uint8], prediction: PanopticMap, vocabulary: Vocabulary
) -> None:
    """Writes ``<name>_overlay.png``, ``panoptic/<name>.png`` and ``panoptic.json`` in COCO's format."""
    from PIL import Image

    from opsnet.reporting.overlays import draw_overlay

    overlay = draw_overlay(pixels, prediction, vocabulary.names, scale=None)
    with atomic_path(folder / f"{picture.stem}_overlay.png") as path:
        Image.fromarray(overlay).save(path)
    ids = prediction.ids.cpu().numpy()
    with atomic_path(folder / "panoptic" / f"{picture.stem}.png") as path:
        Image.fromarray(ids_to_rgb(ids)).save(path)
    described = describe(ids, [SegmentLabel(s.id, vocabulary.ids[s.label]) for s in prediction.segments])
    segments = [
        {**known, "isthing": int(s.is_thing), "score": round(s.score, 4), "predicted_iou": round(s.iou, 4)}
        for known, s in zip(described, prediction.segments, strict=True)
    ]
    image = {"id": 0, "file_name": picture.name, "height": pixels.shape[0], "width": pixels.shape[1]}
    annotation = {"image_id": 0, "file_name": f"{picture.stem}.png", "segments_info": segments}
    content = {"images": [image], "annotations": [annotation], "categories": vocabulary.categories()}
    write_json(folder / "panoptic.json", content)


def _print(prediction: PanopticMap, vocabulary: Vocabulary, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "kind", "score", "predicted IoU", "share of the picture")
    for s in sorted(prediction.segments, key=lambda s: -s.area):
        kind = "thing" if s.is_thing else "stuff"
        share = s.area / prediction.ids.numel()
        table.add_row(vocabulary.names[s.label], kind, f"{s.score:.2f}", f"{s.iou:.2f}", f"{share:.1%}")
    console = Console()
    console.print(table)
    console.print(f"written to {folder}")


def run(cfg: DictConfig) -> None:
    """Hydra's task: it must not return the map, which Hydra would try to show."""
    predict(cfg)


def main() -> None:
    """Console entry point."""
    import sys

    import hydra

    from opsnet.configuration import config_dir, quoted
    from opsnet.errors import one_sentence_errors

    if not {"-m", "--multirun"} & set(sys.argv):
        texts = ("image", "checkpoint", "model.weights", "vocabulary")
        sys.argv[1:] = [quoted(argument, *texts) for argument in sys.argv[1:]]
    with one_sentence_errors():
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="predict")(run)()


if __name__ == "__main__":
    main()
