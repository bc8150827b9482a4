"""The frozen CLIP as the backbone too: one pass of its trunk gives the feature pyramid and CLIP's map (FC-CLIP)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from opsnet.clip.image_encoder import ClipImageEncoder


class SharedClipBackbone(nn.Module):
    """Feature maps of CLIP's trunk, with CLIP's own normalisation; it has no weights of its own.

    Args:
        levels: which maps, finest first: 0 is the stem's (stride 2 for a ResNet, 4 for a ConvNeXt), 1 to 4 are the
            stages'. FC-CLIP uses 1 to 4, strides 4 to 32.

    Raises:
        ValueError: a level is not in 0..4.
    """

    def __init__(self, *, levels: Sequence[int] = (1, 2, 3, 4)) -> None:
        super().__init__()
        given = levels if isinstance(levels, Sequence) else ()
        self.levels = tuple(level for level in given if type(level) is int and 0 <= level <= 4)
        if not self.levels or len(self.levels) != len(given) or list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"backbone.levels must be ascending numbers of 0..4, got {levels}")
        self._encoder: tuple[ClipImageEncoder, ...] = ()  # a tuple, so that its weights stay CLIP's in a state dict

    def share(self, encoder: ClipImageEncoder) -> None:
        """Uses the trunk of ``encoder`` from now on."""
        self._encoder = (encoder,)

    @property
    def encoder(self) -> ClipImageEncoder:
        """CLIP's image encoder."""
        return self._encoder[0]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the maps."""
        channels = self.encoder.channels
        return tuple(channels[level] for level in self.levels)

    def forward(self, images: Tensor, inside: Tensor | None = None) -> list[Tensor]:
        """Images (B, 3, H, W), RGB in 0..1 -> maps (B, C_i, h_i, w_i), finest first."""
        return self.with_clip_map(images, inside)[0]

    def with_clip_map(self, images: Tensor, inside: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """The maps, and CLIP's map (B, map_dim, h, w), from one pass of the trunk."""
        maps, clip_map = self.encoder.pyramid(images, inside)
        return [maps[level] for level in self.levels], clip_map
