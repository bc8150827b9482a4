"""Names given masks: which mask gets a pixel, the ids, what is dropped and why, and which recognizer names them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from published_files import fcclip_state, small_network, write_clip_config, write_pth

import opsnet
from opsnet.inference.given_masks import run_with_masks
from opsnet.inference.trained_model import TrainedModel
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.images import to_batch
from opsnet.prediction.mask_labelling import front_to_back, mask_recognizer
from opsnet.prediction.naming import UnknownRule
from opsnet.prediction.predictor import Predictor
from opsnet.recognition.modulation import ClipOnly, EmbeddingModulation
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Concept, Vocabulary

WORDS = "red circle, yellow triangle, blue square"  # things
SIZE = (70, 90)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def masks() -> np.ndarray:
    """A large mask, one on its left half, a small one inside both, one that is empty, and one of its own."""
    masks = np.zeros((5, *SIZE), bool)
    masks[0, 5:60, 4:80] = masks[1, 5:60, 4:40] = masks[2, 10:14, 10:20] = masks[4, 62:68, 82:88] = True
    return masks


def by_source(named) -> dict[tuple, int]:
    return {s.source_ids: s.area for s in named.segments}


def test_the_smaller_mask_is_in_front(predictor, image, masks) -> None:
    found = predictor.label(image, masks, WORDS)
    areas = {k: int(masks[k].sum()) for k in range(5)}
    assert by_source(found) == {
        (0,): areas[0] - areas[1], (1,): areas[1] - areas[2], (2,): areas[2], (4,): areas[4],
    }  # fmt: skip
    expected = np.zeros(SIZE, int)
    number = {s.source_ids[0]: s.id for s in found.segments}
    for k in (0, 1, 2, 4):
        expected[masks[k]] = number[k]
    assert np.array_equal(found.ids.numpy(), expected)
    assert [(d.source_id, d.reason) for d in found.dropped] == [(3, "empty")]
    assert {s.id: s.box for s in found.segments}[number[4]] == (82, 62, 6, 6)


def test_or_the_one_with_the_higher_score(predictor, image, masks) -> None:
    """All names have nearly the same probability in this network; the given scores differ."""
    found = predictor.label(image, masks, "circle", scores=[0.9, 0.2, 0.1, 1, 1], front="score")
    assert by_source(found) == {(0,): int(masks[0].sum()), (4,): int(masks[4].sum())}
    assert [(d.source_id, d.reason) for d in found.dropped] == [(3, "empty"), (1, "covered"), (2, "covered")]
    assert found.segments[0].iou == pytest.approx(0.9)
    assert found.segments[0].score == pytest.approx(0.9 * found.segments[0].top[0].score)


def test_masks_without_overlaps_are_the_map(predictor, image) -> None:
    ids = np.kron(np.arange(1, 7).reshape(2, 3) * 11, np.ones((35, 30), int))
    found = predictor.label(image, ids, WORDS, top_k=2)
    back = np.zeros(SIZE, int)
    for segment in found.segments:
        assert len(segment.source_ids) == 1 and len(segment.top) == 2
        back[found.ids.numpy() == segment.id] = segment.source_ids[0]
    assert np.array_equal(back, ids)


def test_stuff_of_one_name_is_one_segment_of_all_its_masks(predictor, image, masks) -> None:
    sky = Vocabulary("v", (Concept(3, "sky", False),))
    (segment,) = predictor.label(image, masks[[0, 4]], sky).segments
    assert (segment.source_ids, segment.area) == ((0, 1), int(masks[[0, 4]].sum()))
    (merged,) = predictor.label(image, masks[[0, 4]], "cat", task="semantic").segments
    assert merged.source_ids == (0, 1)
    assert predictor.label(image, masks, sky, task="instance").segments == ()


def test_masks_may_be_dropped_by_score_and_by_what_is_left_of_them(predictor, image, masks) -> None:
    scores = [1, 1, 0.01, 1, 1]
    found = predictor.label(image, masks, "cat", scores=scores, filtering=MaskFiltering(kind="iou", threshold=0.5))
    assert [(d.source_id, d.reason) for d in found.dropped] == [(3, "empty"), (2, "score")]
    found = predictor.label(image, masks, "cat", overlap=0.6)
    assert [(d.source_id, d.reason) for d in found.dropped] == [(3, "empty"), (0, "covered")]
    unknown = predictor.label(image, masks, WORDS, unknown=UnknownRule(margin=1.0, iou=0.5))
    assert {s.name for s in unknown.segments} == {"unknown"}


def test_all_masks_are_named_whatever_their_scores(predictor, image, masks) -> None:
    found = predictor.label(image, masks, WORDS, scores=[0] * 5)
    assert [(d.source_id, d.reason) for d in found.dropped] == [(3, "empty")]
    assert {s.score for s in found.segments} == {0}


def test_the_result_shows_and_saves_its_image(predictor, image, masks, tmp_path) -> None:
    Image.fromarray(image).save(tmp_path / "photo.png")
    for form in (tmp_path / "photo.png", Image.open(tmp_path / "photo.png")):
        found = predictor.label(form, masks, WORDS)
        assert found.file_name == "photo.png"
        assert found.plot(scale=1).size == SIZE[::-1]
        found.save(tmp_path / "saved")
    (annotation,) = json.loads((tmp_path / "saved" / "panoptic.json").read_text())["annotations"]
    assert [info["source_ids"] for info in annotation["segments_info"]] == [list(s.source_ids) for s in found.segments]
    assert annotation["dropped_masks"] == [{"source_id": 3, "reason": "empty"}]
    assert annotation == {**found.to_coco_panoptic()[0], "image_id": 0}
    assert found.to_pandas()["source_ids"].tolist() == [str(*s.source_ids) for s in found.segments]
    assert [a["source_ids"] for a in found.to_coco()["annotations"]] == [list(s.source_ids) for s in found.segments]


def test_the_predictors_own_recognizer_is_used_where_it_can_be(image, masks, tmp_path: Path) -> None:
    write_pth(fcclip_state(small_network("convnext")), tmp_path / "fcclip.pth")
    trained = opsnet.load(tmp_path / "fcclip.pth", clip=write_clip_config("convnext", tmp_path), device="cpu").trained
    chosen = Predictor(trained, shortest=96, modulation="clip_only").label(image, masks, WORDS, top_k=3)
    expected = Predictor(trained, shortest=96).label(image, masks, WORDS, top_k=3, modulation="clip_only")
    assert [s.top for s in chosen.segments] == [s.top for s in expected.segments]


def test_the_names_are_clips(predictor, image, masks) -> None:
    """The probabilities of the pooled embedding of each mask among the names and no-object, whatever else is given."""
    found, model = predictor.label(image, masks, WORDS, top_k=3), predictor.trained.model
    bank = predictor.text(Vocabulary.load(WORDS))
    for segment in found.segments:
        (source,) = segment.source_ids
        output = run_with_masks(model, to_batch([image]), torch.from_numpy(masks[source])[None], torch.ones(1))
        embedding = F.normalize(output.clip["pooling"][0, 0], dim=0)
        cosines = torch.cat((bank.embeds @ embedding, (F.normalize(model.no_object_embed, dim=0) @ embedding)[None]))
        expected = (100 * cosines).softmax(0).tolist()
        assert {n.label: n.score for n in segment.top} == pytest.approx(dict(enumerate(expected[:3])), abs=1e-4)


def test_nothing_to_name(predictor, image) -> None:
    for masks in (np.zeros((0, *SIZE), bool), np.zeros((1, *SIZE), bool)):
        found = predictor.label(image, masks, WORDS)
        assert found.segments == ()
        assert not found.ids.any()
        assert len(found.dropped) == len(masks)


def test_a_tree_of_names(predictor, image, masks, tmp_path) -> None:
    (tmp_path / "tree.yaml").write_text("thing: {circle: [red circle]}\nstuff: [green stripes]\n")
    found = predictor.label(image, masks, tmp_path / "tree.yaml")
    assert found.segments and all(s.path[0].name in ("thing", "stuff") for s in found.segments)
    assert sorted(i for s in found.segments for i in s.source_ids) == [0, 1, 2, 4]


def test_invalid_arguments(predictor, image, masks) -> None:
    with pytest.raises(InputError, match="front must be small or score, got big"):
        predictor.label(image, masks, WORDS, front="big")
    with pytest.raises(InputError, match="top_k must be at least 1"):
        predictor.label(image, masks, WORDS, top_k=0)
    with pytest.raises(InputError, match=r"overlap must lie in 0\.\.1, got 2"):
        predictor.label(image, masks, WORDS, overlap=2)
    with pytest.raises(InputError, match=r"label\(\) takes one image with its masks"):
        predictor.label([image], masks, WORDS)
    with pytest.raises(TypeError, match=r"label\(\) has no argument score: did you mean scores\?"):
        predictor.label(image, masks, WORDS, score=[1])
    with pytest.raises(InputError, match="is 90 x 35 pixels, but the image is 90 x 70"):
        predictor.label(image, masks[:, :35], WORDS)
    with pytest.raises(InputError, match="EmbeddingModulation needs query embeddings.* modulation=clip_only"):
        predictor.label(image, masks, WORDS, modulation="full")


def test_which_recognizer(lenient_model: TrainedModel) -> None:
    opsnet_model, fcclip = lenient_model.model, small_network("resnet")
    own, clip, other = EmbeddingModulation(), ClipOnly(), EmbeddingModulation(beta=0.5)
    assert isinstance(mask_recognizer(opsnet_model, own, None), ClipOnly)
    assert mask_recognizer(opsnet_model, own, clip) is clip
    assert mask_recognizer(fcclip, own, None) is own
    assert mask_recognizer(fcclip, own, other) is other


def test_published_weights_use_their_own_head(image, masks, tmp_path: Path) -> None:
    write_pth(fcclip_state(small_network("convnext")), tmp_path / "fcclip.pth")
    published = opsnet.load(tmp_path / "fcclip.pth", clip=write_clip_config("convnext", tmp_path), device="cpu")
    published = Predictor(published.trained, shortest=96)
    own, clip = (published.label(image, masks, WORDS, top_k=3, modulation=m) for m in (None, "clip_only"))
    assert by_source(own) == by_source(clip)
    assert [s.top for s in own.segments] != [s.top for s in clip.segments]


def test_a_clip_alone(world, predictor, image, masks) -> None:
    alone = opsnet.load_clip("tiny", clip_weights=world.clip, device="cpu")
    assert alone.size == predictor.size  # not 800 pixels: it was trained on images of 32
    found, expected = (p.label(image, masks, WORDS, top_k=3) for p in (alone, predictor))
    assert [s.name for s in found.segments] == [s.name for s in expected.segments]
    with pytest.raises(InputError, match=r"a CLIP alone finds no masks: give them to label\(\)"):
        alone(image, WORDS)
    with pytest.raises(InputError, match="no CLIP 'rn5': give one of .* or the path of an open_clip_config.json"):
        opsnet.load_clip("rn5")
    with pytest.raises(InputError, match="^the CLIP tiny cannot be downloaded: give clip_weights=PATH"):
        opsnet.load_clip("tiny")
    with pytest.raises(TypeError, match="load_clip.. has no argument clip_model: it is called clip here"):
        opsnet.load_clip(clip_model="rn50")
    with pytest.raises(InputError, match=r"open_clip_config\.json has no weights of its own: give clip_weights=PATH"):
        opsnet.load_clip("open_clip_config.json")


def test_detections_keep_their_trackers_ids(predictor, image, masks) -> None:
    sv = pytest.importorskip("supervision", reason="the extra supervision is not installed")
    boxes, trackers = np.zeros((len(masks), 4), np.float32), 100 + np.arange(len(masks))
    found = predictor.label(image, sv.Detections(boxes, mask=masks, tracker_id=trackers), WORDS)
    assert {i for s in found.segments for i in s.source_ids} | {d.source_id for d in found.dropped} == set(trackers)
    assert found.to_supervision().data["source_ids"] == [list(s.source_ids) for s in found.segments]


def test_masks_given_elsewhere_are_sent_to_label(predictor, image, masks) -> None:
    with pytest.raises(
        TypeError, match=r"Predictor.__call__\(\) has no argument masks: .* predictor\.label\(image, masks"
    ):
        predictor(image, masks=masks)
    with pytest.raises(TypeError, match=r"^load\(\) has no argument masks: .* predictor\.label\(image, masks"):
        opsnet.load("last.ckpt", masks=masks)


def test_the_order_by_hand() -> None:
    areas, scores = torch.tensor([9, 4, 4, 1]), torch.tensor([0.5, 0.25, 0.75, 0.5])
    assert front_to_back(areas, scores, "small").tolist() == [3, 2, 1, 0]
    assert front_to_back(areas, scores, "score").tolist() == [2, 3, 0, 1]
