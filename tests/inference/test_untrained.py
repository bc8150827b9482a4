"""Untrained networks are recognised by their initial weights, or because their proposals agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from opsnet.inference.network_output import NetworkOutput, run_network
from opsnet.inference.trained_model import TrainedModel
from opsnet.inference.untrained import has_initial_norms, mask_agreement, proposals_agree
from opsnet.published.loading import load_published_model
from opsnet.structures import Batch, Proposals

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published_models" / "fcclip_small"


def test_the_agreement_of_masks_by_hand() -> None:
    masks = torch.full((2, 3, 2, 4), -1.0)
    masks[0, 0, :, :2] = 1  # 4 points
    masks[0, 1, 0, :2] = 1  # 2 of them: IoU 0.5; the third is empty
    masks[1, :, 0] = 1  # three equal masks
    live, agreement = mask_agreement(masks)
    assert live.tolist() == pytest.approx([2 / 3, 1])
    assert agreement.tolist() == pytest.approx([0.5, 1])
    assert mask_agreement(-torch.ones(1, 3, 2, 4))[1].tolist() == [0]


def test_initial_weights_are_recognised_and_one_step_of_training_is_enough(compose, world, lenient_model) -> None:
    from hydra.utils import instantiate

    cfg = compose("train", "experiment=scenes", f"paths.data={world.data}")
    model = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip)
    assert has_initial_norms(model)
    assert not has_initial_norms(lenient_model.model)  # trained for eight steps
    next(m for m in model.query_decoder.modules() if isinstance(m, torch.nn.LayerNorm)).bias.data[0] = 1e-6
    assert not has_initial_norms(model)


def output_of(trained: TrainedModel, masks: torch.Tensor, objects: int) -> NetworkOutput:
    """Proposals of which the first ``objects`` have the embedding of a name, the others that of no-object."""
    bank = trained.names.train_bank()
    rows = [bank.embeds[0]] * objects + [trained.model.no_object_embed] * (masks.shape[1] - objects)
    proposals = Proposals(masks, torch.stack(rows)[None].detach(), torch.ones(1, masks.shape[1]))
    return NetworkOutput(proposals, {}, (64, 64), ((64, 64),), ((64, 64),), (0,))


def test_proposals_that_agree_in_masks_and_objectness_are_told_from_others(lenient_model) -> None:
    bank, model = lenient_model.names.train_bank(), lenient_model.model
    same = torch.ones(1, 10, 8, 8)
    different = torch.full((1, 10, 8, 8), -1.0)
    different[0, torch.arange(10), torch.arange(10) % 8] = 1
    assert proposals_agree(model, output_of(lenient_model, same, 10), bank) == [True]
    assert proposals_agree(model, output_of(lenient_model, different, 10), bank) == [False]  # ten objects
    assert proposals_agree(model, output_of(lenient_model, same, 2), bank) == [False]  # one wall, twice
    assert proposals_agree(model, output_of(lenient_model, -same, 10), bank) == [False]  # nothing there


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published models are not at {PUBLISHED}")
@pytest.mark.parametrize("kind", ["convnext", "rn50"])
def test_random_weights_in_a_published_layout_are_recognised(kind: str) -> None:
    """Their norms are not initial: only the proposals tell."""
    folder = PUBLISHED / kind
    trained = load_published_model(
        folder / "model_final.pth", clip=folder / "open_clip_config.json", device="cpu", train_vocabulary="coco"
    )
    assert not has_initial_norms(trained.model)
    image = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        output = run_network(trained.model, Batch(image, [(96, 128)], [0], "coco"))
        assert proposals_agree(trained.model, output, trained.names.train_bank()) == [True]
