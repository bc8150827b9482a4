"""The convolutional trunks of open_clip's image towers, stage by stage: a feature pyramid and CLIP's last map in one.

A trunk has no weights of its own: its stages are those of the tower that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from opsnet.ops.scaled_mlp import MlpWeights, scaled_mlp

Stage = Callable[[Tensor], Tensor]


class Trunk(Protocol):
    """Stages of an image tower.

    Attributes:
        pooling: name of the pooling that fits the tower's projection, see :mod:`opsnet.clip.pooling`.
    """

    pooling: ClassVar[str]

    def stages(self, visual: Any) -> Iterator[Stage]:
        """The stem, which may have two parts, and the four stages; the next one takes the result of the one before."""
        ...

    def channels(self, visual: Any) -> tuple[int, ...]:
        """Channels of the map after each of :meth:`stages`."""
        ...


class ResNetTrunk:
    """open_clip's ``ModifiedResNet``: strides 2 (stem), 4, 8, 16, 32, and its attention pool."""

    pooling: ClassVar[str] = "adapter"

    def stages(self, visual: Any) -> Iterator[Stage]:
        """The stem before its average pool, and layers 1 to 4."""
        yield lambda x: _stem(visual, x)
        yield lambda x: visual.layer1(visual.avgpool(x))  # type: ignore[no-any-return]
        yield from (visual.layer2, visual.layer3, visual.layer4)

    def channels(self, visual: Any) -> tuple[int, ...]:
        """Channels of the stem and of each layer's last block; a missing layer keeps those of the layer before."""
        found = [int(visual.conv3.out_channels)]
        for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            found.append(_last_channels(layer) or found[-1])
        return tuple(found)


class ConvNeXtTrunk:
    """timm's ConvNeXt in open_clip's ``TimmModel``: strides 4 (stem), 4, 8, 16, 32."""

    pooling: ClassVar[str] = "project_after"

    def stages(self, visual: Any) -> Iterator[Stage]:
        """The stem and the four stages, the last with the norm before the pool."""
        trunk = visual.trunk
        yield trunk.stem
        yield from (partial(_convnext_stage, stage) for stage in trunk.stages[:-1])
        yield lambda x: trunk.norm_pre(_convnext_stage(trunk.stages[-1], x))  # type: ignore[no-any-return]

    def channels(self, visual: Any) -> tuple[int, ...]:
        """Channels of the stem and of each stage."""
        widths = [int(stage.blocks[-1].conv_dw.out_channels) for stage in visual.trunk.stages]
        return (widths[0], *widths)


def trunk_of(visual: nn.Module) -> Trunk:
    """The trunk of an image tower.

    Raises:
        ValueError: it is neither a ResNet with an attention pool nor a ConvNeXt, such as a ViT.
    """
    if getattr(visual, "attnpool", None) is not None:
        return ResNetTrunk()
    if hasattr(getattr(visual, "trunk", None), "stages") and hasattr(visual.trunk, "norm_pre"):
        return ConvNeXtTrunk()
    raise ValueError(
        f"{type(visual).__name__} has neither an attention pool nor the stages of a ConvNeXt: dense features need a "
        "CLIP ResNet or ConvNeXt, such as clip=rn50 or clip=convnext_large_d_320"
    )


def _stem(visual: Any, x: Tensor) -> Tensor:
    for i in (1, 2, 3):
        convolution, norm, activation = (getattr(visual, f"{part}{i}") for part in ("conv", "bn", "act"))
        x = activation(norm(convolution(x)))
    return x


def _convnext_stage(stage: Any, x: Tensor) -> Tensor:
    """Downsampling and the blocks, like the stage itself but faster."""
    x = stage.downsample(x)
    for block in stage.blocks:
        x = _convnext_block(block, x) if _is_plain(block) else block(x)
    return x


def _convnext_block(block: Any, x: Tensor) -> Tensor:
    """(B, C, h, w) -> the same shape."""
    y = block.norm(block.conv_dw(x).permute(0, 2, 3, 1))
    fc1, fc2 = block.mlp.fc1, block.mlp.fc2
    weights = MlpWeights(fc1.weight, fc1.bias, fc2.weight, fc2.bias, block.gamma)
    return scaled_mlp(y, x.permute(0, 2, 3, 1), weights).permute(0, 3, 1, 2)


def _is_plain(block: Any) -> bool:
    """Whether a block is that of the first ConvNeXt: linear layers with GELU, a scale, the input as the shortcut."""
    from timm.layers import Mlp  # here: importing takes seconds, and a tower of timm has imported it
    from timm.layers.activations import GELU

    if type(block.mlp) is not Mlp or block.use_conv_mlp or block.gamma is None:
        return False
    return isinstance(block.mlp.act, GELU) and all(type(m) is nn.Identity for m in (block.mlp.norm, block.shortcut))


def _last_channels(layer: nn.Module) -> int | None:
    widths = [m.out_channels for name, m in layer.named_modules() if name.endswith("conv3")]
    return int(widths[-1]) if widths else None
