"""The heads that give a query its embedding: values computed by hand, and where gradients go."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from opsnet.segmenter.embedding_heads import EMBEDDING_HEADS, LinearHead, MaskPooledHead


def test_the_linear_head_reads_the_query_alone() -> None:
    torch.manual_seed(0)
    head = EMBEDDING_HEADS["linear"](dim=4, mask_dim=3, clip_dim=5)
    queries = torch.randn(2, 6, 4)
    found = head(queries, torch.randn(2, 6, 3), torch.randn(2, 3, 2, 2))
    assert isinstance(head, LinearHead)
    assert torch.equal(found, F.linear(queries, head.weight, head.bias))


def tiny_head() -> MaskPooledHead:
    """Two dimensions everywhere; the MLP is the identity for values of at least 0, and the projection doubles."""
    head = MaskPooledHead(dim=2, mask_dim=2, clip_dim=2)
    with torch.no_grad():
        for layer in [m for m in head.mlp.modules() if isinstance(m, torch.nn.Linear)]:
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        head.project[1].weight.copy_(2 * torch.eye(2))
        head.project[1].bias.zero_()
    return head


PIXELS = torch.tensor([[[[1.0, 3.0, -2.0]], [[5.0, -1.0, 0.0]]]])  # (1, 2, 1, 3)
SELECTS = torch.tensor([[[1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]])  # inside: columns 0 and 1; column 1; none
QUERIES = torch.tensor([[[10.0, 20.0], [10.0, 20.0], [1.0, 2.0]]])


def test_by_hand() -> None:
    """Means (2, 2), (3, -1) and (0, 0); after LayerNorm (0, 0), (1, -1) and (0, 0); doubled and added to the query."""
    found = tiny_head()(QUERIES, SELECTS, PIXELS)
    expected = torch.tensor([[[10.0, 20.0], [12.0, 18.0], [1.0, 2.0]]])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_logit_of_zero_is_outside() -> None:
    """The third pixel's second number is 0: FC-CLIP's rule is above 0."""
    masks = torch.tensor([[[0.0, 1.0]]])
    pixels = torch.tensor([[[[4.0, 9.0]], [[1.0, 0.0]]]])
    found = tiny_head()(torch.full((1, 1, 2), 5.0), masks, pixels)
    torch.testing.assert_close(found, torch.tensor([[[7.0, 3.0]]]), atol=1e-4, rtol=0)  # of (4, 1) alone


def test_gradients_reach_queries_and_pixels_but_not_the_masks() -> None:
    torch.manual_seed(0)
    head = MaskPooledHead(dim=4, mask_dim=3, clip_dim=5)
    queries, masks, pixels = torch.randn(2, 6, 4), torch.randn(2, 6, 3), torch.randn(2, 3, 4, 4)
    masks[0, 0] = 0.0  # an empty mask
    for x in (queries, masks, pixels):
        x.requires_grad_()
    head(queries, masks, pixels).square().sum().backward()
    assert masks.grad is None
    for grad in (queries.grad, pixels.grad, *(p.grad for p in head.parameters())):
        assert grad is not None
        assert grad.any()
    assert queries.grad.isfinite().all()


def test_a_pixel_outside_every_mask_has_no_gradient() -> None:
    torch.manual_seed(0)
    head = MaskPooledHead(dim=8, mask_dim=4, clip_dim=5)
    pixels, masks = torch.randn(1, 4, 3, 3), torch.randn(1, 2, 4)
    covered = (torch.einsum("bkc,bchw->bkhw", masks, pixels) > 0).any(dim=1)
    head(torch.randn(1, 2, 8), masks, pixels.requires_grad_()).square().sum().backward()
    assert 0 < covered.sum() < 9
    assert torch.equal(pixels.grad.abs().sum(dim=1) > 0, covered)


def test_images_of_a_batch_are_independent() -> None:
    torch.manual_seed(0)
    head = MaskPooledHead(dim=4, mask_dim=3, clip_dim=5)
    queries, masks, pixels = torch.randn(2, 6, 4), torch.randn(2, 6, 3), torch.randn(2, 3, 4, 4)
    alone = head(queries[1:], masks[1:], pixels[1:])
    torch.testing.assert_close(head(queries, masks, pixels)[1:], alone)
