"""Scores any number of inference settings on the outputs of one forward pass."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from opsnet.evaluation.details import Details, ImageEvaluation
from opsnet.evaluation.scored_image import ImageMasks, score_image
from opsnet.inference.names import DomainNames
from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.settings import Setting
from opsnet.metrics.merging import Mergeable, PanopticTotals
from opsnet.metrics.panoptic_averages import PanopticScores, summarise
from opsnet.metrics.semantic import SemanticCounts, summarise_semantic
from opsnet.panoptic.mask_filtering import Filtered
from opsnet.structures import GroundTruth, PanopticMap

SIMILARITIES = (0.7, 0.8, 0.9)
"""Cosine similarities to the nearest training name by which classes are grouped; each group has its own PQ."""


class SettingScorer:
    """Accumulates the scores of every setting for one domain.

    Args:
        domain: the domain's names.
        settings: inference settings with distinct names.
        details: accumulators of details beyond PQ and mIoU, by setting name.

    Attributes:
        counts, pixels: counts of segments for PQ and of pixels for mIoU over all batches so far, by setting name.
        parts: the state of everything that is accumulated, by name.
    """

    def __init__(
        self, domain: DomainNames, settings: Sequence[Setting], details: Mapping[str, Details] | None = None
    ) -> None:
        self.domain, self.settings, self.details = domain, tuple(settings), dict(details or {})
        self.groups = class_groups(domain.seen, domain.names.nearest)
        self.is_thing: list[bool] = domain.target.is_thing.tolist()
        for setting in settings:
            setting.recognizer.eval().to(domain.no_object_embed.device)
        self.overlaps = [domain.overlap if s.overlap is None else s.overlap for s in settings]
        self.counts = {s.name: PanopticTotals(len(self.is_thing)) for s in settings}
        self.pixels = {s.name: SemanticCounts.zeros(len(self.is_thing)) for s in settings}
        self.parts: dict[str, Mergeable] = {}
        for name in self.counts:
            of_details: dict[str, Mergeable] = self.details[name].parts if name in self.details else {}
            own: dict[str, Mergeable] = {"segments": self.counts[name], "map": self.pixels[name], **of_details}
            self.parts.update({f"{name}:{key}": part for key, part in own.items()})

    @torch.no_grad()
    def score(
        self, output: NetworkOutput, truths: Sequence[GroundTruth], *, with_maps: Collection[str] | None = None,
        first: int = 0, given: Sequence[NetworkOutput] = (),
    ) -> dict[str, list[PanopticMap]]:  # fmt: skip
        """Scores a batch.

        Args:
            output: of the network, for B images.
            truths: their ground truth.
            with_maps: names of the settings whose maps are returned; ``None``: all.
            first: position of the batch's first image in its dataset.
            given: the network's outputs for the ground truth's masks, of one image each; empty if not computed.

        Returns:
            The B maps of each of these settings.
        """
        logits = self._logits(output)
        given_logits = self._given_logits(given) if given else {}
        rows = [s.filtering(*logits[s.recognition], output.proposals.iou) for s in self.settings]
        stacked = Filtered(*(torch.stack(values) for values in zip(*rows, strict=True)))  # (S, B, K) each
        draw = [with_maps is None or s.name in with_maps for s in self.settings]
        maps: dict[str, list[PanopticMap]] = {s.name: [] for s, drawn in zip(self.settings, draw) if drawn}
        detailed = {name for name, of_setting in self.details.items() if of_setting.options.need_map}
        needed = [drawn or s.name in detailed for s, drawn in zip(self.settings, draw)]
        for i, truth in enumerate(truths):
            masks = ImageMasks.of(output, i)
            of_image = Filtered(*(values[:, i] for values in stacked))
            results = score_image(
                masks, truth, of_image, with_map=needed, is_thing=self.is_thing, overlaps=self.overlaps
            )
            for k, (setting, scored) in enumerate(zip(self.settings, results)):
                self.counts[setting.name].add(scored.segments)
                self.pixels[setting.name].add(scored.pixels)
                if scored.map is not None and draw[k]:
                    maps[setting.name].append(scored.map)
                if setting.name in self.details:
                    names, no_object = logits[setting.recognition]
                    row = Filtered(*(values[k] for values in of_image))
                    image = ImageEvaluation(
                        masks, row, names[i], no_object[i], scored.overlaps, truth, first + i, map=scored.map,
                        given_logits=given_logits[setting.recognition][i] if given else None,
                    )  # fmt: skip
                    self.details[setting.name].add(image)
        return maps

    def _logits(self, output: NetworkOutput) -> dict[str, tuple[Tensor, Tensor]]:
        """Logits of the names (B, K, M) and of no-object (B, K), by recognition."""
        logits: dict[str, tuple[Tensor, Tensor]] = {}
        for setting in self.settings:
            if setting.recognition in logits:
                continue
            logits[setting.recognition] = setting.recognizer(
                output.embeddings(setting.clip_embeds), self.domain.names, self.domain.no_object_embed
            )
        return logits

    def _given_logits(self, given: Sequence[NetworkOutput]) -> dict[str, list[Tensor]]:
        """Logits (G, M) of the given masks of each image, by recognition of the detailed settings."""
        recognizers = {s.recognition: s.recognizer for s in self.settings if s.name in self.details}
        return {
            name: [recognizer(one.embeddings(), self.domain.names, self.domain.no_object_embed)[0][0] for one in given]
            for name, recognizer in recognizers.items()
        }

    def panoptic(self, name: str) -> PanopticScores:
        """PQ and its parts of a setting, averaged and per class."""
        return summarise(self.counts[name].counts(), self.is_thing)

    def results(self) -> dict[str, dict[str, float]]:
        """By setting, in percent: PQ and its parts, PQ of each class group, semantic metrics such as mIoU, details."""
        return {s.name: self._metrics(s.name) for s in self.settings}

    def _metrics(self, name: str) -> dict[str, float]:
        result = self.panoptic(name)
        groups = {group: result.of(chosen) for group, chosen in self.groups.items()}
        by_group = {f"PQ_{group}": quality.pq for group, quality in groups.items() if quality.n}
        more = self.details[name].metrics() if name in self.details else {}
        return {**result.as_dict(), **by_group, **summarise_semantic(self.pixels[name]).as_dict(), **more}


def class_groups(seen: Sequence[bool], nearest: Tensor) -> dict[str, list[bool]]:
    """Flags (M,) of class groups: seen in training, unseen, and unseen by cosine (M,) to the nearest training name."""
    groups = {"seen": list(seen), "unseen": [not known for known in seen]}
    edges = (*SIMILARITIES, math.inf)
    for low, high in zip((-math.inf, *SIMILARITIES), edges, strict=True):
        name = f"unseen_from_{low:g}_to_{high:g}".replace("_from_-inf", "").replace("_to_inf", "")
        groups[name] = [not known and low <= h < high for known, h in zip(seen, nearest.tolist(), strict=True)]
    return groups
