"""Merging the same masks with many scores: exactly :mod:`opsnet.panoptic.merge`'s answer, at a part of the work.

A picture is cut into cells of 8 x 4 pixels. Of each cell a few candidates are kept: the proposals with the largest
bound on score times probability in it, over all scores that will come. Scores are 0 or more and rounding keeps order,
so the product of two bounds bounds every product, rounded too. For one set of scores

* a candidate whose least value in a cell beats the largest of all others owns the cell;
* else the best candidate of a pixel owns it, where it beats the bound on those that are no candidates;
* else all proposals compete for the pixel, as in the dense merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.panoptic.merge import contest, name_segments
from opsnet.structures import PanopticMap, Segment

CANDIDATES = 6
HEIGHT, WIDTH = 8, 4  # pixels of a cell
_NOBODY = torch.iinfo(torch.int16).max


@dataclass(frozen=True)
class Merged:
    """What one set of scores makes of the masks.

    Attributes:
        segments: S of them, as in the dense merge's map.
        overlaps: (R, 1 + S) int64, the pixels that each region shares with void (column 0) and with each segment.
        map: the map itself, if it was asked for.
    """

    segments: tuple[Segment, ...]
    overlaps: Tensor
    map: PanopticMap | None


class SparseMerge:
    """Masks of one picture, prepared for many merges.

    Args:
        groups: probabilities (n, H, W) in 0..1, group after group, of K proposals in all.
        limits: (K,) the largest score of each proposal in any merge, 0 or more.
        regions: (H, W) int64 in 0..R-1; ``Merged.overlaps`` tells the pixels of these apart.
        count: R.
        is_thing: of each label.
        iou: (K,) predicted IoU, carried into the segments.
        overlap: as in :func:`opsnet.panoptic.merge.merge_panoptic`.
    """

    def __init__(
        self, groups: Iterable[Tensor], limits: Tensor, regions: Tensor, count: int, is_thing: Sequence[bool], *,
        iou: Tensor, overlap: float = 0.8,
    ) -> None:  # fmt: skip
        self.iou, self.is_thing, self.overlap, self.count = iou, is_thing, overlap, count
        self.size = (regions.shape[0], regions.shape[1])
        self.cells = (-(-self.size[0] // HEIGHT), -(-self.size[1] // WIDTH))
        # A region beyond the last holds the pixels that fill up the cells at the border.
        fill = (0, self.cells[1] * WIDTH - self.size[1], 0, self.cells[0] * HEIGHT - self.size[0])
        self._regions = self._in_cells(F.pad(regions, fill, value=count)[None])[:, 0]
        low, high = self._regions.aminmax(dim=1)
        self._region = torch.where(low == high, low, -1)  # of a cell that lies in one region
        if len(limits):
            self._prepare(groups, limits)

    def _prepare(self, groups: Iterable[Tensor], limits: Tensor) -> None:
        """Reads the masks: their areas, and of each cell the candidates (n, C) and what is known of them."""
        self._masks, self._areas, low, high = self._read(groups, limits)
        bounds = high * limits[:, None]
        chosen = min(CANDIDATES, len(limits))
        order = bounds.topk(min(CANDIDATES + 1, len(limits)), dim=0)
        self._rest = order.values[chosen] if len(order.values) > chosen else torch.full_like(bounds[0], -torch.inf)
        # In the order of the proposals, so that the first among equal candidates is the first among equal proposals.
        self._index = order.indices[:chosen].sort(dim=0).values  # (C, n)
        self._low, self._high = low.gather(0, self._index), high.gather(0, self._index)
        twice = 2 * self._index.short()
        mixed = torch.full_like(twice, -1)
        self._code = torch.where(self._low >= 0.5, twice + 1, torch.where(self._high < 0.5, twice, mixed))
        self._values = self._in_cells(self._masks, self._index.T)  # (n, C, pixels of a cell)
        self._codes = twice.T[..., None] + (self._values >= 0.5).short()

    def _read(self, groups: Iterable[Tensor], limits: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Masks (K, height, width) of whole cells, areas (K,), least and largest probability in each cell (K, n)."""
        (height, width), (h, w), count = self.size, self.cells, len(limits)
        masks: Tensor | None = None
        areas, lows, highs = [], [], []
        first = 0
        for group in groups:
            if masks is None:
                # As the dense merge's products: masks of bf16 are multiplied with the scores in fp32.
                kind = torch.promote_types(group.dtype, limits.dtype)
                masks = torch.zeros(count, h * HEIGHT, w * WIDTH, dtype=kind, device=group.device)
            rows = masks[first : first + len(group)]
            rows[:, :height, :width] = group
            by_column = rows.view(-1, h, HEIGHT, w * WIDTH)
            lows.append(by_column.amin(2).view(-1, h * w, WIDTH).amin(-1))
            highs.append(by_column.amax(2).view(-1, h * w, WIDTH).amax(-1))
            areas += [(mask >= 0.5).count_nonzero() for mask in rows]
            first += len(group)
        assert masks is not None
        return masks, torch.stack(areas), torch.cat(lows), torch.cat(highs)

    def _in_cells(self, planes: Tensor, index: Tensor | None = None) -> Tensor:
        """Planes (K, height, width) -> (n, K, pixels of a cell), or those of ``index`` (n, C) in each cell."""
        cells = planes.view(-1, self.cells[0], HEIGHT, self.cells[1], WIDTH).permute(1, 3, 0, 2, 4)
        if index is not None:
            cells = cells.gather(2, index.view(*self.cells, -1, 1, 1).expand(-1, -1, -1, HEIGHT, WIDTH))
        return cells.reshape(self.cells[0] * self.cells[1], -1, HEIGHT * WIDTH)

    def merge(self, scores: Tensor, labels: Tensor, keep: Tensor, *, with_map: bool = False) -> Merged:
        """As :func:`opsnet.panoptic.merge.merge_panoptic`.

        Args:
            scores, labels, keep: (K,), from Mask Filtering; no score above the limits.
            with_map: paint the map too.
        """
        kept = keep.nonzero().flatten()
        if len(kept) == 0:
            return self._nothing()
        cell_codes, open_cells, codes = self._contest(scores, keep, kept)
        bins = 2 * len(scores)
        closed = cell_codes >= 0
        tall = torch.bincount(self._region[closed] * bins + cell_codes[closed], minlength=(self.count + 1) * bins)
        fine = torch.bincount((self._regions[open_cells] * bins + codes).flatten(), minlength=(self.count + 1) * bins)
        shares = (tall * (HEIGHT * WIDTH) + fine).view(self.count + 1, -1, 2)[:-1]  # (R, K, outside or inside)
        id_of, segments = self._segments(shares.sum(0), scores, labels, kept)
        by_code = torch.zeros(bins, dtype=torch.int64, device=scores.device)
        by_code[2 * kept + 1] = torch.tensor(id_of, device=scores.device)
        overlaps = shares.new_zeros(self.count, 1 + len(segments)).index_add_(1, by_code, shares.flatten(1))
        painted = self._paint(by_code, cell_codes, open_cells, codes, segments) if with_map else None
        return Merged(segments, overlaps, painted)

    def _nothing(self) -> Merged:
        totals = torch.bincount(self._regions.flatten(), minlength=self.count + 1)[: self.count, None]
        ids = torch.zeros(self.size, dtype=torch.int64, device=totals.device)
        return Merged((), totals, PanopticMap(ids, ()))

    def _contest(self, scores: Tensor, keep: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Who wins, as twice the number, and one more inside its mask.

        Returns:
            Of each cell with one code (n,), -1 for the others; which these are (m,); the codes of their pixels (m, P).
        """
        weight = scores[self._index]
        bias = torch.zeros_like(scores).masked_fill_(~keep, -torch.inf)[self._index]
        low, high = self._low * weight + bias, self._high * weight + bias
        least = low.amax(0)
        rivals = high >= least  # the owner itself among them
        decided = (rivals.sum(0) == 1) & (self._rest < least) & (self._region >= 0)
        cell_codes = torch.where(decided, torch.where(rivals, self._code, -1).amax(0), -1)
        rows = (cell_codes < 0).nonzero().flatten()
        values = torch.addcmul(bias.T[rows, :, None], self._values[rows], weight.T[rows, :, None])
        best = values.amax(1, keepdim=True)
        codes = torch.where(values == best, self._codes[rows], _NOBODY).amin(1)
        open_pixels = ~(best[:, 0] > self._rest[rows, None]) & (self._regions[rows] < self.count)
        row, place = open_pixels.nonzero(as_tuple=True)
        codes[row, place] = self._dense(rows[row], place, scores, kept)
        codes.clamp_(max=2 * len(scores) - 1)  # what fills up a cell may have no winner
        return cell_codes.long(), rows, codes

    def _dense(self, cell: Tensor, place: Tensor, scores: Tensor, kept: Tensor) -> Tensor:
        """The codes of some pixels, each given by its cell and its place in it, by all proposals."""
        y = cell // self.cells[1] * HEIGHT + place // WIDTH
        x = cell % self.cells[1] * WIDTH + place % WIDTH
        columns = self._masks.flatten(1).index_select(1, y * self.cells[1] * WIDTH + x)[kept]
        winner, inside, _ = contest([columns[:, None]], scores[kept], (1, len(cell)))
        return (2 * kept[winner[0]] + inside[0]).short()

    def _segments(
        self, shares: Tensor, scores: Tensor, labels: Tensor, kept: Tensor
    ) -> tuple[list[int], tuple[Segment, ...]]:
        """Pixels won outside and inside the own mask, (K, 2) -> the id of each kept proposal, and the segments."""
        columns = (self._areas, shares.sum(1), shares[:, 1], scores, labels, self.iou)
        rows = torch.stack([column[kept].double() for column in columns], dim=1).tolist()
        return name_segments(rows, self.is_thing, self.overlap)

    def _paint(
        self, by_code: Tensor, cell_codes: Tensor, open_cells: Tensor, codes: Tensor, segments: tuple[Segment, ...]
    ) -> PanopticMap:
        """The map: the id of each pixel's code."""
        ids = by_code[cell_codes.clamp(min=0)][:, None].repeat(1, HEIGHT * WIDTH)
        ids[open_cells] = by_code[codes.long()]
        (height, width), (h, w) = self.size, self.cells
        plane = ids.view(h, w, HEIGHT, WIDTH).transpose(1, 2).reshape(h * HEIGHT, w * WIDTH)
        return PanopticMap(plane[:height, :width].contiguous(), segments)
