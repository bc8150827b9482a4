"""Validation images for wandb, with stand-ins; the files that wandb writes are tested in test_record.py."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from opsnet.structures import Batch, GroundTruth, PanopticMap, Segment
from opsnet.training.callbacks import LogImages
from opsnet.training.callbacks.log_images import OTHER, class_masks, original_image


def square(label: int, kind: type = PanopticMap, *, crowd: bool = False):
    """A map of 20 x 30 with one segment of 10 x 10 pixels."""
    ids = torch.zeros(20, 30, dtype=torch.int64)
    ids[5:15, 5:15] = 3
    return kind(ids, (Segment(3, label, True, area=100, is_crowd=crowd),))


def test_images_are_drawn_only_for_wandb() -> None:
    trainer = SimpleNamespace(loggers=[object()], sanity_checking=False)
    LogImages().on_validation_batch_end(trainer, None, None, None, 0)  # touches neither module nor batch


def test_the_first_batch_is_sent_to_wandb(monkeypatch) -> None:
    from lightning.pytorch.loggers import WandbLogger

    sent = []
    monkeypatch.setattr(WandbLogger, "__init__", lambda self: None)
    monkeypatch.setattr(WandbLogger, "log_image", lambda self, *given, **named: sent.append((given, named)))
    module = SimpleNamespace(
        data_vocabulary=SimpleNamespace(names=("sea",)),
        predict_maps=lambda batch: [square(0)] * 3,
    )
    truth = [square(0, GroundTruth)] * 3
    batch = Batch(torch.rand(3, 3, 32, 32), [(20, 30)] * 3, [0, 1, 2], "custom", panoptic=truth)
    trainer = SimpleNamespace(loggers=[WandbLogger()], sanity_checking=False, global_step=7)
    callback = LogImages(count=2)
    callback.on_validation_batch_end(trainer, module, None, batch, 1)
    assert sent == []
    callback.on_validation_batch_end(trainer, module, None, batch, 0)
    (name, images), named = sent[0]
    assert (name, len(images), named) == ("val/predictions", 2, {"step": 7})
    assert images[0].shape[0] > 20  # enlarged for the names
    (name, images), named = sent[1]
    assert (name, len(images), named["step"], len(named["masks"])) == ("val/panoptic", 2, 7, 2)
    assert images[0].shape == (20, 30, 3)


def test_resized_images_are_drawn_at_the_size_of_their_maps() -> None:
    image = torch.zeros(1, 3, 64, 64)
    image[:, 0, :40, :30], image[:, 0, :40, 30:60] = 1, 0.5  # the image is 40 x 60 of the 64 x 64
    batch = Batch(image, [(40, 60)], [0], "custom", original_sizes=[(20, 30)])
    pixels = original_image(batch, 0)
    assert (pixels.shape, pixels.dtype) == ((20, 30, 3), np.uint8)
    assert pixels[:, :14, 0].min() == 255 and not pixels[..., 1:].any()
    assert set(pixels[:, 16:, 0].ravel().tolist()) == {127}  # no padding


def test_masks_have_the_class_of_each_pixel() -> None:
    names = ("sea", "sky", "boat")
    (masks,) = class_masks([square(2, GroundTruth)], [square(1)], names)
    assert masks["prediction"]["class_labels"] == {0: "void", 1: "boat", 2: "sea", 3: "sky"}
    for key, number in (("ground_truth", 1), ("prediction", 3)):
        expected = np.zeros((20, 30))
        expected[5:15, 5:15] = number
        assert np.array_equal(masks[key]["mask_data"], expected)


def test_a_crowd_is_void() -> None:
    (masks,) = class_masks([square(0, GroundTruth, crowd=True)], [square(1)], ("sea", "sky"))
    assert not masks["ground_truth"]["mask_data"].any()


def test_ground_truth_classes_of_a_large_vocabulary_always_have_numbers() -> None:
    names = tuple(f"name {i}" for i in range(1000))
    first, second = (class_masks([square(900, GroundTruth)], [square(label)], names)[0] for label in (5, 950))
    assert first["prediction"]["class_labels"] == second["prediction"]["class_labels"]
    legend = first["prediction"]["class_labels"]
    assert (len(legend), max(legend), legend[1], legend[OTHER]) == (128, 127, "name 900", "other")
    assert legend[first["prediction"]["mask_data"].max()] == "name 5"
    assert legend[second["prediction"]["mask_data"].max()] == "other"
