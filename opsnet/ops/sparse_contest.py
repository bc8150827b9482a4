"""The same masks in contests of many sets of scores: the winners of :mod:`opsnet.ops.contest` at a part of the work.

An image is cut into cells of 8 x 4 pixels, and of every mask the least and the largest probability in each cell is
stored. Scores are 0 or more and rounding keeps order, so the product of a score and a bound bounds all products in the
cell, rounded too. For one set of scores, a mask is a rival in a cell where its largest product reaches the largest of
all least products; none but a rival can win a pixel there.

* A cell with one rival is its, without a look at the pixels.
* In the others, and where several regions or the border of the winner's mask run through the cell, the rivals compete
  pixel by pixel.
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
_AT_ONCE = 2**18  # bounds of all the sets of scores that compete together: more would leave the cache of a CPU
Array = npt.NDArray[np.int64]


def shares_reference(
    masks: Tensor, regions: Tensor, count: int, scores: Tensor, keep: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Shares and winners of one set of scores, pixel by pixel.

    Args:
        masks: probabilities (K, H, W) in 0..1.
        regions: (H, W) int64 in 0..R-1.
        count: R.
        scores, keep: (K,), not negative; one or more are kept.

    Returns:
        Pixels of each region that each mask wins outside and inside it, (R, K, 2) int64; the winner's number (H, W);
        and whether the pixel is inside the winner's mask (H, W).
    """
    kept = keep.nonzero()[:, 0]
    winner, inside, _ = contest_reference(masks[kept], scores[kept])
    shares = torch.zeros(count, len(masks), 2, dtype=torch.int64)
    shares.index_put_((regions, kept[winner], inside.long()), torch.tensor(1), accumulate=True)
    return shares, kept[winner], inside


class SparseContest:
    """Masks of one image, prepared for many contests.

    Args:
        groups: probabilities (n, H, W) in 0..1, group after group, of K masks in all.
        regions: (H, W) int64 in 0..R-1.
        count: R.
        masks: K.
        dtype: of the scores. Masks of half precision are multiplied with them in this precision.
    """

    def __init__(
        self, groups: Iterable[Tensor], regions: Tensor, count: int, *, masks: int, dtype: torch.dtype
    ) -> None:  # fmt: skip
        self.count, self.masks = count, masks
        self.size = (regions.shape[0], regions.shape[1])
        self.cells = (-(-self.size[0] // HEIGHT), -(-self.size[1] // WIDTH))
        # A region beyond the last holds the pixels that fill up the cells at the border.
        self._regions = self._in_cells(regions[None], fill=count)[0]
        low, high = self._regions.aminmax(dim=1)
        self._region = torch.where(low == high, low, -1)  # of a cell that lies in one region
        self.areas = torch.zeros(0, dtype=torch.int64)
        """Pixels of each mask, (K,)."""
        if masks:
            self._read(groups, dtype)

    def _read(self, groups: Iterable[Tensor], dtype: torch.dtype) -> None:
        """Reads the masks: as cells (K, n, pixels of a cell), their bounds (K, n), and each mask's area."""
        masks: Tensor | None = None
        first = 0
        for group in groups:
            if masks is None:
                kind = torch.promote_types(group.dtype, dtype)
                masks = torch.empty(self.masks, *self._regions.shape, dtype=kind, device=group.device)
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
        twice = 2 * torch.arange(self.masks, device=masks.device, dtype=torch.int16)[:, None]
        self._code = torch.where(inside, twice + 1, torch.where(self._high < 0.5, twice, -1))
        self.areas = inside.sum(1) * (HEIGHT * WIDTH)
        self.areas.index_add_(0, border.nonzero()[:, 0], (masks[border] >= 0.5).sum(1))

    def _in_cells(self, planes: Tensor, fill: int = 0) -> Tensor:
        """Planes (K, H, W) -> (K, n, pixels of a cell)."""
        (height, width), (h, w) = self.size, self.cells
        beyond = (0, w * WIDTH - width, 0, h * HEIGHT - height)
        if any(beyond):
            planes = F.pad(planes, beyond, value=fill)
        return planes.view(-1, h, HEIGHT, w, WIDTH).transpose(2, 3).reshape(len(planes), h * w, HEIGHT * WIDTH)

    def run(self, scores: Tensor, keep: Tensor) -> Iterator[Winners]:
        """The winners of each set of scores; a few sets at a time, as operations on small tensors cost more than these.

        Args:
            scores, keep: (S, K); each set keeps one mask or more.
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
        """Pixels of each region, (R,)."""
        return torch.bincount(self._regions.flatten(), minlength=self.count + 1)[: self.count]

    def _shares(self, cell_codes: Tensor, owner: Tensor, open_cells: Tensor, codes: Tensor) -> Array:
        """What of each set and region each mask wins, outside and inside it, (S, R, K, 2)."""
        sets, regions, bins = len(cell_codes), self.count + 1, 2 * self.masks
        first = torch.arange(sets, device=codes.device)[:, None] * regions  # of each set's regions
        closed, size = cell_codes >= 0, sets * regions * bins
        whole = torch.bincount(((first + self._region) * bins + cell_codes)[closed], minlength=size)
        pixels = (first[owner] + self._regions[open_cells]) * bins + codes
        shares = whole * (HEIGHT * WIDTH) + torch.bincount(pixels.flatten(), minlength=size)
        found: Array = shares.view(sets, regions, self.masks, 2)[:, :-1].cpu().numpy()
        return found

    def _winners(self, scores: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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
        # A pixel with a nan has no winner: it goes to the first, outside its mask.
        return torch.where(codes == _NOBODY, 2 * kept[owner, :1].short(), codes)


@dataclass(frozen=True)
class Winners:
    """Who wins the pixels of one contest.

    Attributes:
        shares: (R, K, 2) int64, pixels of each region that each mask wins outside and inside it.
    """

    shares: Array
    _size: tuple[int, int]
    _cells: tuple[int, int]
    _cell_codes: Tensor  # (n,), of cells with one code; -1 for the others
    _open_cells: Tensor  # (m,), which these are
    _codes: Tensor  # (m, P), of their pixels

    def paint(self, ids: Tensor) -> Tensor:
        """(H, W): ``ids`` (K,) of each winner where the pixel is inside its mask, 0 elsewhere."""
        by_code = torch.stack((torch.zeros_like(ids), ids), dim=1).flatten().to(self._codes.device)
        cells = by_code[self._cell_codes.clamp(min=0)][:, None].repeat(1, HEIGHT * WIDTH)
        cells[self._open_cells] = by_code[self._codes.long()]
        (height, width), (h, w) = self._size, self._cells
        plane = cells.view(h, w, HEIGHT, WIDTH).transpose(1, 2).reshape(h * HEIGHT, w * WIDTH)
        return plane[:height, :width].contiguous()


def _kept(keep: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of those that each set keeps, (S, most), filled up with others; and how many they are, (S,)."""
    counts = keep.sum(1)
    order = torch.where(keep, 0, 1).argsort(dim=1, stable=True)
    return order[:, : int(counts.max())], counts
