"""Own words with published weights, end to end and offline: the commands, the page, the API, and a copied folder."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published_files import fcclip_state, small_network, write_clip_config, write_pth

import opsnet
from opsnet.evaluation.run import evaluate
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.run import predict
from opsnet.utils.configuration import options
from opsnet.web_demo.recognizers import own_recognizer
from opsnet.web_demo.responses import Controls, segment_image

WORDS = "red circle, blue square, green stripes, sea"
PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "data" / "published_models" / "fcclip_small"
ABSENT = pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published models are not at {PUBLISHED}")
KINDS = [
    "random convnext",
    "random resnet",
    *(pytest.param(f"published {kind}", marks=ABSENT) for kind in ("convnext", "rn50")),
]
EVERY = [name for name in options("modulation") if name != "trained"]


@dataclass(frozen=True)
class Weights:
    """Published weights, the configuration of their CLIP, and a folder that was saved from them."""

    path: Path
    clip: Path
    folder: Path


@pytest.fixture(scope="module", params=KINDS)
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    root = tmp_path_factory.mktemp("published")
    source, kind = request.param.split()
    if source == "random":
        path = write_pth(fcclip_state(small_network(kind)), root / "model_final.pth")
        clip = write_clip_config(kind, root)
    else:
        path, clip = (PUBLISHED / kind / name for name in ("model_final.pth", "open_clip_config.json"))
    opsnet.load(path, clip=clip, device="cpu").save_pretrained(root / "saved")
    return Weights(path, clip, root / "saved")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    pixels[10:40, 10:40] = (220, 30, 30)
    path = tmp_path_factory.mktemp("image") / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No connection can be made, so that nothing is downloaded unnoticed."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield


def small(predictor: Predictor) -> Predictor:
    """The same with images of 64 pixels, and every proposal kept."""
    predictor = Predictor(predictor.trained, shortest=64, overlap=0.0)
    predictor.filtering.drop_no_object = False
    return predictor


@pytest.fixture
def command(compose, image, tmp_path) -> Callable[..., torch.Tensor]:
    """Overrides of opsnet-predict -> the ids of its map."""

    def run(*overrides: str) -> torch.Tensor:
        sizes = ["shortest=64", "overlap=0", "filtering.drop_no_object=false", "device=cpu"]
        given = [f"image='{image}'", f"vocabulary='{WORDS}'", f"output={tmp_path / 'out'}", "overwrite=true", *sizes]
        return predict(compose("predict", *given, *overrides)).last.ids

    return run


def test_a_folder_and_a_file_answer_alike_to_the_command_and_the_api(weights, image, command, tmp_path) -> None:
    from_folder = command(f"checkpoint={weights.folder}")
    categories = json.loads((tmp_path / "out" / "panoptic.json").read_text())["categories"]
    assert [c["name"] for c in categories] == WORDS.split(", ")
    from_file = command(f"checkpoint={weights.path}", f"clip_model={weights.clip}")
    answer = small(opsnet.load(weights.folder, device="cpu"))(image, WORDS)
    assert torch.equal(from_folder, from_file)
    assert torch.equal(from_folder, answer.ids)
    assert answer.ids.shape == (60, 80)
    assert len(answer.segments) > 0


def test_a_copied_folder_needs_nothing_else(weights, image, tmp_path) -> None:
    expected = small(opsnet.load(weights.folder, device="cpu"))(image, WORDS, top_k=4)
    shutil.copytree(weights.folder, tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    moved = opsnet.load(tmp_path / "second", device="cpu")
    found = small(moved)(image, WORDS, top_k=4)
    assert torch.equal(found.ids, expected.ids)
    assert found.segments == expected.segments
    content = json.loads((tmp_path / "second" / "config.json").read_text())["opsnet"]
    assert content["config"]["clip"]["model"]["weights"] == "clip.safetensors"
    assert str(weights.path.parent) not in json.dumps(content)  # nothing of the machine that saved it
    moved.save_pretrained(tmp_path / "again")  # what is saved again is the same
    for name in ("model.safetensors", "clip.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (weights.folder / name).read_bytes()


def test_the_settings_of_the_publication_are_in_the_folder(weights) -> None:
    predictor = opsnet.load(weights.folder, device="cpu")
    recognizer = predictor.recognizer.settings()
    assert recognizer == {"seen": 0.4, "unseen": 0.8, "seen_by": "text", "clip_trust": 0.0}
    assert (predictor.size.shortest, predictor.size.longest, predictor.overlap) == (800, 1333, 0.8)
    assert (predictor.filtering.kind, predictor.filtering.drop_no_object) == ("cls", True)
    assert predictor.semantic == "proposals"
    assert predictor.train_vocabulary.name == "coco"
    assert predictor.trained.model.query_scale() < 100


def test_one_pass_serves_every_recognizer(weights, image) -> None:
    predictor = small(opsnet.load(weights.folder, device="cpu"))
    proposed = predictor.propose(image)
    scores = {}
    for name in EVERY:
        (found,) = predictor.name(proposed, WORDS, modulation=name, top_k=4)
        assert len(found.segments) > 0, name
        assert all(0 <= s.score <= 1 for s in found.segments), name
        scores[name] = tuple(round(t.score, 4) for s in found.segments for t in s.top)
        direct = predictor(image, WORDS, modulation=name, top_k=4)
        assert torch.equal(direct.ids, found.ids), name
    different = ("geometric_ensemble", "query_only", "clip_only", "full", "ensemble_1")
    assert len({scores[name] for name in different}) == len(different)


def test_the_page_answers(weights, image) -> None:
    predictor = small(opsnet.load(weights.folder, device="cpu"))
    first = segment_image(predictor, None, str(image), WORDS, Controls("full", 10.0, 0.5))
    again = segment_image(predictor, first.seen, str(image), "a sheep, the moon", Controls("full", 0.0, 0.0))
    assert len(first.map.segments) > 0
    assert again.network_seconds == 0
    assert again.map.vocabulary.names == ("a sheep", "the moon")
    assert torch.equal(predictor(image, WORDS, modulation="full").ids, first.map.ids)
    own = segment_image(predictor, first.seen, str(image), WORDS, Controls(own_recognizer(predictor)))
    assert torch.equal(predictor(image, WORDS).ids, own.map.ids)


def test_a_set_is_evaluated(weights, compose, world_overrides, tmp_path) -> None:
    given = [f"checkpoint={weights.folder}", f"output={tmp_path}", "device=cpu", "panels=0", "show=false", "overlap=0"]
    settings = "settings=[geometric_ensemble/fcclip,coat/fcclip,query_only/cls,full/cls]"
    results = evaluate(compose("evaluate", *world_overrides, "world=scenes", *given, settings)).metrics
    values = [results[f"scenes/{s}/PQ"] for s in ("geometric_ensemble/fcclip", "query_only/cls", "full/cls")]
    assert all(0 <= value <= 100 for value in values)
    assert {"scenes_novel/coat/fcclip/mIoU", "scenes/full/cls/PQ"} <= results.keys()
