"""TrainTransform and EvalTransform on images small enough to check by hand."""

from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import ColorJitter

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.data.transforms import EvalTransform, TrainTransform


def make_pair(height: int, width: int) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Segments 1 2 / 3 4 in the quadrants; the image is 50 times the segment number everywhere."""
    rows = torch.arange(height)[:, None] >= height // 2
    columns = torch.arange(width)[None] >= width // 2
    segments = 1 + 2 * rows.int() + columns.int()
    return tv_tensors.Image((50 * segments).to(torch.uint8).expand(3, -1, -1).clone()), tv_tensors.Mask(segments)


def test_without_size_and_flip_nothing_changes():
    image, segments = make_pair(6, 10)
    new_image, new_segments = TrainTransform(size=None, flip=0.0)(image, segments)
    assert torch.equal(new_image, image)
    assert torch.equal(new_segments, segments)


def test_flip_mirrors_image_and_segments_left_to_right():
    image, segments = make_pair(4, 6)
    new_image, new_segments = TrainTransform(size=None, flip=1.0)(image, segments)
    assert new_segments[0].tolist() == [2, 2, 2, 1, 1, 1]
    assert new_segments[3].tolist() == [4, 4, 4, 3, 3, 3]
    assert torch.equal(new_image, image.flip(-1))


def test_flip_happens_as_often_as_asked():
    torch.manual_seed(0)
    image, segments = make_pair(2, 2)
    transform = TrainTransform(size=None, flip=0.25)
    flips = sum(transform(image, segments)[1][0].tolist() == [2, 1] for _ in range(400))
    assert 70 <= flips <= 130  # 100 expected, standard deviation 8.7


def test_fixed_scale_fits_the_square_and_keeps_the_ratio():
    image, segments = make_pair(8, 16)
    new_image, new_segments = TrainTransform(size=8, scale=(0.5, 0.5), flip=0.0, canvas=False)(image, segments)
    assert new_image.shape == (3, 2, 4)
    assert new_image.dtype == torch.uint8
    assert new_segments.tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]


def test_the_canvas_is_filled_with_grey_and_void_at_the_right_and_bottom():
    image, segments = make_pair(8, 16)
    new_image, new_segments = TrainTransform(size=8, scale=(0.5, 0.5), flip=1.0)(image, segments)
    assert new_image.shape == (3, 8, 8)
    assert new_segments.shape == (8, 8)
    assert new_segments[:2, :4].tolist() == [[2, 2, 1, 1], [4, 4, 3, 3]]
    assert new_segments[2:].sum() + new_segments[:, 4:].sum() == 0
    assert (new_image[:, 2:] == 128).all()
    assert (new_image[:, :, 4:] == 128).all()


def centre(weights: torch.Tensor) -> torch.Tensor:
    """(row, column) of the centre of mass of (H, W), in pixels."""
    rows, columns = torch.arange(weights.shape[0]) + 0.5, torch.arange(weights.shape[1]) + 0.5
    return torch.stack(((weights.sum(1) * rows).sum(), (weights.sum(0) * columns).sum())) / weights.sum()


def test_photometric_changes_colours_and_nothing_else():
    torch.manual_seed(0)
    image, segments = make_pair(32, 48)
    jitter = ColorJitter(brightness=0.5, saturation=0.5)
    transform = TrainTransform(size=64, scale=(0.5, 0.5), flip=0.0, photometric=jitter)
    seen = [transform(image, segments) for _ in range(40)]
    assert all(torch.equal(masks, seen[0][1]) and new.dtype == torch.uint8 for new, masks in seen)
    assert all((new[:, 24:] == 128).all() and (new[:, :, 32:] == 128).all() for new, _ in seen)  # padding stays grey
    means = torch.stack([new[:, :20, :32].float().mean() for new, _ in seen])
    assert means.std() > 3


def test_masks_lie_on_their_image():
    """A white ellipse on black: over 200 random transforms its centre of mass is its mask's."""
    torch.manual_seed(0)
    height, width = 90, 120
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    ellipse = ((rows - 41) / 27) ** 2 + ((columns - 55) / 35) ** 2 <= 1
    image = tv_tensors.Image(255 * ellipse.to(torch.uint8).expand(3, -1, -1))
    segments = tv_tensors.Mask(ellipse.int())
    transform = TrainTransform(size=240, scale=(0.3, 1.0), canvas=False)  # nothing is cut off
    moved = [transform(image, segments) for _ in range(200)]
    offsets = torch.stack([centre(mask.as_subclass(torch.Tensor)) - centre(pixels[0]) for pixels, mask in moved])
    assert offsets.mean(0).abs().max() < 0.05
    assert offsets.abs().max() < 0.25  # nearest neighbours alone: a border is rounded to pixels


def test_crop_cuts_the_same_window_from_both():
    torch.manual_seed(0)
    image, segments = make_pair(32, 32)
    transform = TrainTransform(size=32, scale=(2.0, 2.0), flip=0.0)
    for _ in range(40):
        new_image, new_segments = transform(image, segments)
        assert new_image.shape == (3, 32, 32)
        assert new_segments.shape == (32, 32)
        agree = (new_image[0].float() / 50).round() == new_segments
        assert agree.float().mean() > 0.85  # bilinear edges are the rest; a window off by 4 pixels fails


def test_offsets_of_the_window_cover_the_whole_range():
    torch.manual_seed(0)
    places = torch.arange(16).view(4, 4)
    image, segments = tv_tensors.Image(places.expand(3, -1, -1).to(torch.uint8)), tv_tensors.Mask(places.int())
    transform = TrainTransform(size=2, scale=(2.0, 2.0), flip=0.0)  # 2 x 2 windows of the 4 x 4 image
    corners = {transform(image, segments)[1][0, 0].item() for _ in range(120)}
    assert corners == {0, 1, 2, 4, 5, 6, 8, 9, 10}


def test_scale_is_drawn_from_the_whole_range():
    torch.manual_seed(0)
    image, segments = make_pair(50, 100)
    transform = TrainTransform(size=100, scale=(0.1, 2.0), flip=0.0, canvas=False)
    shapes = [tuple(transform(image, segments)[0].shape[1:]) for _ in range(80)]
    heights, widths = zip(*shapes, strict=True)
    assert min(widths) >= 10
    assert min(widths) < 30
    assert max(widths) == 100
    assert max(heights) > 80  # at twice the size the image is 100 high
    assert all(abs(w - 2 * h) <= 1 for h, w in shapes if w < 100)


def test_chance_is_torchs_generator_alone():
    transform = TrainTransform(size=32, canvas=False)
    image, segments = make_pair(40, 60)

    def run(seed):
        torch.manual_seed(seed)
        return transform(image, segments)[0]

    assert torch.equal(run(3), run(3))
    assert any(run(3).shape != run(seed).shape for seed in range(4, 8))


def test_masks_follow_and_empty_ones_are_dropped(tiny):
    torch.manual_seed(0)
    transform = TrainTransform(size=6, scale=(2.0, 2.0), flip=0.5)  # 6 x 6 windows of the 8 x 12 image
    dataset = PanopticDataset(**tiny.options, transform=transform)
    seen = []
    for _ in range(20):
        sample = dataset[0]
        assert sample.masks.flatten(1).any(1).all()
        assert len(sample.masks) == len(sample.labels)
        assert sample.masks.sum(0).max() <= 1
        seen.append(tuple(sample.labels.tolist()))
    assert (0, 2, 1) in seen
    assert (2, 1) in seen  # the cat, at the left, was cut away


def test_evaluation_resizes_the_shortest_edge():
    image, segments = EvalTransform()(*make_pair(480, 640))
    assert image.shape == (3, 800, 1067)
    assert segments.shape == (800, 1067)
    assert segments.unique().tolist() == [1, 2, 3, 4]


def test_evaluation_bounds_the_longest_edge():
    assert EvalTransform(shortest=80, longest=133)(*make_pair(42, 100))[0].shape == (3, 56, 133)
    assert EvalTransform(shortest=80, longest=None)(*make_pair(40, 100))[0].shape == (3, 80, 200)


def test_evaluation_at_native_size_changes_nothing():
    image, segments = make_pair(7, 5)
    new_image, new_segments = EvalTransform(shortest=None, longest=None)(image, segments)
    assert new_image is image
    assert new_segments is segments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainTransform(size=0), "size must be at least 1 pixel, or null .* got 0"),
        (lambda: TrainTransform(scale=(0.0, 1.0)), r"0 < lowest <= highest; got \(0.0, 1.0\)"),
        (lambda: TrainTransform(scale=(2.0, 1.0)), r"0 < lowest <= highest; got \(2.0, 1.0\)"),
        (lambda: TrainTransform(flip=1.5), "flip must be a probability in 0..1; got 1.5"),
        (lambda: EvalTransform(shortest=None), "longest 1333 needs shortest: give both, or null for both"),
        (lambda: EvalTransform(shortest=0), "1 <= shortest <= longest pixels; got 0 and 1333"),
        (lambda: EvalTransform(shortest=800, longest=700), "1 <= shortest <= longest pixels; got 800 and 700"),
    ],
)
def test_values_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
