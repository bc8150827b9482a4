"""Classification down a tree of names, level by level (paper, section 4.4, "Hierarchical category prediction").

The score of a node is the highest score at or below it. At each node the children compete with each other and with the
node's own name; the path ends if the own name wins or no child leads by the margin. Details are ours; the paper shows
results only.
"""

from __future__ import annotations

import torch
from torch import Tensor

Path = list[tuple[int, float]]
"""(node, its probability among its competitors), from the top down."""


def subtree_best(logits: Tensor, parent: Tensor) -> Tensor:
    """The largest logit at or below each node: (..., M) -> (..., M).

    Args:
        logits: of the nodes; minus infinity for a node without a text embedding.
        parent: (M,) index of each node's parent, which precedes it; -1 at the top.
    """
    best = logits.clone()
    depth = depths(parent)
    for level in range(int(depth.max()), 0, -1):
        nodes = (depth == level).nonzero()[:, 0]
        index = parent[nodes].expand(*best.shape[:-1], -1)
        best.scatter_reduce_(-1, index, best[..., nodes], "amax")
    return best


def depths(parent: Tensor) -> Tensor:
    """Depth of each node, (M,); 0 at the top."""
    depth: list[int] = []
    for above in parent.tolist():
        depth.append(0 if above < 0 else depth[above] + 1)
    return torch.tensor(depth, device=parent.device)


def descend(logits: Tensor, parent: Tensor, *, margin: float = 0.1) -> list[Path]:
    """The path of each of S segments.

    Args:
        logits: (S, M), as in :func:`subtree_best`.
        parent: (M,), as there.
        margin: a path continues if the probability of the best child exceeds that of the runner-up (a sibling or the
            node's own name) by at least this much. At the top level the best node is always taken.
    """
    logits, parent = logits.detach().float().cpu(), parent.cpu()
    best = subtree_best(logits, parent)
    shares, own = _shares(logits, best, parent)
    children: dict[int, list[int]] = {}
    for node, above in enumerate(parent.tolist()):
        children.setdefault(above, []).append(node)
    below = {node: torch.tensor(nodes) for node, nodes in children.items()}
    return [_path(shares[s], own[s], below, margin) for s in range(len(logits))]


def _shares(logits: Tensor, best: Tensor, parent: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of each node among its siblings and their parent's own name, and of that name, (S, M) each.

    Group g consists of the children of node g - 1 and its own name; group 0 of the nodes at the top.
    """
    groups = (parent + 1).expand_as(best)
    largest = torch.cat((best.new_full((len(best), 1), -torch.inf), logits), dim=1)
    largest = largest.scatter_reduce(1, groups, best, "amax")
    own = (logits - largest[:, 1:]).exp().nan_to_num(0)  # nodes without text (-inf) do not compete
    shares = (best - largest.gather(1, groups)).exp().nan_to_num(0)
    total = torch.cat((best.new_zeros(len(best), 1), own), dim=1).scatter_add(1, groups, shares)
    return shares / total.gather(1, groups), own / total[:, 1:]


def _path(shares: Tensor, own: Tensor, below: dict[int, Tensor], margin: float) -> Path:
    """One segment's path from (M,) probabilities."""
    path: Path = []
    node = -1
    while node in below:
        values = shares[below[node]]
        ordered = values.sort(descending=True)
        runner_up = max(float(ordered.values[1]) if len(values) > 1 else 0.0, float(own[node]) if path else 0.0)
        if path and float(ordered.values[0]) - runner_up < margin:
            break
        node = int(below[node][ordered.indices[0]])
        path.append((node, float(ordered.values[0])))
    return path
