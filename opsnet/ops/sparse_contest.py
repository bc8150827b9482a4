"""Contests between the same masks with many sets of scores: the winners of :mod:`opsnet.ops.contest` at lower cost.

An image is divided into cells of 8 x 4 pixels, and the minimum and maximum probability of every mask in each cell are
stored. Scores are not negative and rounding is monotonic, so the product of a score and a bound also bounds the rounded
products in the cell. For one set of scores, a mask is a rival in a cell if its largest product reaches the largest of
all minimum products; only rivals can win a pixel there.

* A cell with a single rival belongs to it; its pixels need not be examined.
* In other cells, and in cells that contain several regions or the border of the winner's mask, the rivals compete pixel
  by pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.ops.contest import contest_reference

HEIGHT, WIDTH = 8, 4  # pixels of a cell
_NOBODY = torch.iinfo(torch.int16).max
_AT_ONCE = 2**18  # bounds of all the sets of scores processed together: more would not fit into a CPU's cache
Array = npt.NDArray[np.int64]


def shares_reference(
    masks: Tensor, regions: Tensor, count: int, scores: Tensor, keep: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Shares and winners of one set of scores, pixel by pixel.

    Args:
        masks: probabilities (K, H, W) in 0..1.
        regions: (H, W) int64 in 0..R-1.
        count: R.
        scores, keep: (K,), not negative; at least one mask is kept.

    Returns:
        Pixels of each region that each mask wins outside and inside the mask, (R, K, 2) int64; the winner's index
        (H, W); and whether the pixel is inside the winner's mask (H, W).
    """
    kept = keep.nonzero()[:, 0]
    winner, inside, _ = contest_reference(masks[kept], scores[kept])
    shares = torch.zeros(count, len(masks), 2, dtype=torch.int64)
    shares.index_put_((regions, kept[winner], inside.long()), torch.tensor(1), accumulate=True)
    return shares, kept[winner], inside


class SparseContest:
    """Masks of one image, prepared for many contests.

    Args:
        groups: probabilities (n, H, W) in 0..1 in consecutive groups, K masks in total.
        regions: (H, W) int64 in 0..R-1.
        count: R.
        masks: K.
        dtype: type of the scores. Masks in half precision are multiplied with them in this precision.
    """

    def __init__(
        self, groups: Iterable[Tensor], regions: Tensor, count: int, *, masks: int, dtype: torch.dtype
    ) -> None:  # fmt: skip
        self.count, self.masks = count, masks
        self.size = (regions.shape[0], regions.shape[1])
        self.cells = (-(-self.size[0] // HEIGHT), -(-self.size[1] // WIDTH))
        # An additional region holds the padding of the cells at the border.
        self._regions = self._in_cells(regions[None], fill=count)[0]
        low, high = self._regions.aminmax(dim=1)
        self._region = torch.where(low == high, low, -1)  # of cells within a single region
        self.areas = torch.zeros(0, dtype=torch.int64)
        """Number of pixels of each mask, (K,)."""
        if masks:
            self._read(groups, dtype)

    def _read(self, groups: Iterable[Tensor], dtype: torch.dtype) -> None:
        """Stores the masks as cells (K, n, pixels per cell), with their bounds (K, n) and each mask's area."""
        masks: Tensor | None = None
        first = 0
        for group in groups:
            if masks is None:
                kind = torch.promote_types(group.dtype, dtype)
                masks = torch.empty(self.masks, *self._regions.shape, dtype=kind, device=group.device)
                bounds = masks.new_empty(2, *masks.shape[:2])
            rows = slice(first, first + len(group))
            masks[rows] = self._in_cells(group)
            # Not aminmax, which takes five times as long for so few values.
            bounds[0, rows], bounds[1, rows] = masks[rows].amin(-1), masks[rows].amax(-1)
            first += len(group)
        assert masks is not None
        self._masks, (self._low, self._high) = masks, bounds
        inside, border = self._low >= 0.5, (self._low < 0.5) & (self._high >= 0.5)
        # Twice the index, plus one inside the mask, for cells that lie entirely inside or outside of it.
        twice = 2 * torch.arange(self.masks, device=masks.device, dtype=torch.int16)[:, None]
        self._code = torch.where(inside, twice + 1, torch.where(self._high < 0.5, twice, -1))
        self.areas = inside.sum(1) * (HEIGHT * WIDTH)
        self.areas.index_add_(0, border.nonzero()[:, 0], (masks[border] >= 0.5).sum(1))

    def _in_cells(self, planes: Tensor, fill: int = 0) -> Tensor:
        """Planes (K, H, W) -> (K, n, pixels per cell)."""
        (height, width), (h, w) = self.size, self.cells
        beyond = (0, w * WIDTH - width, 0, h * HEIGHT - height)
        if any(beyond):
            planes = F.pad(planes, beyond, value=fill)
        return planes.view(-1, h, HEIGHT, w, WIDTH).transpose(2, 3).reshape(len(planes), h * w, HEIGHT * WIDTH)

    def run(self, scores: Tensor, keep: Tensor) -> Iterator[Winners]:
        """The winners of each set of scores; several sets at a time, to amortize the overhead of small operations.

        Args:
            scores, keep: (S, K); each set keeps at least one mask.
        """
        if len(keep) == 0:
            return
        at_once = max(1, _AT_ONCE // (int(keep.sum(1).max()) * len(self._region)))
        for own, kept in zip(scores.split(at_once), keep.split(at_once), strict=True):
            cell_codes, owner, cells, codes = self._winners(own, kept)
            shares = self._shares(cell_codes, owner, cells, codes)
            for i in range(len(own)):
                mine = owner == i
                yield Winners(shares[i], self.size, self.cells, cell_codes[i], cells[mine], codes[mine])

    def totals(self) -> Tensor:
        """Number of pixels of each region, (R,)."""
        return torch.bincount(self._regions.flatten(), minlength=self.count + 1)[: self.count]

    def _shares(self, cell_codes: Tensor, owner: Tensor, open_cells: Tensor, codes: Tensor) -> Array:
        """Pixels that each mask wins outside and inside the mask, per set and region, (S, R, K, 2)."""
        sets, regions, bins = len(cell_codes), self.count + 1, 2 * self.masks
        first = torch.arange(sets, device=codes.device)[:, None] * regions  # of each set's regions
        closed, size = cell_codes >= 0, sets * regions * bins
        whole = torch.bincount(((first + self._region) * bins + cell_codes)[closed], minlength=size)
        pixels = (first[owner] + self._regions[open_cells]) * bins + codes
        shares = whole * (HEIGHT * WIDTH) + torch.bincount(pixels.flatten(), minlength=size)
        found: Array = shares.view(sets, regions, self.masks, 2)[:, :-1].cpu().numpy()
        return found

    def _winners(self, scores: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The winners as codes: twice the index, plus one inside the winner's mask.

        Returns:
            The codes of cells with a single code, (S, n), -1 for the others; the set (m,) and cell (m,) of each of
            these others; and the codes of their pixels (m, P).
        """
        kept, counts = _kept(keep)
        own = scores.gather(1, kept)
        beyond = torch.arange(kept.shape[1], device=kept.device) >= counts[:, None]
        bias = torch.zeros_like(own).masked_fill_(beyond, -torch.inf)[..., None]
        low, high = (torch.addcmul(bias, bound[kept], own[..., None]) for bound in (self._low, self._high))
        rivals = high >= low.amax(1, keepdim=True)  # (S, J, n), including the mask with the largest minimum
        several = rivals.sum(1)
        codes = torch.where(rivals, self._code[kept], -1).amax(1)
        cell_codes = torch.where((several == 1) & (self._region >= 0), codes, -1)
        owner, cells = (cell_codes < 0).nonzero(as_tuple=True)
        competing = rivals.transpose(1, 2)[owner, cells]
        competing |= (several[owner, cells] == 0)[:, None] & ~beyond[owner]  # a nan compares false: all compete
        return cell_codes.long(), owner, cells, self._compete(own, kept, owner, cells, competing)

    def _compete(self, own: Tensor, kept: Tensor, owner: Tensor, cells: Tensor, competing: Tensor) -> Tensor:
        """The codes (m, P) of the pixels of some cells.

        Args:
            own, kept: (S, J), scores and indices of the masks each set keeps.
            owner, cells: (m,), the set and the cell of each.
            competing: (m, J) bool, at least one per row.
        """
        counts = competing.sum(1)
        places = competing.nonzero()[:, 1]
        first = counts.cumsum(0) - counts
        codes = torch.empty(len(cells), HEIGHT * WIDTH, dtype=torch.int16, device=cells.device)
        width = 1
        while width < 2 * kept.shape[1]:  # process cells with similar numbers of rivals together
            rows = ((counts <= width) & (counts > width // 2)).nonzero()[:, 0]
            # Rivals are the first dimension, so that reductions over them run along memory. In cells with fewer rivals
            # the last one is repeated, which does not change the result.
            step = torch.minimum(torch.arange(width, device=rows.device)[:, None], counts[rows] - 1)
            rival, sets = places[first[rows] + step], owner[rows]
            numbers = kept[sets, rival]
            # A single index and a product: two indices and a masked fill take several times as long.
            chosen = (numbers * len(self._region) + cells[rows]).flatten()
            masks = self._masks.flatten(0, 1).index_select(0, chosen).unflatten(0, numbers.shape)
            values = own[sets, rival][..., None] * masks
            named = (2 * numbers).short()[..., None] + (masks >= 0.5)
            beaten = (values != values.amax(0)).short() * _NOBODY
            codes[rows] = torch.maximum(named, beaten).amin(0)
            width *= 2
        # A pixel with a nan has no winner: it is assigned to the first mask, as lying outside of it.
        return torch.where(codes == _NOBODY, 2 * kept[owner, :1].short(), codes)


@dataclass(frozen=True)
class Winners:
    """The winners of one contest.

    Attributes:
        shares: (R, K, 2) int64, pixels of each region that each mask wins outside and inside the mask.
    """

    shares: Array
    _size: tuple[int, int]
    _cells: tuple[int, int]
    _cell_codes: Tensor  # (n,), of cells with a single code; -1 for the others
    _open_cells: Tensor  # (m,), indices of the others
    _codes: Tensor  # (m, P), codes of their pixels

    def paint(self, ids: Tensor) -> Tensor:
        """(H, W): the winner's entry of ``ids`` (K,) where the pixel is inside its mask, 0 elsewhere."""
        by_code = torch.stack((torch.zeros_like(ids), ids), dim=1).flatten().to(self._codes.device)
        cells = by_code[self._cell_codes.clamp(min=0)][:, None].repeat(1, HEIGHT * WIDTH)
        cells[self._open_cells] = by_code[self._codes.long()]
        (height, width), (h, w) = self._size, self._cells
        plane = cells.view(h, w, HEIGHT, WIDTH).transpose(1, 2).reshape(h * HEIGHT, w * WIDTH)
        return plane[:height, :width].contiguous()


def _kept(keep: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the masks each set keeps, (S, most), padded with others; and their number, (S,)."""
    counts = keep.sum(1)
    order = torch.where(keep, 0, 1).argsort(dim=1, stable=True)
    return order[:, : int(counts.max())], counts
