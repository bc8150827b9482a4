"""The convolutional trunks of open_clip's image towers, stage by stage: a feature pyramid and CLIP's last map in one.

A trunk has no weights of its own: its stages are those of the tower that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

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
        yield from trunk.stages[:-1]
        yield lambda x: trunk.norm_pre(trunk.stages[-1](x))  # type: ignore[no-any-return]

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


def _last_channels(layer: nn.Module) -> int | None:
    widths = [m.out_channels for name, m in layer.named_modules() if name.endswith("conv3")]
    return int(widths[-1]) if widths else None
