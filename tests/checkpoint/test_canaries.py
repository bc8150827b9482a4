"""Files of other people, of every kind that is read: nothing in them runs, reads, writes or is interpolated.

Each holds what an attacker would try: a pickle that runs a program, names of functions, interpolations of an
environment variable, absolute paths and ``../``, links to a private file, pipes, tags and entities. All that counts is
that nothing happens and that no secret comes back, in a result or a message.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import string
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import open_clip  # noqa: F401 - its import makes temporary folders
import pytest
import torch
from canaries import SECRET, watched
from PIL import Image
from safetensors.torch import save_file

from opsnet.checkpoint.loading import check_resume
from opsnet.checkpoint.reading import read_checkpoint
from opsnet.clip.loading import load_clip
from opsnet.clip.text_cache import TextCache
from opsnet.clip.tiny import tiny_clip
from opsnet.data.coco_panoptic import PanopticJson
from opsnet.evaluation.store import open_domain, stored_origin
from opsnet.paper.runs import Runs
from opsnet.paper.trainings import training_of
from opsnet.paper.worlds import load_world
from opsnet.preparation.own_coco import prepare_coco
from opsnet.preparation.own_cvat import prepare_cvat
from opsnet.preparation.own_destination import Destination
from opsnet.preparation.own_yolo import prepare_yolo
from opsnet.published.open_model import open_model
from opsnet.segmenter.backbone import Backbone
from opsnet.segmenter.published.weight_files import read_weights
from opsnet.sweep.sweep import newest_sweep
from opsnet.training.callbacks.record import RUN_ID, keep_run_id
from opsnet.training.checkpoint_io import DurableCheckpointIO
from opsnet.training.csv_logger import read_rows
from opsnet.training.initial import with_initial_clip
from opsnet.training.resume import find_resume
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree

ENV = "${oc.env:CANARY_SECRET}"


@dataclass(frozen=True)
class Place:
    """The folders of a test.

    Attributes:
        folder: holds what the other person sent; files may be written there.
        private: a file with the secret, beside it.
        canary: a file that must never exist.
    """

    folder: Path
    private: Path
    canary: Path

    @property
    def shell(self) -> str:
        """A command that makes the canary."""
        return f"touch {self.canary}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("CANARY_SECRET", SECRET)
    for name in ("sent", "private"):
        (tmp_path / name).mkdir()
    (tmp_path / "private" / "file.txt").write_text(f"{SECRET}\n")
    Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "private" / "photo.png")
    return Place(tmp_path / "sent", tmp_path / "private" / "file.txt", tmp_path / "private" / "canary")


def outcome(place: Place, read: Callable[[], Any]) -> str:
    """What comes back: the result, or the sentence of the refusal; fails if anything else happened."""
    with watched(place.folder, place.private.parent) as found:
        try:
            result = repr(read())
        except InputError as error:
            result = str(error)
            assert "\n" not in result.strip(), result
            assert len(result) < 1500, result
    assert found == []
    assert not place.canary.exists()
    assert SECRET not in result
    for path in place.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert SECRET.encode() not in path.read_bytes(), path
    return result


# --- weights ----------------------------------------------------------------------------------------------------------


class Shell(dict):
    """Unpickles by running a command."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


PICKLES: dict[str, Callable[[Path, Any], Any]] = {
    "pickle": lambda path, value: path.write_bytes(pickle.dumps({"state_dict": value, "opsnet": {}, "model": value})),
    "torch": lambda path, value: torch.save({"state_dict": {"a": value}, "opsnet": {}}, path),
    "torch, old format": lambda path, value: torch.save(
        {"state_dict": {"a": value}, "opsnet": {}}, path, _use_new_zipfile_serialization=False
    ),
}
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "checkpoint": ("some.ckpt", lambda path: open_model(path, device="cpu")),
    "resume": ("some.ckpt", lambda path: check_resume(path, "a", 1)),
    "resume, by Lightning": ("some.ckpt", lambda path: DurableCheckpointIO().load_checkpoint(path)),
    "init_from": ("some.ckpt", lambda path: read_checkpoint(path, key="init_from")),
    "published weights": ("some.pth", lambda path: open_model(path, device="cpu")),
    "published weights of detectron2": ("some.pkl", lambda path: read_weights(path)),
    "published weights as safetensors": ("some.safetensors", lambda path: read_weights(path)),
    "a folder's weights": ("pytorch_model.bin", lambda path: open_model(path.parent, device="cpu")),
    "a folder's own weights": ("model.safetensors", lambda path: open_model(_saved(path), device="cpu")),
    "clip_weights": ("clip.pt", lambda path: load_clip(architecture=tiny_clip, weights=path)),
    "backbone.weights": ("some.pth", lambda path: Backbone(name="resnet18", weights=path)),
}


def _saved(weights: Path) -> Path:
    from opsnet.utils.files import checksum

    about = {"config": {}, "clip_hash": "a", "settings": {}, "sha256": {weights.name: checksum(weights)}}
    (weights.parent / "config.json").write_text(json.dumps({"opsnet": about}))
    return weights.parent


@pytest.mark.parametrize("form", PICKLES)
@pytest.mark.parametrize("reader", READERS)
def test_a_pickle_in_a_weights_file_does_not_run(reader: str, form: str, place: Place) -> None:
    name, read = READERS[reader]
    PICKLES[form](place.folder / name, Shell(place.shell))
    assert name in outcome(place, lambda: read(place.folder / name))


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader != "resume, by Lightning"])
def test_a_pipe_or_a_link_to_a_private_file_is_no_weights_file(reader: str, place: Place) -> None:
    name, read = READERS[reader]
    if "own weights" not in reader:
        os.mkfifo(place.folder / name)
        outcome(place, lambda: read(place.folder / name))  # and it does not wait for somebody to write into it
        (place.folder / name).unlink()
    (place.folder / name).write_bytes(f"{SECRET[:3]} no weights {'x' * 3000}".encode())
    assert "xxx" not in outcome(place, lambda: read(place.folder / name))  # a text file's content is not shown


def test_shards_of_weights_are_beside_their_index(place: Place) -> None:
    for name in ("../private/file.txt", str(place.private), "../x.safetensors", ENV):
        (place.folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
        assert "not a .safetensors file in its folder" in outcome(place, lambda: read_weights(place.folder))


def test_the_clip_of_a_strangers_training_is_a_weights_file(place: Place, compose) -> None:
    """``init_from`` looks for the CLIP where the training had it: the path is checked, and never interpolated."""
    path = place.folder / "some.ckpt"
    for weights in (ENV, str(place.private), f"/x/{ENV}/clip.pt", "../private/file.txt", ["a"]):
        torch.save({"state_dict": {}, "opsnet": {"config": {"clip": {"model": {"weights": weights}}}}}, path)
        cfg = compose("train", f"init_from={path}", f"paths.data={place.folder}")
        outcome(place, lambda cfg=cfg: with_initial_clip(cfg).clip.model.weights)


def test_a_resumed_checkpoint_names_no_files_to_delete(place: Place) -> None:
    """Lightning deletes the checkpoints that it replaces, by the paths in the state of its callback."""
    folder = place.folder / "checkpoints"
    own, others = f"{folder}/best.ckpt", [str(place.private), f"{folder}/../../private", f"{folder}/a/b", "..", 3]
    for other in others:
        best = {other: torch.tensor(0.0), own: torch.tensor(1.0)}
        state = {f"{kind}_model_path": other for kind in ("best", "kth_best", "last")}
        state |= {"dirpath": str(folder), "kth_value": 0.0, "best_k_models": best}
        torch.save({"callbacks": {"ModelCheckpoint": state, "Other": 3}}, place.folder / "last.ckpt")
        read = DurableCheckpointIO().load_checkpoint(place.folder / "last.ckpt")["callbacks"]["ModelCheckpoint"]
        assert read["best_k_models"] == {own: 1}
        assert [read[f"{kind}_model_path"] for kind in ("best", "kth_best", "last")] == [""] * 3


# --- caches, proposals, runs ------------------------------------------------------------------------------------------


def test_a_text_cache_is_only_numbers(place: Place) -> None:
    cache, wanted = TextCache(place.folder), torch.ones(2, 4)
    cache.rows(["a", "b"], lambda names: wanted, clip="x")
    (file,) = place.folder.iterdir()
    for damage in (
        lambda: file.write_bytes(pickle.dumps(Shell(place.shell))),
        lambda: torch.save(Shell(place.shell), file),
        lambda: file.symlink_to(place.folder / "nowhere"),
        lambda: os.mkfifo(file),
        lambda: _bank(file, torch.full((2, 4), torch.nan)),
        lambda: _bank(file, torch.ones(2)),
        lambda: _bank(file, torch.ones(2, 4, dtype=torch.int64)),
    ):
        file.unlink(missing_ok=True)
        damage()
        assert "nan" not in outcome(place, lambda: cache.rows(["a", "b"], lambda names: wanted, clip="x"))


def _bank(file: Path, rows: torch.Tensor) -> None:
    from opsnet.clip import text_cache

    save_file({"rows": rows}, file, metadata={"sha256": text_cache._checksum(rows)})


@pytest.mark.parametrize(
    "change",
    [
        {"rules": {"recognizer": {"_target_": "os.system", "command": "SHELL"}}},
        {"rules": {"filtering": {"kind": ENV}}},
        {"rules": {"filtering": {"_target_": "builtins.open", "file": "PRIVATE"}}},
        {"experiment": "../../../private/file"},
        {"experiment": "PRIVATE"},
        {"experiment": ENV},
        {"vocabulary": {"name": ENV, "categories": "PRIVATE"}},
        {"sources": ["../../private"]},
        {"domain": "../private"},
    ],
    ids=str,
)
def test_stored_proposals_build_and_read_nothing_else(change: dict[str, Any], place: Place) -> None:
    folder = place.folder / "proposals" / "coco"
    folder.mkdir(parents=True)
    about = {"format": 1, "domain": "coco", "sources": ["pooling"], "batches": 1, "vocabulary": {}, **change}
    text = json.dumps(about).replace("SHELL", place.shell).replace("PRIVATE", str(place.private))
    (folder / "domain.json").write_text(text)
    for name in ("text.safetensors", "000000.safetensors"):
        (folder / name).write_bytes(pickle.dumps(Shell(place.shell)))

    def read() -> Any:
        origin = stored_origin(place.folder)
        return training_of(origin.experiment or ""), list(open_domain(place.folder, "coco").batches())

    outcome(place, read)
    (folder / "text.safetensors").unlink()
    outcome(place, lambda: training_of(stored_origin(place.folder).experiment or ""))


_CHOICE = f"runtime: {{choices: {{world: '{ENV}'}}}}"
RUN_YAMLS = {
    "interpolation": f"seed: {ENV}\nhydra: {{{_CHOICE}, overrides: {{task: ['a={ENV}']}}}}",
    "tag": "seed: !!python/object/apply:os.system ['SHELL']\nhydra: !!python/name:os.system",
    "created": "seed: ${oc.create:{_target_:os.system}}\nhydra: ${oc.decode:${oc.env:CANARY_SECRET}}",
    "references": "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise(string.ascii_lowercase)),
    "merged": "a: &a {k: 1}\n"
    + "".join(f"{b}: &{b} {{<<: [*{a}, *{a}]}}\n" for a, b in pairwise(string.ascii_lowercase)),
    "deep": "seed: " + "[" * 100,
    "list": "- 1",
}  # fmt: skip


@pytest.mark.parametrize("kind", RUN_YAMLS)
def test_the_run_of_a_stranger_is_read_as_plain_text(kind: str, place: Place, compose) -> None:
    """Resuming, sweeps and reports read ``.hydra`` and results of runs, which may be somebody else's."""
    run = place.folder / "scenes" / "2026-01-01"
    for path in (run / ".hydra" / "config.yaml", run / ".hydra" / "hydra.yaml", run / "multirun.yaml"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RUN_YAMLS[kind].replace("SHELL", place.shell))
    (run / "checkpoints").mkdir()
    torch.save(Shell(place.shell), run / "checkpoints" / "last.ckpt")
    metrics = {"coco/full/cls_iou/PQ": 1.0}
    results = {"experiment": str(place.private.with_suffix("")), "seed": 0, "metrics": metrics, "domain_similarity": {}}
    (run / "results.json").write_text(json.dumps({**results, "trained_as": "../../private/file"}))
    cfg = compose("train", "resume=auto", "experiment_name=scenes", f"paths.runs={place.folder}", "output=/nowhere")
    outcome(place, lambda: find_resume(cfg))
    (run / "results.json").rename(run / "kept.json")
    outcome(place, lambda: find_resume(cfg))
    (run / "kept.json").rename(run / "results.json")
    outcome(place, lambda: newest_sweep(place.folder / "scenes", ["seed=1"]))
    outcome(place, lambda: [r.training for r in Runs(place.folder).runs])
    outcome(place, lambda: Runs(place.folder).checkpoint("opsnet_r50", load_world("scenes")))


def test_what_a_resumed_run_passes_on_is_not_a_private_file(place: Place) -> None:
    (place.folder / "checkpoints").mkdir()
    for name in (RUN_ID, "metrics.csv"):
        (place.folder / name).symlink_to(place.private)
    new = place.folder / "new"
    outcome(place, lambda: keep_run_id(new, place.folder / "checkpoints" / "last.ckpt"))
    assert (new / RUN_ID).read_text().strip().isalnum()
    assert outcome(place, lambda: read_rows(place.folder / "metrics.csv")) == "[]"
    (place.folder / RUN_ID).unlink()
    (place.folder / RUN_ID).write_text("../../x")
    keep_run_id(new, place.folder / "checkpoints" / "last.ckpt")
    assert (new / RUN_ID).read_text().strip().isalnum()


# --- names ------------------------------------------------------------------------------------------------------------

HOSTILE_YAML = "thing:\n  !!python/object/apply:os.system ['SHELL']: \n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", f"cat\n{ENV}\nPRIVATE\n../private/file.txt\n!!python/name:os.system"),
        ("names.json", json.dumps([ENV, "PRIVATE", "../private/file.txt", "{}", "{0.__class__}"])),
        ("names.json", json.dumps({"categories": [{"id": 1, "name": ENV, "isthing": 1, "synonyms": ["PRIVATE"]}]})),
        ("names.json", json.dumps({"categories": "PRIVATE"})),
        ("names.yaml", HOSTILE_YAML),
        ("names.yaml", f"thing: ['{ENV}', PRIVATE, !!python/object/new:os.system ['SHELL']]"),
        ("names.yaml", f"thing: {{'{ENV}': [PRIVATE], 'wordnet:../../private/file.txt': }}"),
        ("names.yaml", "!include PRIVATE"),
        ("names.csv", "PRIVATE"),
    ],
)
def test_a_list_of_names_is_only_names(name: str, content: str, place: Place) -> None:
    path = place.folder / name
    path.write_text(content.replace("PRIVATE", str(place.private)).replace("SHELL", place.shell))
    outcome(place, lambda: NameTree.load(path) if name.endswith("yaml") else Vocabulary.load(path))
    path.unlink()
    os.mkfifo(path)
    outcome(place, lambda: NameTree.load(path) if name.endswith("yaml") else Vocabulary.load(path))


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../private/photo.png", "PRIVATE", "..\\private\\photo.png", "a/../../private/photo.png"]
)
def test_labels_name_images_inside_their_folder(name: str, place: Place) -> None:
    private = place.private.with_name("photo.png")
    name = name.replace("PRIVATE", str(private))
    (place.folder / "images").mkdir()
    segment = {"id": 1, "category_id": 1, "iscrowd": 0, "area": 4, "bbox": [0, 0, 2, 2]}
    about = {
        "images": [{"id": 1, "file_name": name, "width": 8, "height": 8}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    panoptic = place.folder / "panoptic.json"
    panoptic.write_text(
        json.dumps({**about, "annotations": [{"image_id": 1, "file_name": name, "segments_info": [segment]}]})
    )
    read = PanopticJson(panoptic)
    outcome(place, lambda: read.images())
    outcome(place, lambda: list(read.annotations()))
    coco = place.folder / "coco.json"
    coco.write_text(
        json.dumps({**about, "annotations": [{**segment, "image_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2]]}]})
    )
    to = Destination("train", place.folder / "out", workers=1)
    outcome(place, lambda: prepare_coco(place.folder / "images", coco, to))


@pytest.mark.parametrize(
    "start",
    [
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file://PRIVATE">]>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "file://PRIVATE"> %p; <!ENTITY x "y">]>',
        '<!DOCTYPE a SYSTEM "http://host.invalid/x.dtd" [<!ENTITY x "y">]>',
        "<!DOCTYPE a [<!ENTITY l0 'lol'>" + "".join(f"<!ENTITY l{i} '{f'&l{i - 1};' * 10}'>" for i in range(1, 10))
        + "<!ENTITY x '&l9;'>]>",
    ],
    ids=["file", "parameter", "address", "bomb"],
)  # fmt: skip
def test_entities_of_xml_read_nothing(start: str, place: Place) -> None:
    (place.folder / "images").mkdir()
    path = place.folder / "annotations.xml"
    path.write_text(
        f"{start.replace('PRIVATE', str(place.private))}<annotations><image id='0' name='&x;' width='8' height='8'>"
        "<polygon label='&x;' points='0,0;2,0;2,2'/></image></annotations>"
    )
    to = Destination("train", place.folder / "out", workers=1)
    assert "annotations.xml" in outcome(place, lambda: prepare_cvat(place.folder / "images", path, to))


@pytest.mark.parametrize(
    "content",
    [
        "names: [cat]\ntrain: !!python/object/apply:os.system ['SHELL']",
        f"names: ['{ENV}']\ntrain: '{ENV}'",
        "names: !!python/name:os.system\ntrain: images",
        "names: [cat]\ntrain: images\ndownload: SHELL",
    ],
)
def test_a_yaml_of_yolo_is_only_read(content: str, place: Place) -> None:
    path = place.folder / "data.yaml"
    path.write_text(content.replace("SHELL", place.shell))
    (place.folder / "images").mkdir()
    to = Destination("train", place.folder / "out", workers=1)
    outcome(place, lambda: prepare_yolo(path, to))


def test_the_watch_notices_what_it_is_for(place: Place) -> None:
    """Without this, all of the above could pass because nothing is ever noticed."""
    with watched(place.folder, place.private.parent) as found:
        os.system("true")
        place.private.read_text()
        place.canary.write_text("x")
        place.canary.unlink()
        shutil.copy(__file__, place.folder / "allowed")
    assert [line.split()[0] for line in found] == ["os.system", "reads", "writes", "os.remove"]
    place.canary.touch()
    with pytest.raises(AssertionError):
        outcome(place, lambda: None)
    place.canary.unlink()
    with pytest.raises(AssertionError):
        outcome(place, lambda: os.environ["CANARY_SECRET"])


def test_a_message_cannot_rewrite_the_terminal(place: Place) -> None:
    """Names of other people are in messages: of files, keys, weights and classes."""
    hostile = "a\x1b[2J\x1b]0;x\x07\r\nerror: b\ud800\x9b"
    path = place.folder / "some.ckpt"
    for content in (
        {"state_dict": {hostile: torch.full((1,), torch.nan)}, "opsnet": {}},
        {"state_dict": {hostile: "x"}, "opsnet": {}},
        {"state_dict": {}, "opsnet": {"config": {hostile: 1}, "clip_hash": hostile}},
        {"state_dict": {}, "opsnet": {"config": {"model": {"_target_": hostile}}}},
    ):
        torch.save(content, path)
        assert outcome(place, lambda: open_model(path, device="cpu")).isprintable()
        assert outcome(place, lambda: check_resume(path, "a", 1)).isprintable()
    assert str(InputError(hostile)) == r"a\x1b[2J\x1b]0;x\x07 error: b\ud800\x9b"
