"""opsnet-predict on two ranks, stopped and resumed: the same files as one rank writes without a break."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.prediction.outcome import Outcome
from opsnet.prediction.predictor import Predictor
from opsnet.prediction.run import predict, share
from opsnet.prediction.writing import PredictionWriter
from opsnet.utils.errors import InputError
from opsnet.utils.ranks import Ranks

WORDS = "red circle, green stripes, blue square"
SIZES = ((53, 37), (40, 60), (53, 37), (64, 64), (53, 37), (33, 70), (53, 37))
TASKS = {"panoptic": "panoptic.json", "semantic": "semantic.json", "instance": "instances.json"}


def draw(folder: Path, count: int) -> Path:
    """``count`` images of several sizes and formats, two of them of one stem, and one that is none."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(count):
        pixels = generator.integers(0, 255, (*SIZES[i % len(SIZES)], 3), dtype=np.uint8)
        pixels[5:25, 5:25] = (220, 30, 30)
        Image.fromarray(pixels).save(folder / f"{i // 2 if i < 2 else i:03d}.{'jpg' if i % 2 else 'png'}")
    (folder / "004.png").write_text("no image")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return draw(tmp_path / "images", 7)


@pytest.fixture(scope="module")
def trained_model(lenient_checkpoint):
    return load_checkpoint(lenient_checkpoint, device="cpu")


@pytest.fixture
def config(compose, lenient_checkpoint, images, tmp_path, monkeypatch, trained_model) -> Callable[..., Any]:
    """(output, overrides) -> a configuration; the checkpoint is read once for all tests."""
    monkeypatch.setattr("opsnet.prediction.opening.load", lambda *_, **__: Predictor(trained_model))

    def make(output: str, *overrides: str):
        given = [f"checkpoint={lenient_checkpoint}", f"image={images}", f"vocabulary='{WORDS}'", "device=cpu"]
        given += [f"output={tmp_path / output}", "filtering.threshold=0", "batch_size=2", "top_k=2"]
        return compose("predict", *given, *overrides)

    return make


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def results(folder: Path) -> dict[str, bytes]:
    """All files of a prediction but the parts, which are left where an image was skipped."""
    return {name: data for name, data in content(folder).items() if not name.startswith("parts/")}


class Threads(threading.local):
    """Two ranks as threads of one process: the rank of the thread, and what all have gathered."""

    rank = 0


class ThreadRanks(Ranks):
    """Gathers between threads."""

    def gather(self, value: Any) -> list[Any]:
        barrier, values = self.group
        values[self.rank] = value
        barrier.wait(60)
        found = list(values)
        barrier.wait(60)
        return found


@pytest.fixture
def on_two_ranks(monkeypatch) -> Callable[[Any], list[Outcome]]:
    """Runs a prediction as two ranks."""
    local, group = Threads(), (threading.Barrier(2), [None, None])

    @contextmanager
    def start(trainer: Any, device: str) -> Iterator[Ranks]:
        yield ThreadRanks(local.rank, 2, device, group)

    def run(cfg: Any) -> list[Outcome]:
        monkeypatch.setattr("opsnet.prediction.run.start_ranks", start)
        outcomes: list[Any] = [None, None]

        def work(rank: int) -> None:
            local.rank = rank
            outcomes[rank] = predict(cfg)

        threads = [threading.Thread(target=work, args=(rank,)) for rank in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        return outcomes

    return run


@pytest.mark.parametrize("task", [t if t == "panoptic" else pytest.param(t, marks=pytest.mark.slow) for t in TASKS])
def test_two_ranks_write_what_one_writes(task, config, tmp_path, on_two_ranks, capsys) -> None:
    alone = predict(config("one", f"task={task}", "num_workers=0"))
    printed = capsys.readouterr()
    first, second = on_two_ranks(config("two", f"task={task}"))
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    assert {TASKS[task], "segments.csv", "000_overlay.png", "000.png_overlay.png"} <= set(one)
    assert two == one
    assert (alone.done, first.done, second.done) == (6, 6, 0)
    assert first.failed == alone.failed and "004.png cannot be read as an image" in first.failed[0]
    assert first.warnings.lines() == alone.warnings.lines()
    told = capsys.readouterr()
    assert told.out.startswith("6 of 7 images, ") and printed.out.startswith("6 of 7 images, ")
    assert " ".join(told.err.split()).count("skipped: ") == 1


def test_images_are_shared_in_blocks_and_none_is_left_out() -> None:
    for count in range(12):
        shares = [[n for n, _ in share(enumerate(range(count)), {4}, 3, Ranks(rank, 2))] for rank in (0, 1)]
        assert sorted(shares[0] + shares[1]) == list(range(count))
        assert all(n // 3 % 2 == rank for rank in (0, 1) for n in shares[rank])
    done = set(range(6)) | {7}
    assert [n for n, _ in share(enumerate(range(9)), done, 3, Ranks())] == [6, 7, 8]  # a block is predicted whole


class Killed(BaseException):
    """What a kill leaves: no table is written after it."""


def killed_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    add, finish = PredictionWriter.add, PredictionWriter.__exit__

    def counted(self, *args: Any, **kwargs: Any) -> None:
        if self.count >= count:
            raise Killed
        add(self, *args, **kwargs)

    monkeypatch.setattr(PredictionWriter, "add", counted)
    monkeypatch.setattr(PredictionWriter, "__exit__", lambda self, kind, *more: None if kind else finish(self, kind))


@pytest.mark.parametrize("count", [pytest.param(0, marks=pytest.mark.slow), 3, pytest.param(5, marks=pytest.mark.slow)])
def test_a_killed_prediction_is_continued(count, config, tmp_path, monkeypatch, capsys, on_two_ranks) -> None:
    predict(config("whole"))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_after(patch, count)
        predict(config("broken", "num_workers=0"))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "broken").glob("*_overlay.png")}
    assert len(before) == count
    for name in (".002_overlay.4711.png", ".panoptic.4711.json"):  # what a kill leaves of a file that is being written
        (tmp_path / "broken" / name).touch()
    capsys.readouterr()
    outcome = on_two_ranks(config("broken"))[0]
    assert (outcome.done, outcome.resumed, len(outcome.failed)) == (6, count, 1)
    assert results(tmp_path / "broken") == results(tmp_path / "whole")
    rewritten = {p.name for p, changed in before.items() if p.stat().st_mtime_ns != changed}
    # Blocks are 000.jpg and 000.png, 002 and 003, 004 (damaged) and 005, 006: one that is not complete is written anew.
    assert rewritten <= {"002_overlay.png", "005_overlay.png"}
    if count:
        assert f"6 of 7 images ({count} of them by an earlier run)" in capsys.readouterr().out


@pytest.mark.slow
def test_an_image_that_was_skipped_is_tried_again(config, images, tmp_path) -> None:
    assert len(predict(config("out")).failed) == 1
    assert (tmp_path / "out" / "parts").is_dir()
    Image.new("RGB", (30, 30), (9, 9, 200)).save(images / "004.png")
    outcome = predict(config("out"))
    assert (outcome.done, outcome.resumed, outcome.failed) == (7, 6, [])
    assert not (tmp_path / "out" / "parts").exists()
    predict(config("fresh"))
    assert content(tmp_path / "out") == content(tmp_path / "fresh")
    with pytest.raises(InputError, match=r"has the results of an earlier prediction \(segments\.csv, panoptic\.json\)"):
        predict(config("out"))


@pytest.mark.slow
def test_results_of_other_settings_are_not_mixed(config, images, tmp_path) -> None:
    predict(config("out"))  # an image is skipped: not complete
    with pytest.raises(InputError, match=r"made with other settings \(top_k\): .*overwrite=true to replace"):
        predict(config("out", "top_k=1"))
    assert predict(config("out", "resume=false", "top_k=1")).resumed == 0
    assert predict(config("out", "overwrite=true", "top_k=1")).resumed == 6
    assert predict(config("out", "overwrite=true")).resumed == 0
    Image.new("RGB", (30, 30)).save(images / "003.jpg")  # changed: it, and the other of its block, are predicted again
    assert predict(config("out")).resumed == 5
    predict(config("fresh"))
    assert results(tmp_path / "out") == results(tmp_path / "fresh")
    with pytest.raises(InputError, match=r"made with other settings \(images\)"):
        (images / "008.png").write_bytes((images / "002.png").read_bytes())
        predict(config("out"))


@pytest.mark.slow
def test_shards_give_what_the_folder_gives(config, images, tmp_path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for path in sorted(images.iterdir()):
            tar.add(path, path.name)
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in sorted(images.iterdir())))
    predict(config("folder"))
    for name in ("shard.tar", "list.txt"):
        outcome = predict(config(name.partition(".")[0], f"image={tmp_path / name}"))
        assert (outcome.done, len(outcome.failed)) == (6, 1)
    assert results(tmp_path / "shard") == results(tmp_path / "folder")
    assert results(tmp_path / "list") == results(tmp_path / "folder")


# --- real processes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def start(lenient_checkpoint, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """(images, output, overrides) -> the command's process."""

    def run(images: Path | str, output: str, *overrides: str) -> subprocess.Popen[str]:
        given = [f"checkpoint={lenient_checkpoint}", f"image={images}", f"vocabulary={WORDS}", "filtering.threshold=0"]
        given += [f"output={tmp_path / output}", "device=cpu", "batch_size=2"]
        return subprocess.Popen(
            [sys.executable, "-m", "opsnet.predict", *given, *overrides], cwd=tmp_path, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    return run


TWO = ("trainer=ddp", "trainer.devices=2")


@pytest.mark.slow
def test_two_processes_write_what_one_writes(start, images, tmp_path) -> None:
    """And two read a shard where one reads a folder."""
    shards = tmp_path / "shards"
    shards.mkdir()
    with tarfile.open(shards / "0.tar", "w") as tar:
        for path in sorted(images.iterdir()):
            tar.add(path, path.name)
    for task in TASKS:
        told = []
        for name, source, more in (("one", images, ()), ("two", f"{shards}/*.tar", TWO)):
            process = start(source, f"{name}-{task}", f"task={task}", *more)
            out, error = process.communicate(timeout=400)
            assert process.returncode == 1, error  # an image is skipped
            assert error.count("skipped: ") == 1
            told.append(out.splitlines()[0].partition(",")[0])
        assert told == ["6 of 7 images"] * 2
        assert results(tmp_path / f"two-{task}") == results(tmp_path / f"one-{task}")


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(start, tmp_path) -> None:
    images = draw(tmp_path / "images", 61)
    assert start(images, "whole").wait(400) == 1
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        process = start(images, "broken", *TWO)
        wanted = random.randrange(60)
        while process.poll() is None and len(list((tmp_path / "broken").glob("*_overlay.png"))) < wanted:
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=400)  # until the other rank too has ended
    process = start(images, "broken", *TWO)
    _, error = process.communicate(timeout=400)
    assert process.returncode == 1, error
    assert results(tmp_path / "broken") == results(tmp_path / "whole")
    assert len(json.loads((tmp_path / "broken" / "panoptic.json").read_text())["images"]) == 60


@pytest.mark.slow
def test_an_error_of_all_ranks_is_told_once(start, images) -> None:
    process = start(images, "out", "checkpoint=no.ckpt", *TWO)
    _, error = process.communicate(timeout=400)
    assert process.returncode == 2
    assert error.count("no.ckpt does not exist") == 1
