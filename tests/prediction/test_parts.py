"""The notes of a prediction that is not complete: what is read of them after a kill, and when they may be continued."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from opsnet.prediction.image_writing import WrittenImage
from opsnet.prediction.origin import made_from
from opsnet.prediction.parts import Parts
from opsnet.utils.errors import InputError
from opsnet.utils.files import WriteError

CATEGORIES = [{"id": 1, "name": "cat"}]


def image(name: str) -> WrittenImage:
    return WrittenImage(name, {"id": name}, [{"bbox": [1, 2, 3, 4]}], [{"score": 0.1 + 0.2}], ["w"], {"named": 2})


def test_what_two_ranks_note_is_read_whole(tmp_path) -> None:
    first, second = (Parts(tmp_path, rank) for rank in (0, 1))
    first.start({"a": "1"})
    first.add(0, image("x"), CATEGORIES)
    second.add(1, image("y"), CATEGORIES)
    first.add(2, image("z"), CATEGORIES)
    assert Parts(tmp_path).read() == (CATEGORIES, {0: image("x"), 1: image("y"), 2: image("z")})
    first.remove()
    assert not first.exist()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WriteError, match="parts was removed while images were written"):
        first.read()
    with pytest.raises(WriteError, match=r"0\.jsonl cannot be written \(No such file or directory\)"):
        first.add(3, image("x"), CATEGORIES)


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_half_a_line_of_a_killed_process_is_no_image_and_does_not_spoil_the_next(cut, tmp_path) -> None:
    parts = Parts(tmp_path)
    parts.start({})
    for number, name in enumerate("xy"):
        parts.add(number, image(name), CATEGORIES)
    file = tmp_path / "parts" / "0.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    assert list(Parts(tmp_path).read()[1]) == ([0, 1] if cut == 1 else [0])  # 1: only the end of the line is missing
    again = Parts(tmp_path)
    again.add(2, image("z"), CATEGORIES)
    assert again.read()[1][2] == image("z")
    assert again.read()[1][0] == image("x")


def test_an_image_that_has_changed_is_left_out(tmp_path) -> None:
    stamps: dict[int, object] = {0: [10, 20], 1: None}
    parts = Parts(tmp_path, stamp=stamps.get)
    parts.start({})
    parts.add(0, image("x"), CATEGORIES)
    parts.add(1, image("y"), CATEGORIES)
    assert list(parts.read()[1]) == [0, 1]
    stamps[0] = [10, 21]
    assert list(parts.read()[1]) == [1]


def test_parts_of_other_settings_are_refused(tmp_path) -> None:
    parts = Parts(tmp_path)
    parts.require_same({"top_k": "a"})
    parts.start({"top_k": "a", "task": "b"})
    parts.require_same({"top_k": "a", "task": "b"})
    message = r"prediction that is not complete, made with other settings \(top_k\): give the same .*overwrite=true"
    with pytest.raises(InputError, match=message):
        parts.require_same({"top_k": "c", "task": "b"})
    with pytest.raises(InputError, match=r"\(semantic\)"):
        parts.require_same({"top_k": "a", "task": "b", "semantic": "c"})
    (tmp_path / "parts" / "made_from.json").write_text("[")
    with pytest.raises(InputError, match=r"\(top_k\)"):
        parts.require_same({"top_k": "a"})


def test_what_results_are_made_from(compose, tmp_path) -> None:
    (tmp_path / "a.ckpt").write_bytes(b"one")
    given = [f"checkpoint={tmp_path / 'a.ckpt'}", "image=x", "vocabulary=coco", f"output={tmp_path}"]
    base = compose("predict", *given)

    def of(images: object = ("a.png",), device: str = "cpu", **more: object) -> dict[str, str]:
        cfg = base.copy()
        for key, value in more.items():
            OmegaConf.update(cfg, key.replace("__", "."), value)
        return made_from(cfg, images, device)

    def different(**more: object) -> set[str]:
        found = of(**more)
        return {key for key in {**found, **before} if found.get(key) != before.get(key)}

    before = of()
    assert made_from(compose("predict", *given, "trainer=ddp", "trainer.devices=2"), ["a.png"], "cpu") == before
    assert different(image="y", output="z", overwrite=True, num_workers=0) == set()
    assert different(top_k=2, filtering__threshold=0.3) == {"top_k", "filtering"}
    assert different(batch_size=4, vocabulary="ade20k") == {"batch_size", "vocabulary"}
    assert different(images=["b.png"], device="cuda") == {"images", "device"}
    (tmp_path / "b.ckpt").write_bytes(b"one")
    assert different(checkpoint=str(tmp_path / "b.ckpt")) == set()  # the content counts
    (tmp_path / "a.ckpt").write_bytes(b"two")
    assert different() == {"checkpoint"}


def test_a_folder_of_masks_counts_by_names_sizes_and_times(compose, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(b"one")
    cfg = compose("predict", "image=x", "vocabulary=coco", "output=x", f"masks={tmp_path / 'masks'}")
    before = made_from(cfg, [], "cpu")
    assert made_from(cfg, [], "cpu") == before
    os.utime(tmp_path / "masks" / "a.png", (1, 1))
    assert made_from(cfg, [], "cpu")["masks"] != before["masks"]
    assert json.dumps(before)
