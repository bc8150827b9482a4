"""The warnings of maps: who gets which, in the API, the command and the page."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import opsnet
from opsnet.inference.network_output import NetworkOutput
from opsnet.miniature.drawing import DOMAINS, draw_scene
from opsnet.miniature.painting import finish
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction import cautions
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.cautions import (
    NoSegmentWarning,
    Summary,
    UnfamiliarImageWarning,
    UnknownNamesWarning,
    UntrainedNetworkWarning,
    of_images,
    of_names,
)
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.words import as_words
from opsnet.vocabulary import Concept, Vocabulary

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published_models" / "fcclip_small" / "convnext"


def scene() -> np.ndarray:
    rng = np.random.default_rng(3)
    return finish(draw_scene(DOMAINS["scenes"], rng)[0], rng)


def photograph() -> np.ndarray:
    """Smooth and nearly grey."""
    ramp = np.linspace(60, 200, 96)
    return np.repeat(np.repeat(ramp[:, None], 96, 1)[..., None], 3, 2).astype(np.uint8)


def kinds(found: PanopticResult) -> list[type]:
    return [type(w) for w in found.warnings]


@pytest.fixture
def trained_enough(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """As if its network, trained for eight steps, were trained: its proposals agree like those of random weights."""
    monkeypatch.setattr(cautions, "proposals_agree", lambda model, output, train: [False] * len(output))
    return predictor


def test_a_scene_with_names_of_the_captions_has_no_warning(trained_enough: Predictor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = trained_enough([scene(), scene()], "red circle, purple moon, green stripes")
    assert [m.warnings for m in found] == [(), ()]


def test_words_outside_the_captions_are_named(trained_enough: Predictor) -> None:
    with pytest.warns(UnknownNamesWarning, match=r"2 of 3 names .* \('coffee cup', 'red cup'\)"):
        found = trained_enough(scene(), ["coffee cup", "red circle", "red cup"])
    assert kinds(found) == [UnknownNamesWarning]
    assert "28 words such as arrow, blue, bricks" in str(found.warnings[0])


def test_synonyms_and_trees_are_known_by_any_of_their_names(predictor: Predictor, tmp_path: Path) -> None:
    assert of_names(predictor.trained, Vocabulary("x", (Concept(1, "disc", True, ("red circle",)),))) == ()
    (tmp_path / "tree.yaml").write_text("thing: {circle: [red circle]}\nstuff: [sky]\n")
    (found,) = of_names(predictor.trained, as_words(tmp_path / "tree.yaml"))
    assert str(found).startswith("1 of 3 names mean nothing to this model ('sky')")


def test_names_that_the_network_was_trained_with_are_known(predictor: Predictor, monkeypatch) -> None:
    """A network on photographs with the tiny CLIP (experiment=camvid) has trained queries for its own names."""
    own = predictor.trained
    object.__setattr__(own, "train_vocabulary", Vocabulary.load("sky, road"))
    try:
        assert of_names(own, Vocabulary.load("sky, road")) == ()
        assert "1 of 2 names mean nothing to this model ('truck')" in str(
            of_names(own, Vocabulary.load("sky, truck"))[0]
        )
        monkeypatch.setattr(cautions, "proposals_agree", lambda *_: [False])
        assert of_images(own, [photograph()], None) == [()]  # its images are not those of its CLIP
    finally:
        object.__setattr__(own, "train_vocabulary", Vocabulary.load("scenes"))


def test_a_photograph_is_told_once_and_only_about_its_own_map(trained_enough: Predictor) -> None:
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        found = trained_enough([photograph(), scene(), photograph()], "red circle, green stripes")
    assert [UnfamiliarImageWarning in kinds(m) for m in found] == [True, False, True]
    told = [w for w in issued if issubclass(w.category, UnfamiliarImageWarning)]
    assert len(told) == 1
    assert told[0].filename == __file__  # the user's line, not the library's


def test_the_warnings_stay_with_the_output_when_names_change(trained_enough: Predictor) -> None:
    output = trained_enough.propose([photograph(), scene()])
    for names in ("red circle", "blue square, red circle"):
        first, second = trained_enough.name(output, names)
        assert UnfamiliarImageWarning in kinds(first) and UnfamiliarImageWarning not in kinds(second)


def test_a_clip_without_known_limits_warns_of_nothing(trained_enough: Predictor, monkeypatch) -> None:
    monkeypatch.setattr(trained_enough.trained.model.clip.text_encoder.clip, "scope", None)
    assert trained_enough(photograph(), "coffee cup").warnings == ()


def test_a_clip_alone_knows_nothing_but_its_captions(world) -> None:
    """`person` is a name of COCO, but no network was trained with it, nor with other images than CLIP's."""
    alone, mask = opsnet.load_clip("tiny", clip_weights=world.clip, device="cpu"), np.ones((1, 96, 96), bool)
    with (
        pytest.warns(UnknownNamesWarning, match=r"1 of 2 names mean nothing to this model \('person'\)"),
        pytest.warns(UnfamiliarImageWarning),
    ):
        found = alone.label(photograph(), mask, "person, red circle")
    assert kinds(found) == [UnfamiliarImageWarning, UnknownNamesWarning]
    drawn = scene()
    assert alone.label(drawn, np.ones((1, *drawn.shape[:2]), bool), "red circle, green stripes").warnings == ()


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published model is not at {PUBLISHED}")
def test_a_published_layout_with_random_weights_is_marked() -> None:
    predictor = opsnet.load(PUBLISHED / "model_final.pth", clip=PUBLISHED / "open_clip_config.json", device="cpu")
    with pytest.warns(UntrainedNetworkWarning, match="looks untrained: .* give trained weights"):
        found = predictor(PUBLISHED / "image.png", "cat, sky")
    assert UntrainedNetworkWarning in kinds(found)


def test_an_empty_map_says_why(trained_enough: Predictor) -> None:
    with pytest.warns(NoSegmentWarning, match=r"the best class score x predicted IoU is 0\.\d{3}, .* above 0\.99"):
        found = trained_enough(scene(), "red circle", filtering=MaskFiltering(threshold=0.99))
    assert kinds(found) == [NoSegmentWarning]


def test_a_run_tells_each_kind_once_and_of_which_images() -> None:
    def named(*texts: str) -> PanopticResult:
        return PanopticResult(None, (), Vocabulary.load("a"), warnings=tuple(UserWarning(t) for t in texts))

    summary = Summary()
    for file, texts in (("a.png", ("x", "y")), ("b.png", ("x",)), ("c.png", ("x", "y"))):
        summary.add(file, texts)
    assert summary.lines() == ["x", "2 of 3 images (a.png, c.png): y"]
    for file in ("d.png", "e.png"):
        summary.add(file, ["y"])
    assert summary.lines()[1] == "4 of 5 images (a.png, c.png, d.png, ...): y"
    assert Summary().lines() == []


def test_the_command_prints_each_warning_once(compose, lenient_checkpoint, tmp_path: Path, capsys) -> None:
    from opsnet.prediction.run import predict

    (tmp_path / "in").mkdir()
    for name, pixels in (("a", photograph()), ("b", scene()), ("c", photograph())):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{name}.png")
    given = [f"checkpoint={lenient_checkpoint}", f"image={tmp_path / 'in'}", "vocabulary='red circle, cup'"]
    outcome = predict(compose("predict", *given, "device=cpu", f"output={tmp_path / 'out'}"))
    told = capsys.readouterr().err
    assert told.count("warning: 1 of 2 names mean nothing to this model ('cup')") == 1
    assert told.count("warning: 2 of 3 images (a.png, c.png): the image is unlike the drawn scenes") == 1
    assert all(line in told for line in outcome.warnings.lines())


def test_outputs_without_warnings_are_named_as_before(predictor: Predictor, proposed) -> None:
    output: NetworkOutput = proposed(0.9, 0.8, 0.7)
    assert output.warnings == ()
