"""Scoring any number of inference settings on one pass of the network."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from opsnet.inference import TrainedModel
from opsnet.metrics.panoptic_arithmetic import count_segments
from opsnet.metrics.panoptic_averages import PanopticCounts, summarise
from opsnet.metrics.semantic import SemanticCounts, count_semantic, summarise_semantic
from opsnet.metrics.truth_regions import TruthRegions
from opsnet.panoptic.merge import in_groups, upsample_masks
from opsnet.panoptic.sparse_merge import SparseMerge
from opsnet.recognition.modulation import nearest_similarity
from opsnet.settings import Setting
from opsnet.structures import Batch, Embeddings, PanopticMap, Proposals
from opsnet.vocabulary import Vocabulary

SIMILARITIES = (0.7, 0.8, 0.9)
"""Cosines to the nearest training name between which PQ is reported apart."""


class SettingScorer:
    """Scores every setting on the outputs of one pass, for one domain.

    Attributes:
        counts, pixels: of each setting by name, over all batches so far: segments for PQ, pixels for mIoU.
    """

    def __init__(self, trained: TrainedModel, target: Vocabulary, settings: list[Setting]) -> None:
        self.trained, self.settings = trained, settings
        self.target, self.train = trained.text(target), trained.text(trained.train_vocabulary)
        self.groups = class_groups(
            target.seen_in(trained.train_vocabulary), nearest_similarity(self.target, self.train)
        )
        self.counts = {s.name: PanopticCounts.zeros(len(target.is_thing)) for s in settings}
        self.pixels = {s.name: SemanticCounts.zeros(len(target.is_thing)) for s in settings}
        self._sources = sorted({s.clip_embeds for s in settings})

    @torch.no_grad()
    def update(self, batch: Batch, *, wanted: Collection[str] | None = None) -> dict[str, list[PanopticMap]]:
        """Scores a batch; answers the maps of the ``wanted`` settings (by name; all of them), one an image."""
        proposals, clip_map = self.trained.model(batch.images)
        clip = {source: self._clip_embeds(source, batch, proposals, clip_map) for source in self._sources}
        return self.score(batch, proposals, clip, wanted=wanted)

    def score(
        self, batch: Batch, proposals: Proposals, clip: Mapping[str, Tensor], *, wanted: Collection[str] | None = None
    ) -> dict[str, list[PanopticMap]]:
        """As :meth:`update`, for what the network said: its proposals, and CLIP's (B, K, D) from each source."""
        scored, padded = self._named(proposals, clip), (batch.images.shape[-2], batch.images.shape[-1])
        maps: dict[str, list[PanopticMap]] = {name: [] for name in scored if wanted is None or name in wanted}
        for i, (truth, valid) in enumerate(zip(batch.panoptic, batch.valid_sizes, strict=True)):
            rows = {name: (scores[i], labels[i], keep[i]) for name, (scores, labels, keep) in scored.items()}
            image = _ScoredImage(
                proposals.mask_logits[i], proposals.iou[i], padded, valid,
                TruthRegions.of(truth, len(self.target.names)), rows.values(),
                is_thing=self.target.is_thing.tolist(), overlap=self.trained.overlap,
            )  # fmt: skip
            for name, row in rows.items():
                prediction, counts, pixels = image.score(row, with_map=name in maps)
                self.counts[name] += counts
                self.pixels[name] += pixels
                if prediction is not None and name in maps:
                    maps[name].append(prediction)
        return maps

    def _named(self, proposals: Proposals, clip: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Scores, labels and which to keep, (B, K) each, by setting."""
        logits: dict[str, tuple[Tensor, Tensor]] = {}
        scored = {}
        for setting in self.settings:
            if setting.recognition not in logits:
                embeddings = Embeddings(query=proposals.query_embeds, clip=clip[setting.clip_embeds])
                logits[setting.recognition] = setting.modulation(
                    embeddings, self.target, self.train, self.trained.model.void_embed
                )
            scored[setting.name] = setting.filtering(*logits[setting.recognition], proposals.iou)
        return scored

    def results(self) -> dict[str, dict[str, float]]:
        """PQ and its parts, the PQ of each group of classes, mIoU and its kin (Table 8), in percent, by setting."""
        return {s.name: self._figures(self.counts[s.name], self.pixels[s.name]) for s in self.settings}

    def _figures(self, counts: PanopticCounts, pixels: SemanticCounts) -> dict[str, float]:
        result = summarise(counts, self.target.is_thing.tolist())
        groups = {name: result.of(chosen) for name, chosen in self.groups.items()}
        by_group = {f"PQ_{name}": quality.pq for name, quality in groups.items() if quality.n}
        return {**result.as_dict(), **by_group, **summarise_semantic(pixels).as_dict()}

    def _clip_embeds(self, source: str, batch: Batch, proposals: Proposals, clip_map: Tensor) -> Tensor:
        """CLIP's embedding of each proposal, (B, K, D), by Mask Pooling or one of Table 5's baselines."""
        from opsnet.recognition.proposal_crops import cropped_pictures, embed_pictures, masked_pictures

        model, encoder = self.trained.model, self.trained.model.clip.image_encoder
        if source == "pooling":
            size = (batch.images.shape[-2], batch.images.shape[-1])
            return model.embed(proposals, clip_map, size).clip
        if source == "masking":
            pictures = masked_pictures(batch.images, proposals.mask_logits, encoder.image_size, encoder.mean)
        else:
            pictures = cropped_pictures(batch.images, proposals.mask_logits, encoder.image_size)
        return embed_pictures(encoder.embed_whole, pictures, len(batch.images))


def class_groups(seen: Sequence[bool], nearest: Tensor) -> dict[str, list[bool]]:
    """Flags (M,): names that were trained, the others, and these by their cosine (M,) to the nearest training name."""
    groups = {"seen": list(seen), "unseen": [not known for known in seen]}
    edges = (*SIMILARITIES, math.inf)
    for low, high in zip((-math.inf, *SIMILARITIES), edges, strict=True):
        name = f"unseen_from_{low:g}_to_{high:g}".replace("_from_-inf", "").replace("_to_inf", "")
        groups[name] = [not known and low <= h < high for known, h in zip(seen, nearest.tolist(), strict=True)]
    return groups


Row = tuple[Tensor, Tensor, Tensor]
"""Scores, labels and which proposals to keep."""
Scored = tuple[PanopticMap | None, PanopticCounts, SemanticCounts]
"""A map, and its counts against the truth: of segments, and of pixels."""


class _ScoredImage:
    """One image's proposals at full size, upsampled once for all settings, and what was made of them so far.

    Args:
        mask_logits, iou: (K, h, w) and (K,).
        padded, valid: (height, width) in pixels of the batch and of the image in it.
        regions: of the truth.
        rows: (K,) each, of every setting that will be asked for: masks that none keeps are not upsampled.
        is_thing: of each label.
        overlap: of the merge.
    """

    def __init__(
        self, mask_logits: Tensor, iou: Tensor, padded: tuple[int, int], valid: tuple[int, int],
        regions: TruthRegions, rows: Collection[Row], *, is_thing: Sequence[bool], overlap: float,
    ) -> None:  # fmt: skip
        keep = torch.stack([keep for _, _, keep in rows])
        limits = torch.stack([scores for scores, _, _ in rows]).where(keep, 0).amax(0)
        self.used, self.regions = keep.any(0).nonzero()[:, 0], regions
        groups = (upsample_masks(mask_logits[k], padded, valid) for k in in_groups(self.used, valid))
        self.merge = SparseMerge(
            groups, limits[self.used], regions.index, len(regions), is_thing, iou=iou[self.used], overlap=overlap
        )
        self._known: dict[bytes, Scored] = {}

    def score(self, row: Row, *, with_map: bool) -> Scored:
        """What a row makes; the map only if it is asked for.

        Settings that agree on an image, as all strengths of the modulation do in the training domain, share both.
        """
        scores, labels, keep = (values[self.used] for values in row)
        kept = keep.nonzero()[:, 0]
        key = torch.stack((kept.double(), labels[kept].double(), scores[kept].double())).cpu().numpy().tobytes()
        if key not in self._known or (with_map and self._known[key][0] is None):
            merged = self.merge.merge(scores, labels, keep, with_map=with_map)
            overlaps = self.regions.overlaps(merged.segments, merged.overlaps)
            counts = count_segments(overlaps.pixels, overlaps.truth, overlaps.prediction, overlaps.num_classes)
            self._known[key] = merged.map, counts, count_semantic(overlaps)
        return self._known[key]
