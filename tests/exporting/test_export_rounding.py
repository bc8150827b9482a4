"""What rounding changes: measured with noise on the weights, which are put back."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from opsnet.exporting.parity import Rounding, drawn_batch
from opsnet.exporting.rounding import steadiest
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.structures import TextBank

BANK = TextBank("two", ("sea", "tree"), torch.tensor([False, True]), torch.eye(2))
FILTER = MaskFiltering(threshold=0.1)


class Decides(nn.Module):
    """A network with one weight: which half is the mask depends on whether weight times image is above 1."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.pixel_decoder, self.query_decoder = nn.Linear(1, 1), nn.Identity(), nn.Identity()
        self.clip = SimpleNamespace(image_encoder=nn.Identity())
        self.backbone.requires_grad_(False).weight.fill_(1.0)

    def masks(self, image: torch.Tensor) -> torch.Tensor:
        masks = torch.full((1, 1, 16, 16), -8.0)
        upper = self.backbone.weight[0, 0] * image[0, 0, 0, 0] > 1
        masks[:, :, : (4 if upper else 8)] = 8.0
        return masks


def network() -> SimpleNamespace:
    model = Decides()

    def forward_bank(image: torch.Tensor, size: torch.Tensor, target: TextBank) -> tuple[torch.Tensor, ...]:
        return model.masks(image), torch.tensor([[[9.0, 0]]]), torch.zeros(1, 1), torch.full((1, 1), 0.9)

    return SimpleNamespace(model=model, forward_bank=forward_bank)


def image(value: float):
    batch = drawn_batch((64, 64), 0)
    batch.images[0, 0, 0, 0] = value
    return batch


def test_the_image_without_a_tie_is_chosen_and_the_weights_are_put_back() -> None:
    ours, tied, clear = network(), image(1.0), image(0.5)
    (chosen,), (own,) = steadiest(ours, [[tied, clear]], BANK, filtering=FILTER, overlap=0.8)  # type: ignore[arg-type]
    assert chosen is clear
    assert own == Rounding()
    assert ours.model.backbone.weight.item() == 1


def test_a_tie_is_measured_and_other_images_keep_their_own() -> None:
    images = [[image(1.0)], [image(0.5)]]
    _, (tied, clear) = steadiest(network(), images, BANK, filtering=FILTER, overlap=0.8)  # type: ignore[arg-type]
    assert tied.mask > 0.99
    assert tied.pixels == 16 * 64  # a quarter of the rows
    assert clear == Rounding()
