"""``--help`` of every command: short, with keys that exist and examples that work."""

from __future__ import annotations

import json
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import pytest
from documented import run_documented
from omegaconf import OmegaConf
from PIL import Image

from opsnet.commands.arguments import key_and_value, overrides_of, read_arguments
from opsnet.commands.keys import all_keys
from opsnet.utils.configuration import config_dir

CONFIGURED = ["demo", "doctor", "evaluate", "export", "predict", "train", "train_clip"]
COMMANDS = [*CONFIGURED, "prepare", "score"]


def help_of(name: str):
    return import_module(f"opsnet.commands.{name}").HELP


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_short_and_has_an_example_for_every_use(name: str) -> None:
    text = help_of(name).text()
    lines = text.splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120
    assert lines[0].startswith(f"opsnet-{name.replace('_', '-')}: ")
    assert len(help_of(name).examples) >= 5
    assert all(f"  {command}" in text and purpose in text for purpose, command in help_of(name).examples)
    if name in CONFIGURED:
        assert "--cfg job" in text
    for page in [word.strip("().,;") for word in help_of(name).more.split() if word.startswith("docs/")]:
        assert (config_dir().parent / page).is_file(), page


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_printed_whatever_else_is_given(name: str, command, capsys, monkeypatch) -> None:
    main = import_module(f"opsnet.commands.{name}").main
    given = ["own", "--help"] if name == "prepare" else ["nonsense=1", "-h"]
    if name in ("prepare", "score"):
        main(["--help"])
    else:
        monkeypatch.setattr("sys.argv", ["command", *given])
        main()
    assert capsys.readouterr().out == help_of(name).text() + "\n"


@pytest.mark.parametrize("name", CONFIGURED)
def test_its_keys_exist(name: str, compose) -> None:
    cfg = compose(name, "data=own") if name in ("doctor", "evaluate", "train") else compose(name)
    known = {*all_keys(cfg), "-m"}
    known |= {path.name for path in config_dir().iterdir() if path.is_dir()}
    given = {key for keys in help_of(name).keys for key in keys.split(", ") if not keys.startswith("any key")}
    assert given <= known


def examples(*names: str) -> list[str]:
    return [line for name in names for _, line in help_of(name).examples]


@pytest.mark.parametrize("line", examples(*CONFIGURED))
def test_its_examples_compose(line: str, compose, tmp_path: Path) -> None:
    name, *arguments = shlex.split(line)
    config = name.removeprefix("opsnet-").replace("-", "_")
    overrides = overrides_of(read_arguments(arguments))
    if config == "doctor" and any(argument.startswith("experiment=") for argument in arguments):
        config = "train"
    overrides = [o.partition(",")[0] if "-m" in arguments else o for o in overrides]
    cfg = compose(config, *overrides, *([] if "output=" in line else [f"output={tmp_path}"]))
    for override in overrides:
        key, _ = key_and_value(override)
        assert OmegaConf.select(cfg, key, default=None) is not None or (config_dir() / key).is_dir(), key


SMALL = {  # an example of each command, with what makes it small
    "opsnet-train experiment=scenes seed=1": ["trainer.max_epochs=1", "trainer.accelerator=cpu", "hydra.run.dir=out"],
    'opsnet-predict checkpoint=last.ckpt image=photo.jpg vocabulary="car, sky"': ["hydra.run.dir=out"],
    "opsnet-evaluate checkpoint=last.ckpt settings=[full/cls_iou,clip_only/cls_iou]": ["hydra.run.dir=out"],
    "opsnet-export checkpoint=last.ckpt output=opsnet.pt2": ["hydra.run.dir=out", "tolerance=1"],
    'opsnet-doctor vocabulary="red car, sky" train=ade20k clip=tiny': ["hydra.run.dir=out"],
    "opsnet-train-clip": ["hydra.run.dir=out"],
    "opsnet-score gt=panoptic_val.json pred=predictions.json": [],
    "opsnet-prepare own coco images instances.json set=train": ["dst=own"],
}


@pytest.fixture
def folder(tmp_path: Path, world, lenient_checkpoint: Path) -> Path:
    """A folder with everything that the examples name."""
    shutil.copy(lenient_checkpoint, tmp_path / "last.ckpt")
    Image.new("RGB", (64, 64), "green").save(tmp_path / "photo.jpg")
    annotations = world.data / "scenes_0" / "scenes" / "annotations"
    for name in ("panoptic_val", "predictions"):
        shutil.copy(annotations / "panoptic_val.json", tmp_path / f"{name}.json")
        shutil.copytree(annotations / "panoptic_val", tmp_path / name)
    write_instances(tmp_path)
    return tmp_path


def write_instances(folder: Path) -> None:
    """A COCO json of one box in one image."""
    (folder / "images").mkdir()
    Image.new("RGB", (8, 6)).save(folder / "images" / "a.png")
    box = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]], "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 6}],
        "annotations": [{**box, "area": 12, "bbox": [1, 1, 4, 3]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))


@pytest.mark.parametrize("line", SMALL)
def test_an_example_of_each_command_runs(line: str, folder: Path, command, world_overrides, monkeypatch) -> None:
    assert any(line in examples(name) for name in COMMANDS)
    monkeypatch.chdir(folder)
    more = {"opsnet-train ": world_overrides, "opsnet-evaluate ": world_overrides}
    more |= dict.fromkeys(("opsnet-doctor ", "opsnet-train-clip"), world_overrides[:1])
    data = next((words for name, words in more.items() if line.startswith(name)), [])
    run_documented(shlex.split(line), command, *SMALL[line], *data)


def test_every_command_has_one_that_runs() -> None:
    assert {line.split()[0] for line in SMALL} == {help_of(name).name for name in COMMANDS} - {"opsnet-demo"}


def test_the_demos_example_serves_the_newest_run(
    tmp_path: Path, lenient_checkpoint: Path, command, monkeypatch
) -> None:
    from opsnet.commands import demo

    served: list[str] = []
    monkeypatch.setattr("opsnet.web_demo.run.serve", lambda cfg: served.append(json.dumps([cfg.checkpoint, cfg.host])))
    line = "opsnet-demo checkpoint=last.ckpt host=0.0.0.0 auth=visitor"
    assert line in examples("demo")
    assert command(demo.main, *shlex.split(line)[1:], f"hydra.run.dir={tmp_path / 'run'}") == (0, "")
    assert served == ['["last.ckpt", "0.0.0.0"]']
