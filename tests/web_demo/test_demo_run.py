"""The page's command: which models and examples it offers."""

from __future__ import annotations

import json
import os
import shlex
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from documented import ROOT, commands
from omegaconf import OmegaConf
from PIL import Image

from opsnet.commands.demo import main
from opsnet.utils.errors import InputError
from opsnet.web_demo.run import loaders, newest_checkpoint
from scripts.web_demo.visitor import served


def test_the_newest_run_is_found_in_any_folder(tmp_path) -> None:
    for age, folder in ((30, "a/2026"), (10, "make_run_seed0/first/opsnet"), (20, "b")):
        path = tmp_path / folder / "checkpoints" / "last.ckpt"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        os.utime(path, (time.time() - age, time.time() - age))
    assert newest_checkpoint(tmp_path) == tmp_path / "make_run_seed0/first/opsnet/checkpoints/last.ckpt"


def test_no_run_is_one_sentence(command, tmp_path) -> None:
    with pytest.raises(InputError, match="no trained network under"):
        newest_checkpoint(tmp_path)
    code, error = command(main, f"hydra.run.dir={tmp_path / 'run'}", f"paths.runs={tmp_path / 'runs'}")
    assert code == 2
    assert "train the miniature with `make run`, or give checkpoint=PATH" in error.splitlines()[-1]


def test_a_missing_gradio_is_one_sentence(command, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, error = command(main, f"hydra.run.dir={tmp_path / 'run'}")
    assert (code, error.splitlines()[-1]) == (2, "error: the page needs gradio: pip install '.[demo]' in the clone")


def test_a_single_model_is_named_by_its_file(compose, lenient_checkpoint) -> None:
    choices = loaders(compose("demo", f"checkpoint={lenient_checkpoint}", "threshold=0.3", "device=cpu"))
    assert list(choices) == ["last.ckpt"]
    assert choices["last.ckpt"]().filtering.threshold == 0.3


def test_several_models_have_names_and_settings_of_their_own(compose, lenient_checkpoint, tmp_path) -> None:
    newest = tmp_path / "runs" / "a" / "checkpoints" / "last.ckpt"
    newest.parent.mkdir(parents=True)
    os.link(lenient_checkpoint, newest)
    models = f"models={{miniature: auto, other: {{checkpoint: {lenient_checkpoint}, clip_model: rn50}}}}"
    choices = loaders(compose("demo", models, f"paths.runs={tmp_path / 'runs'}", "device=cpu"))
    assert list(choices) == ["miniature", "other"]
    assert choices["miniature"]().train_vocabulary.name == "scenes"
    with pytest.raises(InputError, match="clip_model"):  # a checkpoint has its own: the setting has arrived
        choices["other"]()


@pytest.mark.parametrize(
    "line", [line for line in commands(ROOT / "docs" / "demo.md") if line.startswith("opsnet-demo")]
)
def test_the_commands_of_the_documentation(line, compose, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("last.ckpt", "fcclip_convnext.pth", "fcclip_rn50.pth", "runs/a/checkpoints/last.ckpt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    config = compose("demo", f"paths.runs={tmp_path / 'runs'}", *shlex.split(line)[1:])
    expected = {"miniature": ["miniature", "FC-CLIP"], "mine": ["mine", "ResNet"]}
    assert list(loaders(config)) == next((names for name, names in expected.items() if name in line), ["last.ckpt"])


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("{a: /none.ckpt}", r"models\.a: /none\.ckpt does not exist: give the path"),
        ("{a: [1]}", r"models\.a must be a path, or a mapping"),
        ("{a: {checkpoint: /, weights: b}}", r"models\.a must be a path, or a mapping"),
        ("{a: /}, checkpoint=b", "checkpoint is for a single model"),
    ],
)
def test_invalid_models_are_refused_before_anything_is_loaded(models, message, compose) -> None:
    models, _, checkpoint = models.partition(", checkpoint=")
    config = compose("demo", f"models={models}")
    config.checkpoint = checkpoint or None
    with pytest.raises(InputError, match=message):
        loaders(config)


def test_the_examples_are_those_of_a_folder(compose, lenient_checkpoint, tmp_path, monkeypatch) -> None:
    pytest.importorskip("gradio")
    from opsnet.web_demo.run import demo

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # the page changes it
    config = compose("demo", f"checkpoint={lenient_checkpoint}", "device=cpu", f"examples={tmp_path / 'none'}")
    with pytest.raises(InputError, match="none is not a folder: give a folder of images"):
        demo(config)
    config = OmegaConf.merge(config, {"examples": None})
    page, uploads = demo(config)
    assert uploads.is_dir() and str(uploads) == page.GRADIO_CACHE
    shown = next(block for block in page.blocks.values() if getattr(block, "elem_id", None) == "examples")
    assert [Path(row[0]["path"]).name for row in shown.samples] == [
        "scenes.png", "scenes_novel.png", "scenes_street.png",
    ]  # fmt: skip


def asked(address: str, path: Path) -> str:
    """All that the page answers to a request to segment a file of its machine, as no browser sends it."""
    config = json.load(urllib.request.urlopen(f"{address}/config"))
    ids = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
    (number,) = (i for i, f in enumerate(config["dependencies"]) if [ids["go"], "click"] in f["targets"])
    inputs = config["dependencies"][number]["inputs"]
    values = {c["id"]: c["props"].get("value") for c in config["components"]}
    data = [{ids["image"]: {"path": str(path)}, ids["words"]: "sea"}.get(i, values[i]) for i in inputs]
    body = json.dumps({"data": data, "fn_index": number, "session_hash": "visitor"}).encode()
    request = urllib.request.Request(f"{address}/gradio_api/queue/join", body, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request)
    except urllib.error.HTTPError as refusal:
        return f"{refusal.code}: {refusal.read().decode()}"
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash=visitor", timeout=60) as answer:
        return str(answer.read().decode())


@pytest.mark.slow
def test_no_file_of_the_server_is_shown(lenient_checkpoint, tmp_path) -> None:
    pytest.importorskip("gradio")
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "secret.png")
    os.mkfifo(tmp_path / "pipe.png")
    with served(tmp_path, f"checkpoint={lenient_checkpoint}", "device=cpu", "threshold=0") as address:
        for name in ("pipe.png", "secret.png"):
            answer = asked(address, tmp_path / name)
            assert "400: " in answer and "the image is not on the server: upload it" in answer
            assert "data:image" not in answer


@pytest.mark.slow
def test_a_terminated_page_leaves_no_file(lenient_checkpoint, tmp_path, monkeypatch) -> None:
    pytest.importorskip("gradio")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with served(tmp_path, f"checkpoint={lenient_checkpoint}", "device=cpu"):
        (page,) = folder.glob("opsnet-page-*")
        assert {path.name for path in page.iterdir()} == {"examples", "uploads"}
    assert list(folder.glob("opsnet-page-*")) == []
