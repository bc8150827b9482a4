"""Where names go: inside their segment, beside a tiny one, apart from each other, within the image."""

from __future__ import annotations

import itertools

import numpy as np

from opsnet.visualization.label_layout import Box, place_labels


def overlap(a: Box, b: Box) -> int:
    across = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    down = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    return max(0, across) * max(0, down)


def inside(box: Box, shape: tuple[int, int]) -> bool:
    return box.left >= 0 and box.top >= 0 and box.left + box.width <= shape[1] and box.top + box.height <= shape[0]


def test_a_name_lies_wholly_on_a_segment_that_is_large_enough():
    ids = np.ones((120, 160), dtype=np.int64)
    ids[60:, :] = 2
    boxes = place_labels(ids, {1: (50, 14), 2: (50, 14)}, frozenset())
    for segment, box in boxes.items():
        covered = ids[box.top : box.top + box.height, box.left : box.left + box.width]
        assert (covered == segment).all()
        assert box.touches


def test_names_of_stuff_avoid_things():
    ids = np.ones((120, 120), dtype=np.int64)
    ids[30:90, 30:90] = 2
    box = place_labels(ids, {1: (40, 12)}, frozenset({2}))[1]
    assert (ids[box.top : box.top + box.height, box.left : box.left + box.width] == 1).all()


def test_names_of_crowded_segments_do_not_meet():
    ids = np.ones((200, 200), dtype=np.int64)
    for i in range(6):
        ids[90:110, 60 + 12 * i : 72 + 12 * i] = 2 + i
    sizes = dict.fromkeys(range(1, 8), (60, 16))
    boxes = place_labels(ids, sizes, frozenset(range(2, 8)))
    assert set(boxes) == set(sizes)
    assert all(overlap(a, b) == 0 for a, b in itertools.combinations(boxes.values(), 2))
    assert all(inside(box, ids.shape) for box in boxes.values())


def test_names_meet_rather_than_vanish_where_there_is_no_room():
    ids = np.ones((20, 60), dtype=np.int64)
    ids[:, 30:] = 2
    boxes = place_labels(ids, {1: (55, 16), 2: (55, 16)}, frozenset())
    assert set(boxes) == {1, 2}
    assert all(inside(box, ids.shape) for box in boxes.values())


def test_a_name_lies_on_its_segment_even_where_the_centre_does_not():
    ids = np.ones((120, 120), dtype=np.int64)
    ids[20:100, 20:120] = 2
    box = place_labels(ids, {1: (30, 12)}, frozenset())[1]
    assert (ids[box.top : box.top + box.height, box.left : box.left + box.width] == 1).all()


def test_a_name_goes_beside_a_segment_that_it_would_hide():
    ids = np.zeros((200, 400), dtype=np.int64)
    ids[100, 200] = 1
    box = place_labels(ids, {1: (60, 16)}, frozenset({1}))[1]
    assert not box.touches
    assert ids[box.top : box.top + box.height, box.left : box.left + box.width].sum() == 0
    assert ids[box.top - 2 : box.top + box.height + 2, box.left - 2 : box.left + box.width + 2].sum() == 1


def test_touches_tells_whether_the_name_lies_on_its_segment():
    ids = np.zeros((200, 400), dtype=np.int64)
    ids[100:104, 200:204] = 1
    ids[100:104, 204:208] = 2
    boxes = place_labels(ids, {1: (120, 60), 2: (120, 60)}, frozenset({1, 2}))
    assert overlap(boxes[1], boxes[2]) == 0
    for segment, box in boxes.items():
        hit = (ids[box.top : box.top + box.height, box.left : box.left + box.width] == segment).any()
        assert box.touches == hit


def test_a_large_image_is_searched_in_strides_and_names_stay_inside():
    ids = np.ones((1500, 2000), dtype=np.int64)
    ids[1400:, 1900:] = 2
    boxes = place_labels(ids, {1: (300, 60), 2: (301, 61)}, frozenset({2}))
    assert all(inside(box, ids.shape) for box in boxes.values())
    assert overlap(boxes[1], boxes[2]) == 0


def test_a_segment_without_pixels_gets_no_name():
    assert place_labels(np.ones((30, 30), dtype=np.int64), {1: (10, 5), 7: (10, 5)}, frozenset()).keys() == {1}


def test_a_name_wider_than_the_image_starts_at_its_edge():
    box = place_labels(np.ones((20, 30), dtype=np.int64), {1: (50, 8)}, frozenset())[1]
    assert (box.left, box.width) == (0, 50)
