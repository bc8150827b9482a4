"""A loss of one's own: a class outside the package and a yaml in a folder of one's own, and nothing else."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch.nn.functional as F
from documented import ROOT, blocks
from segment_losses import one_empty_target, perfect, squares, uncertain, value
from small_training import SMALL
from torch import Tensor

from opsnet.commands import train
from opsnet.losses.base import ImageLabelLoss, SegmentLoss
from opsnet.losses.context import ImageLabelContext, SegmentContext
from opsnet.training import run


class NearClip(SegmentLoss):
    """Keeps the query embeddings of matched proposals near CLIP's, beyond a margin.

    Args:
        weight: in the sum.
        margin: cosine from which nothing is asked.
    """

    def __init__(self, *, weight: float, margin: float = 1.0) -> None:
        super().__init__(weight=weight)
        self.margin = margin

    def forward(self, context: SegmentContext) -> Tensor:
        image, proposal, _ = context.matches[-1]
        query, clip = (e[image, proposal] for e in (context.embeddings.query, context.embeddings.clip))
        return (self.margin - F.cosine_similarity(query, clip, dim=-1)).clamp(min=0).mean()

    def metrics(self, context: SegmentContext) -> dict[str, Tensor]:
        logits, _ = context.recognizer(context.embeddings, prepared(context), context.model.no_object_embed)
        return {"surest_name": logits.softmax(-1).amax()}


def prepared(context: SegmentContext):

    return context.names


class FewMasks(ImageLabelLoss):
    """The mean predicted IoU."""

    def forward(self, context: ImageLabelContext) -> Tensor:
        return context.proposals.iou.mean()


def addition(root: Path) -> None:
    """Writes into a folder for --config-dir what adds the loss: an experiment."""
    (root / "experiment").mkdir(parents=True)
    (root / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "experiment_name: mine\n"
        "losses:\n"
        "  near_clip: {_target_: test_own_loss.NearClip, weight: 0.5, margin: 0.9}\n"
        "trainer: {max_steps: 2}\n"
    )


@pytest.fixture
def yamls(tmp_path: Path) -> str:
    """--config-dir of a folder with an experiment."""
    addition(tmp_path / "conf")
    return f"--config-dir={tmp_path / 'conf'}"


def steps(folder: Path) -> list[dict[str, float]]:
    """The losses of each step, without ``train/``."""
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    return [{k[6:]: float(v) for k, v in row.items() if k.startswith("train/") and v} for row in rows]


def test_a_loss_of_ones_own_is_trained_and_logged(yamls, command, world_overrides, tmp_path) -> None:
    run = tmp_path / "run"
    given = [yamls, *world_overrides, *SMALL, f"hydra.run.dir={run}", "experiment=mine", "trainer.max_epochs=1"]
    assert command(train.main, *given, "~losses.iou", "losses.dice.weight=0")[0] == 0
    first, second = steps(run)
    terms = {"cross_entropy", "mask_bce", "near_clip"}
    assert first.keys() == second.keys() == terms | {"loss", "surest_name"}
    for step in (first, second):
        assert step["loss"] == pytest.approx(sum(step[name] for name in terms))
        assert 0 < step["near_clip"] < 0.5 * 1.9
        assert 0 < step["surest_name"] <= 1
    assert (run / "checkpoints" / "last.ckpt").is_file()


def test_one_for_image_labels_on_the_command_line(train_config, tmp_path) -> None:
    folder = tmp_path / "run"
    own = "+losses.few_masks={_target_: test_own_loss.FewMasks, weight: 2}"
    run.train(train_config(folder, "data=scenes_plus", own, "trainer.max_epochs=1", "trainer.max_steps=2"))
    for step in steps(folder):
        assert 0 < step["few_masks"] < 2
        parts = ("cross_entropy", "mask_bce", "dice", "iou", "few_masks")
        assert step["loss"] == pytest.approx(sum(step[name] for name in parts))


@pytest.mark.parametrize(
    ("own", "parts"),
    [
        ("{_target_: test_own_loss.NearClip}", ["losses.mine has no weight", "losses.mine.weight"]),
        ("{_target_: test_own_loss.steps, weight: 1}", ["losses.mine._target_", "derive it from SegmentLoss"]),
        ("{_target_: test_own_loss.Nearer, weight: 1}", ["losses.mine._target_", "cannot be imported"]),
    ],
)
def test_what_is_wrong_with_it_is_one_sentence(own, parts, command, world_overrides, tmp_path) -> None:
    code, error = command(
        train.main, *world_overrides, *SMALL, f"hydra.run.dir={tmp_path / 'run'}", f"+losses.mine={own}"
    )
    assert code == 2
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("error: losses.mine")
    assert all(part in error.splitlines()[-1] for part in parts)


def test_the_loss_of_the_documentation() -> None:
    (block,) = blocks(ROOT / "docs" / "training.md", "python")
    names: dict = {}
    exec(compile(block, "docs/training.md", "exec", dont_inherit=True), names)
    loss = names["Confidence"](weight=0.5)
    assert value(loss, [perfect(squares())], squares(), points=512) < 1e-3
    assert value(loss, [uncertain()], one_empty_target()) == pytest.approx(3 / 4)  # four names, equally likely
