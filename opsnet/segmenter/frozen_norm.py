"""Frozen BatchNorms, optionally folded into convolutions (:mod:`opsnet.ops.frozen_norms`)."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import pad_same
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import FrozenBatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops.misc import FrozenBatchNorm2d

from opsnet.ops.frozen_norms import NormNumbers, frozen_norm, normalized_weights


class FrozenNorm(FrozenBatchNorm2d):
    """Like torchvision's, but in the precision of its input.

    ``after`` is applied after the norm: the activation that timm combines with it.
    """

    def __init__(self, channels: int, eps: float = 1e-5, after: nn.Module | None = None) -> None:
        super().__init__(channels, eps)
        self.after = after
        self.folded = False

    def numbers(self) -> NormNumbers:
        """The values of the norm."""
        return NormNumbers(self.weight, self.bias, self.running_mean, self.running_var, self.eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape and type."""
        x = x if self.folded else frozen_norm(x, self.numbers())
        return x if self.after is None else self.after(x)


class FoldedConv(nn.Conv2d):
    """A convolution that includes the frozen norm after it, by scaling its weights in every call.

    The weights that are trained and saved are the unscaled ones.
    """

    def __init__(self, conv: Any, norm: FrozenNorm) -> None:
        super().__init__(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,
            conv.groups, conv.bias is not None,
        )  # fmt: skip
        self.weight, self.bias = conv.weight, conv.bias
        self.pads_same = isinstance(conv, Conv2dSame)
        self.norm = (norm,)  # in a tuple, because the norm is already registered in the model
        norm.folded = True

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'), normalised."""
        if self.pads_same:
            x = pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation))
        weight, bias = normalized_weights(self.weight, self.bias, self.norm[0].numbers())
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def freeze_norms(model: nn.Module, *, fold: bool = False) -> Any:
    """Freezes the BatchNorms of a timm model and, with ``fold``, folds them into the preceding convolutions."""
    import timm

    frozen = timm.layers.freeze_batch_norm_2d(model)
    norms: list[tuple[str, Any]] = list(frozen.named_modules())
    for name, norm in norms:
        if isinstance(norm, (FrozenBatchNorm2d, FrozenBatchNormAct2d)):
            after = nn.Sequential(norm.drop, norm.act) if isinstance(norm, FrozenBatchNormAct2d) else None
            ours = FrozenNorm(norm.state_dict()["weight"].numel(), norm.eps, after)
            ours.load_state_dict(norm.state_dict())
            frozen.set_submodule(name, ours)
    return _folded(frozen) if fold else frozen


@torch.no_grad()
def _folded(model: nn.Module) -> nn.Module:
    """Replaces a convolution and its norm by a single convolution, wherever a convolution is followed by one norm.

    Raises:
        ValueError: the maps change, because something other than the norm uses the output of a convolution.
    """
    training = model.training
    model.eval()  # stochastic depth would change the maps
    probe = torch.linspace(-1, 1, 3 * 64 * 64, dtype=next(model.parameters()).dtype).view(1, 3, 64, 64)
    names = {module: name for name, module in model.named_modules()}
    pairs, expected = _pairs(model, probe)
    for conv, norm in pairs:
        model.set_submodule(names[conv], FoldedConv(conv, norm))
    for before, after in zip(expected, model(probe), strict=True):
        if not torch.allclose(before, after, rtol=0, atol=1e-3 * float(before.abs().max()) + 1e-6):
            raise ValueError("this network's norms cannot be folded: give backbone.fold_norms=false")
    return model.train(training)


def _pairs(model: nn.Module, images: Tensor) -> tuple[list[tuple[nn.Conv2d, FrozenNorm]], list[Tensor]]:
    """The pairs of a convolution and the norm that uses its output directly, and the maps of ``images``."""
    made: list[tuple[Tensor, nn.Conv2d]] = []  # keeps the outputs alive, so that their identities stay unique
    pairs: list[tuple[nn.Conv2d, FrozenNorm]] = []

    def note(conv: Any, _: Any, output: Tensor) -> None:
        made.append((output, conv))

    def find(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        pairs.extend((conv, norm) for output, conv in made if output is inputs[0])

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(find) for m in model.modules() if isinstance(m, FrozenNorm)]
    maps = model(images)
    for hook in hooks:
        hook.remove()
    readers = [id(conv) for conv, _ in pairs]
    return [(conv, norm) for conv, norm in pairs if readers.count(id(conv)) == 1], list(maps)
