"""Merging the same masks with many scores: exactly :mod:`opsnet.panoptic.merge`'s answer, at a part of the work.

A picture is cut into cells of 8 x 4 pixels, and of every mask the least and the largest probability in each cell is
kept. Scores are 0 or more and rounding keeps order, so the product of a score and a bound bounds all products in the
cell, rounded too. For one set of scores, a proposal is a rival in a cell where its largest product reaches the largest
of all least products; none but a rival can win a pixel there.

* A cell with one rival is its, without a look at the pixels.
* In the others, and where truth regions or the border of the winner's mask run through the cell, the rivals compete
  pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.panoptic.mask_filtering import Filtered
from opsnet.panoptic.merge import name_segments
from opsnet.structures import PanopticMap, Segment

HEIGHT, WIDTH = 8, 4  # pixels of a cell
_NOBODY = torch.iinfo(torch.int16).max
_AT_ONCE = 2**18  # bounds of all the sets of scores that are merged together: more would leave the cache of a CPU
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
        regions: (H, W) int64 in 0..R-1; ``Merged.overlaps`` tells the pixels of these apart.
        count: R.
        is_thing: of each label.
        iou: (K,) predicted IoU, carried into the segments.
        overlap: as in :func:`opsnet.panoptic.merge.merge_panoptic`.
    """

    def __init__(
        self, groups: Iterable[Tensor], regions: Tensor, count: int, is_thing: Sequence[bool], *, iou: Tensor,
        overlap: float = 0.8,
    ) -> None:  # fmt: skip
        self.is_thing, self.overlap, self.count = is_thing, overlap, count
        self.size = (regions.shape[0], regions.shape[1])
        self.cells = (-(-self.size[0] // HEIGHT), -(-self.size[1] // WIDTH))
        # A region beyond the last holds the pixels that fill up the cells at the border.
        self._regions = self._in_cells(regions[None], fill=count)[0]
        low, high = self._regions.aminmax(dim=1)
        self._region = torch.where(low == high, low, -1)  # of a cell that lies in one region
        if len(iou):
            self._read(groups, iou)

    def _read(self, groups: Iterable[Tensor], iou: Tensor) -> None:
        """Reads the masks: as cells (K, n, pixels of a cell), their bounds (K, n), and each mask's area."""
        masks: Tensor | None = None
        first = 0
        for group in groups:
            if masks is None:
                # As the dense merge's products: masks of bf16 are multiplied with the scores in fp32.
                kind = torch.promote_types(group.dtype, iou.dtype)
                masks = torch.empty(len(iou), *self._regions.shape, dtype=kind, device=group.device)
                bounds = masks.new_empty(2, *masks.shape[:2])
            rows = slice(first, first + len(group))
            masks[rows] = self._in_cells(group)
            # Not aminmax, which takes five times as long over so few numbers.
            bounds[0, rows], bounds[1, rows] = masks[rows].amin(-1), masks[rows].amax(-1)
            first += len(group)
        assert masks is not None
        self._masks, (self._low, self._high) = masks, bounds
        inside, border = self._low >= 0.5, (self._low < 0.5) & (self._high >= 0.5)
        # Twice the number, and one more inside the mask, of cells that lie inside or outside it as a whole.
        twice = 2 * torch.arange(len(iou), device=masks.device, dtype=torch.int16)[:, None]
        self._code = torch.where(inside, twice + 1, torch.where(self._high < 0.5, twice, -1))
        areas = inside.sum(1) * (HEIGHT * WIDTH)
        areas.index_add_(0, border.nonzero()[:, 0], (masks[border] >= 0.5).sum(1))
        self._areas, self._ious = areas.cpu().numpy(), iou.double().cpu().numpy()

    def _in_cells(self, planes: Tensor, fill: int = 0) -> Tensor:
        """Planes (K, H, W) -> (K, n, pixels of a cell)."""
        (height, width), (h, w) = self.size, self.cells
        beyond = (0, w * WIDTH - width, 0, h * HEIGHT - height)
        if any(beyond):
            planes = F.pad(planes, beyond, value=fill)
        return planes.view(-1, h, HEIGHT, w, WIDTH).transpose(2, 3).reshape(len(planes), h * w, HEIGHT * WIDTH)

    def merge(self, filtered: Filtered, *, with_map: bool = False) -> Merged:
        """As :func:`opsnet.panoptic.merge.merge_panoptic`.

        Args:
            filtered: (K,) of each, from Mask Filtering.
            with_map: paint the map too.
        """
        return self.merge_all(Filtered(*(values[None] for values in filtered)), with_map=[with_map])[0]

    def merge_all(
        self, filtered: Filtered, *, with_map: Sequence[bool], overlaps: Sequence[float] | None = None
    ) -> list[Merged]:
        """Merges with many sets of scores, a few at a time: operations on small tensors cost more than their numbers.

        Args:
            filtered: (S, K) of each.
            with_map: of each set, whether to paint the map.
            overlaps: of each set, in the place of ``overlap``.
        """
        rules = overlaps or [self.overlap] * len(with_map)
        counts = filtered.keep.sum(1).tolist()
        filled = [i for i, count in enumerate(counts) if count]
        at_once = max(1, _AT_ONCE // max(1, max(counts, default=0) * len(self._region)))
        found: dict[int, Merged] = {}
        for first in range(0, len(filled), at_once):
            some = filled[first : first + at_once]
            own = Filtered(*(values[some] for values in filtered))
            merged = self._merge(own, [with_map[i] for i in some], [rules[i] for i in some])
            found.update(zip(some, merged))
        return [found[i] if i in found else self._nothing() for i in range(len(counts))]

    def _merge(self, filtered: Filtered, with_map: Sequence[bool], overlaps: Sequence[float]) -> list[Merged]:
        """The same for sets (S, K) that keep something."""
        scores, labels, keep, merge_scores = filtered
        cell_codes, owner, open_cells, codes = self._contest(merge_scores, keep)
        shares = self._shares(cell_codes, owner, open_cells, codes, scores.shape[1])
        won, kept = shares.sum(1), keep.cpu().numpy()
        areas, ious = (np.broadcast_to(column, won.shape[:2]) for column in (self._areas, self._ious))
        named = (column.double().cpu().numpy() for column in (scores, labels))
        rows = np.stack((areas, won.sum(-1), won[..., 1], *named, ious), axis=-1)
        answers = []
        for i, (painted, overlap) in enumerate(zip(with_map, overlaps, strict=True)):
            which = kept[i].nonzero()[0]
            id_of, segments = name_segments(rows[i, which].tolist(), self.is_thing, overlap)
            shared = _by_segment(shares[i], which, id_of, len(segments))
            image = None
            if painted:
                by_code = torch.zeros(2 * scores.shape[1], dtype=torch.int64)
                by_code[2 * torch.from_numpy(which) + 1] = torch.tensor(id_of)
                mine = owner == i
                image = self._paint(by_code.to(codes.device), cell_codes[i], open_cells[mine], codes[mine], segments)
            answers.append(Merged(segments, torch.from_numpy(shared), image))
        return answers

    def _shares(self, cell_codes: Tensor, owner: Tensor, open_cells: Tensor, codes: Tensor, count: int) -> Array:
        """What of each set and region each of ``count`` proposals wins, outside and inside its mask, (S, R, K, 2)."""
        sets, regions, bins = len(cell_codes), self.count + 1, 2 * count
        first = torch.arange(sets, device=codes.device)[:, None] * regions  # of each set's regions
        closed, size = cell_codes >= 0, sets * regions * bins
        whole = torch.bincount(((first + self._region) * bins + cell_codes)[closed], minlength=size)
        pixels = (first[owner] + self._regions[open_cells]) * bins + codes
        shares = whole * (HEIGHT * WIDTH) + torch.bincount(pixels.flatten(), minlength=size)
        found: Array = shares.view(sets, regions, count, 2)[:, :-1].cpu().numpy()
        return found

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
        kept, counts = _kept(keep)
        own = scores.gather(1, kept)
        beyond = torch.arange(kept.shape[1], device=kept.device) >= counts[:, None]
        bias = torch.zeros_like(own).masked_fill_(beyond, -torch.inf)[..., None]
        low, high = (torch.addcmul(bias, bound[kept], own[..., None]) for bound in (self._low, self._high))
        rivals = high >= low.amax(1, keepdim=True)  # (S, J, n), who owns the largest least product among them
        several = rivals.sum(1)
        codes = torch.where(rivals, self._code[kept], -1).amax(1)
        cell_codes = torch.where((several == 1) & (self._region >= 0), codes, -1)
        owner, cells = (cell_codes < 0).nonzero(as_tuple=True)
        competing = rivals.transpose(1, 2)[owner, cells]
        competing |= (several[owner, cells] == 0)[:, None] & ~beyond[owner]  # nothing reaches a nan: all compete
        return cell_codes.long(), owner, cells, self._compete(own, kept, owner, cells, competing)

    def _compete(self, own: Tensor, kept: Tensor, owner: Tensor, cells: Tensor, competing: Tensor) -> Tensor:
        """The codes (m, P) of the pixels of some cells.

        Args:
            own, kept: (S, J), scores and numbers of what each set keeps.
            owner, cells: (m,), of which set and which cell.
            competing: (m, J) bool, one or more in each row.
        """
        counts = competing.sum(1)
        places = competing.nonzero()[:, 1]
        first = counts.cumsum(0) - counts
        codes = torch.empty(len(cells), HEIGHT * WIDTH, dtype=torch.int16, device=cells.device)
        width = 1
        while width < 2 * kept.shape[1]:  # cells with about as many rivals together
            rows = ((counts <= width) & (counts > width // 2)).nonzero()[:, 0]
            # Rivals come first, for the reductions over them to run along the memory. Where a cell has fewer, its last
            # stands again: it changes nothing.
            step = torch.minimum(torch.arange(width, device=rows.device)[:, None], counts[rows] - 1)
            rival, sets = places[first[rows] + step], owner[rows]
            numbers = kept[sets, rival]
            # Selected by one index, and named by a product: two indices and a masked fill take several times as long.
            chosen = (numbers * len(self._region) + cells[rows]).flatten()
            masks = self._masks.flatten(0, 1).index_select(0, chosen).unflatten(0, numbers.shape)
            values = own[sets, rival][..., None] * masks
            named = (2 * numbers).short()[..., None] + (masks >= 0.5)
            beaten = (values != values.amax(0)).short() * _NOBODY
            codes[rows] = torch.maximum(named, beaten).amin(0)
            width *= 2
        # A pixel with a nan has no winner: the dense merge gives it to the first, outside its mask.
        return torch.where(codes == _NOBODY, 2 * kept[owner, :1].short(), codes)

    def _paint(
        self, ids_of: Tensor, cell_codes: Tensor, open_cells: Tensor, codes: Tensor, segments: tuple[Segment, ...]
    ) -> PanopticMap:
        """The map: the id of each pixel's code."""
        ids = ids_of[cell_codes.clamp(min=0)][:, None].repeat(1, HEIGHT * WIDTH)
        ids[open_cells] = ids_of[codes.long()]
        (height, width), (h, w) = self.size, self.cells
        plane = ids.view(h, w, HEIGHT, WIDTH).transpose(1, 2).reshape(h * HEIGHT, w * WIDTH)
        return PanopticMap(plane[:height, :width].contiguous(), segments)


def _kept(keep: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of those that each set keeps, (S, most), filled up with others; and how many they are, (S,)."""
    counts = keep.sum(1)
    order = torch.where(keep, 0, 1).argsort(dim=1, stable=True)
    return order[:, : int(counts.max())], counts


def _by_segment(shares: Array, which: Array, id_of: Sequence[int], count: int) -> Array:
    """Pixels (R, K, 2) won by each proposal -> (R, 1 + S) of void and of each segment."""
    overlaps: Array = np.zeros((len(shares), 1 + count), np.int64)
    np.add.at(overlaps.T, id_of, shares[:, which, 1].T)
    overlaps[:, 0] = shares.sum((1, 2)) - overlaps[:, 1:].sum(1)
    return overlaps
