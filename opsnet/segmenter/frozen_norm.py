"""BatchNorms that neither move nor learn, as they are or folded into convolutions (:mod:`opsnet.ops.frozen_norms`)."""

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
    """As torchvision's, in the precision of what it normalises.

    ``after`` comes behind the norm: the activation that timm joins with it.
    """

    def __init__(self, channels: int, eps: float = 1e-5, after: nn.Module | None = None) -> None:
        super().__init__(channels, eps)
        self.after = after
        self.folded = False

    def numbers(self) -> NormNumbers:
        """What it multiplies and adds."""
        return NormNumbers(self.weight, self.bias, self.running_mean, self.running_var, self.eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape and type."""
        x = x if self.folded else frozen_norm(x, self.numbers())
        return x if self.after is None else self.after(x)


class FoldedConv(nn.Conv2d):
    """A convolution that does the arithmetic of the frozen norm behind it, with weights scaled at every call.

    The weights that are trained and saved are those of the convolution alone.
    """

    def __init__(self, conv: Any, norm: FrozenNorm) -> None:
        super().__init__(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,
            conv.groups, conv.bias is not None,
        )  # fmt: skip
        self.weight, self.bias = conv.weight, conv.bias
        self.pads_same = isinstance(conv, Conv2dSame)
        self.norm = (norm,)  # in a tuple: the norm has its place, and its names, in the model already
        norm.folded = True

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'), normalised."""
        if self.pads_same:
            x = pad_same(x, list(self.kernel_size), list(self.stride), list(self.dilation))
        weight, bias = normalized_weights(self.weight, self.bias, self.norm[0].numbers())
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def freeze_norms(model: nn.Module, *, fold: bool = False) -> Any:
    """A timm model whose BatchNorms are frozen, and with ``fold`` computed by the convolutions before them."""
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
    """Convolutions in the place of convolutions and norms, wherever one norm is all that follows a convolution.

    Raises:
        ValueError: the maps are others afterwards: something besides the norm reads a convolution's output.
    """
    training = model.training
    model.eval()  # or dropped paths would make the maps others
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
    """Each norm that takes a convolution's output as it is, with that convolution, and the maps of ``images``."""
    made: list[tuple[Tensor, nn.Conv2d]] = []  # holds the outputs, or another tensor could take an address of theirs
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
