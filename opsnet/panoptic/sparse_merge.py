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

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.panoptic.merge import name_segments
from opsnet.structures import PanopticMap, Segment

CANDIDATES = 6
HEIGHT, WIDTH = 8, 4  # pixels of a cell
_NOBODY = torch.iinfo(torch.int16).max
_AT_ONCE = 2**15  # cells of all the sets of scores that are merged together
Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Merged:
    """What one set of scores makes of the masks.

    Attributes:
        segments: S of them, as in the dense merge's map.
        overlaps: (R, 1 + S) int64 on the CPU: pixels that each region shares with void (column 0) and each segment.
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
        self._masks, areas, low, high = self._read(groups, limits)
        self._areas_of, self._ious = areas.cpu().numpy(), self.iou.double().cpu().numpy()
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
        return self.merge_all(scores[None], labels[None], keep[None], with_map=[with_map])[0]

    def merge_all(self, scores: Tensor, labels: Tensor, keep: Tensor, *, with_map: Sequence[bool]) -> list[Merged]:
        """Merges with many sets of scores, a few at a time: operations on small tensors cost more than their numbers.

        Args:
            scores, labels, keep: (S, K).
            with_map: of each set, whether to paint the map.
        """
        filled = keep.any(1).nonzero()[:, 0].tolist()
        found: dict[int, Merged] = {}
        at_once = max(1, _AT_ONCE // self._region.numel())
        for first in range(0, len(filled), at_once):
            some = filled[first : first + at_once]
            merged = self._merge(scores[some], labels[some], keep[some], [with_map[i] for i in some])
            found.update(zip(some, merged))
        return [found[i] if i in found else self._nothing() for i in range(len(scores))]

    def _merge(self, scores: Tensor, labels: Tensor, keep: Tensor, with_map: Sequence[bool]) -> list[Merged]:
        """The same for sets (S, K) that keep something."""
        sets, count = scores.shape
        cell_codes, owner, open_cells, codes = self._contest(scores, keep)
        bins, regions = 2 * count, self.count + 1
        closed = cell_codes >= 0
        first = torch.arange(sets, device=scores.device)[:, None] * regions  # of each set's regions
        tall = torch.bincount(((first + self._region) * bins + cell_codes)[closed], minlength=sets * regions * bins)
        places = (first[owner] + self._regions[open_cells]) * bins + codes
        fine = torch.bincount(places.flatten(), minlength=sets * regions * bins)
        # (S, R, K, outside or inside)
        shares = (tall * (HEIGHT * WIDTH) + fine).view(sets, regions, count, 2)[:, :-1].cpu().numpy()
        won = shares.sum(1)
        columns = [column.double().cpu().numpy() for column in (scores, labels)]
        rows = np.stack([
            np.broadcast_to(self._areas_of, won.shape[:2]), won.sum(-1), won[..., 1], *columns,
            np.broadcast_to(self._ious, won.shape[:2]),
        ], axis=-1)  # fmt: skip
        kept, answers = keep.cpu().numpy(), []
        for i, painted in enumerate(with_map):
            which = kept[i].nonzero()[0]
            id_of, segments = name_segments(rows[i, which].tolist(), self.is_thing, self.overlap)
            overlaps = _by_segment(shares[i], which, id_of, len(segments))
            image = None
            if painted:
                by_code = np.zeros(bins, np.int64)
                by_code[2 * which + 1] = id_of
                mine = owner == i
                image = self._paint(by_code, cell_codes[i], open_cells[mine], codes[mine], segments)
            answers.append(Merged(segments, torch.from_numpy(overlaps), image))
        return answers

    def _nothing(self) -> Merged:
        totals = torch.bincount(self._regions.flatten(), minlength=self.count + 1)[: self.count, None]
        ids = torch.zeros(self.size, dtype=torch.int64, device=totals.device)
        return Merged((), totals.cpu(), PanopticMap(ids, ()))

    def _contest(self, scores: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Who wins, as twice the number, and one more inside its mask.

        Returns:
            Of each set and cell with one code (S, n), -1 for the others; of these, which set and which cell they are
            (m,) and (m,); the codes of their pixels (m, P).
        """
        weight = scores[:, self._index]
        bias = torch.zeros_like(scores).masked_fill_(~keep, -torch.inf)[:, self._index]
        high = torch.addcmul(bias, self._high, weight)
        least = torch.addcmul(bias, self._low, weight).amax(1)
        rivals = high >= least[:, None]  # the owner itself among them
        decided = (rivals.sum(1) == 1) & (self._rest < least) & (self._region >= 0)
        cell_codes = torch.where(decided, torch.where(rivals, self._code, -1).amax(1), -1)
        owner, rows = (cell_codes < 0).nonzero(as_tuple=True)
        values = torch.addcmul(bias[owner, :, rows, None], self._values[rows], weight[owner, :, rows, None])
        best = values.amax(1, keepdim=True)
        codes = torch.where(values == best, self._codes[rows], _NOBODY).amin(1)
        open_pixels = ~(best[:, 0] > self._rest[rows, None]) & (self._regions[rows] < self.count)
        row, place = open_pixels.nonzero(as_tuple=True)
        codes[row, place] = self._dense(owner[row], rows[row], place, scores, keep)
        codes.clamp_(max=2 * scores.shape[1] - 1)  # what fills up a cell may have no winner
        return cell_codes.long(), owner, rows, codes

    def _dense(self, owner: Tensor, cell: Tensor, place: Tensor, scores: Tensor, keep: Tensor) -> Tensor:
        """The codes of some pixels, each given by its set, its cell and its place in it, by all that the set keeps."""
        y = cell // self.cells[1] * HEIGHT + place // WIDTH
        x = cell % self.cells[1] * WIDTH + place % WIDTH
        kept = _kept(keep)
        proposals = kept[owner]  # (pixels, most that a set keeps)
        masks = self._masks.flatten(1)[proposals, (y * self.cells[1] * WIDTH + x)[:, None]]
        values = scores.gather(1, kept)[owner] * masks
        best = values.amax(1, keepdim=True)
        order = torch.arange(kept.shape[1], device=kept.device)
        first = torch.where(values == best, order, kept.shape[1]).amin(1, keepdim=True)
        nobody = first == kept.shape[1]  # nothing equals a nan: the first one wins, outside its mask
        first.masked_fill_(nobody, 0)
        inside = (masks.gather(1, first) >= 0.5) & ~nobody
        return (2 * proposals.gather(1, first) + inside).short()[:, 0]

    def _paint(
        self, by_code: Array, cell_codes: Tensor, open_cells: Tensor, codes: Tensor, segments: tuple[Segment, ...]
    ) -> PanopticMap:
        """The map: the id of each pixel's code."""
        ids_of = torch.from_numpy(by_code).to(codes.device)
        ids = ids_of[cell_codes.clamp(min=0)][:, None].repeat(1, HEIGHT * WIDTH)
        ids[open_cells] = ids_of[codes.long()]
        (height, width), (h, w) = self.size, self.cells
        plane = ids.view(h, w, HEIGHT, WIDTH).transpose(1, 2).reshape(h * HEIGHT, w * WIDTH)
        return PanopticMap(plane[:height, :width].contiguous(), segments)


def _kept(keep: Tensor) -> Tensor:
    """The numbers of those that each set keeps, (S, most); filled up with its first, which wins where it equals."""
    counts = keep.sum(1)
    most = int(counts.max())
    order = torch.where(keep, 0, 1).argsort(dim=1, stable=True)[:, :most]
    beyond = torch.arange(most, device=keep.device) >= counts[:, None]
    return torch.where(beyond, order[:, :1], order)


def _by_segment(shares: Array, which: Array, id_of: Sequence[int], count: int) -> Array:
    """Pixels (R, K, 2) won by each proposal -> (R, 1 + S) of void and of each segment."""
    overlaps: Array = np.zeros((len(shares), 1 + count), np.int64)
    np.add.at(overlaps.T, id_of, shares[:, which, 1].T)
    overlaps[:, 0] = shares.sum((1, 2)) - overlaps[:, 1:].sum(1)
    return overlaps
