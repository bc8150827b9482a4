"""Painting: every concept, within its bounds, as a function of the generator alone."""

from __future__ import annotations

import numpy as np
import pytest

from opsnet.miniature.painting import COLOURS, SHAPES, TEXTURES, finish, paint_stuff, paint_thing
from opsnet.vocabulary import Vocabulary

SIZE = 64
CENTRE, RADIUS = (30.0, 34.0), 16.0


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def canvas() -> np.ndarray:
    """White, which no colour is."""
    return np.full((SIZE, SIZE, 3), 255, np.float32)


def is_colour(pixel: np.ndarray, name: str) -> bool:
    """Whether ``name`` is the nominal colour nearest in direction."""
    directions = {n: np.array(c) / np.linalg.norm(c) for n, c in COLOURS.items()}
    return max(directions, key=lambda n: directions[n] @ pixel / np.linalg.norm(pixel)) == name


def test_the_world_is_every_colour_with_every_shape_and_texture() -> None:
    world = Vocabulary.load("scenes_world")
    kinds = [(SHAPES, True), (TEXTURES, False)]
    expected = {(f"{colour} {word}", thing) for words, thing in kinds for colour in COLOURS for word in words}
    assert {(c.name, c.is_thing) for c in world.concepts} == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_covers_what_it_answers_and_nothing_else(shape: str) -> None:
    image = canvas()
    mask = paint_thing(image, CENTRE, RADIUS, f"blue {shape}", rng())
    assert mask.dtype == bool
    assert np.array_equal((image != 255).any(-1), mask)
    rows, columns = np.nonzero(mask)
    for distance in (abs(rows - CENTRE[1]), abs(columns - CENTRE[0])):
        assert 0.5 * RADIUS < distance.max() <= 1.25 * RADIUS  # turned a little, so corners may stick out


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_has_a_dark_outline_around_its_colour(shape: str) -> None:
    image = canvas()
    mask = paint_thing(image, CENTRE, RADIUS, f"green {shape}", rng())
    levels = np.unique(image[mask], axis=0)
    assert len(levels) == 2
    dark, bright = levels[np.argsort(levels.sum(1))]
    assert dark == pytest.approx(0.22 * bright, rel=1e-4)
    assert is_colour(bright, "green")
    # Seen from the mask's border the outline comes first: no bright pixel touches the outside.
    bright_at = (image == bright).all(-1) & mask
    padded = np.pad(mask, 1)
    touches = [~padded[1 + dy : 1 + dy + SIZE, 1 + dx : 1 + dx + SIZE] for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    assert not (bright_at & np.logical_or.reduce(touches)).any()
    assert bright_at.sum() > 0.3 * mask.sum()


def test_shapes_differ() -> None:
    masks = {shape: paint_thing(canvas(), CENTRE, RADIUS, f"red {shape}", rng()) for shape in SHAPES}
    for a in SHAPES:
        for b in SHAPES:
            union = (masks[a] | masks[b]).sum()
            assert a == b or (masks[a] & masks[b]).sum() / union < 0.95, (a, b)


def test_a_thing_may_leave_the_image() -> None:
    image = canvas()
    mask = paint_thing(image, (0.0, 20.0), 10.0, "red square", rng())
    assert mask[20, 0]
    assert 0 < mask.sum() < 200  # half of it
    assert not paint_thing(image, (-50.0, -50.0), 10.0, "red square", rng()).any()


def test_a_circle_by_hand() -> None:
    mask = paint_thing(canvas(), (32.0, 32.0), 10.0, "red circle", rng())
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    distance = np.hypot(x - 32, y - 32)
    assert mask[distance < 9.1].all()  # the square root of 0.85 is 0.922
    assert not mask[distance > 9.3].any()


@pytest.mark.parametrize("texture", TEXTURES)
def test_stuff_fills_its_region_and_nothing_else(texture: str) -> None:
    image, region = canvas(), np.zeros((SIZE, SIZE), bool)
    region[10:50, 5:60] = True
    paint_stuff(image, region, f"purple {texture}", rng())
    assert np.array_equal((image != 255).any(-1), region)
    assert all(is_colour(pixel, "purple") for pixel in image[region][::97])


@pytest.mark.parametrize("texture", TEXTURES)
def test_textures_have_light_and_dark(texture: str) -> None:
    image = canvas()
    paint_stuff(image, np.ones((SIZE, SIZE), bool), f"red {texture}", rng())
    brightness = image[..., 0] / image[..., 0].max()
    assert brightness.min() == pytest.approx(0.5, abs=0.01)  # the dark half of the tint
    assert 0.05 < (brightness > 0.75).mean() < 0.95


def test_textures_differ() -> None:
    images = {texture: canvas() for texture in TEXTURES}
    for texture, image in images.items():
        paint_stuff(image, np.ones((SIZE, SIZE), bool), f"red {texture}", rng())
    for a in TEXTURES:
        for b in TEXTURES:
            assert a == b or (abs(images[a] - images[b]).max(-1) > 20).mean() > 0.1, (a, b)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_stays_itself_whatever_its_tint(colour: str) -> None:
    for seed in range(10):
        image = canvas()
        mask = paint_thing(image, CENTRE, RADIUS, f"{colour} square", rng(seed))
        bright = image[mask][image[mask].sum(1).argmax()]
        assert abs(bright - COLOURS[colour]).max() < 60


def test_the_generator_alone_decides() -> None:
    def draw(seed: int) -> np.ndarray:
        image, generator = canvas(), rng(seed)
        paint_stuff(image, np.ones((SIZE, SIZE), bool), "cyan noise", generator)
        paint_thing(image, CENTRE, RADIUS, "red star", generator)
        return finish(image, generator)

    np.random.seed(1)
    first = draw(0)
    np.random.seed(2)  # the global generator has no part in it
    assert np.array_equal(first, draw(0))
    assert not np.array_equal(first, draw(1))


def test_finish_adds_noise_and_rounds_to_bytes() -> None:
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    image[: SIZE // 2], image[SIZE // 2 :] = 128.0, 300.0
    done = finish(image, rng())
    assert done.dtype == np.uint8
    assert done.shape == image.shape
    grey = done[: SIZE // 2].astype(float)
    assert grey.mean() == pytest.approx(128, abs=0.5)
    assert grey.std() == pytest.approx(6, abs=0.3)
    assert (done[SIZE // 2 :] == 255).all()  # clipped, not wrapped around
