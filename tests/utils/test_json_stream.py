"""stream_json: the values of json.loads, whatever the size of what is read at a time; the errors of read_json."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from opsnet.utils import json_stream
from opsnet.utils.json_stream import stream_json
from opsnet.utils.structured_files import FileError, read_json


def collected(path: Path) -> dict[str, Any]:
    """The object, put together again."""
    found: dict[str, Any] = {}
    for key, number, value, *_ in stream_json(path, ("a", "b"), what="a test"):
        if number is None:
            found[key] = value
        else:
            assert len(found[key]) == number
            found[key].append(value)
    return found


def anything(rng: Random, depth: int = 3) -> Any:
    kind = rng.randrange(8 if depth else 6)
    if kind < 6:
        text = "".join(rng.choices('ab"\\]}{[,: \n€\U0001f600', k=rng.randrange(9)))
        return [None, True, rng.randrange(-(10**9), 10**9), rng.random() * 1e30, text, "12"][kind]
    values = [anything(rng, depth - 1) for _ in range(rng.randrange(5))]
    return values if kind == 6 else {f"{i}": value for i, value in enumerate(values)}


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_values_are_those_of_json(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    path, streamed = tmp_path / "a.json", 0
    for seed in range(200):
        rng = Random(seed)
        data = {key: anything(rng) for key in rng.sample(["a", "b", "c", "d"], rng.randrange(5))}
        if seed % 2:
            data["a"] = [anything(rng) for _ in range(rng.randrange(6))]
        style = rng.choice([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])
        path.write_text(json.dumps(data, **style), encoding=rng.choice(["utf-8", "utf-8-sig"]))
        assert collected(path) == data
        content = path.read_bytes()
        for entry in stream_json(path, ("a", "b"), what="a test"):
            if entry.number is not None:
                assert json.loads(content[entry.start : entry.end]) == entry.value
                assert content[entry.start : entry.end].strip() == content[entry.start : entry.end]
        streamed += isinstance(data.get("a"), list) and len(data["a"]) > 1
    assert streamed > 50


def test_of_a_key_given_twice_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2], "c": 1, "a": [3], "c": 2}')
    assert collected(path) == json.loads(path.read_text()) == {"a": [3], "c": 2}


DAMAGED = [
    *("", "{", '{"a"', '{"a":', '{"a": [', '{"a": [1', '{"a": [1,', '{"a": [1,]}', '{"a": [1 2]}', '{"a": [1]'),
    *('{"a": [1],}', '{"a": [1]} x', "{1: 2}", '{"a" 1}', '{"a": [{"b": 1]}', '{"c": tru}', "{,}", '{"a": [nope]}'),
    *('{"a": [1.]}', '{"a": [-]}', '{"a": [' + "[" * 100_000, '{"c": ' + "9" * 5000 + "}"),
]


@pytest.mark.parametrize("text", DAMAGED, ids=lambda text: text[:20])
def test_a_damaged_file_is_refused_as_if_read_at_once(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FileError) as whole:
        read_json(path)
    with pytest.raises(FileError) as streamed:
        collected(path)
    assert str(streamed.value) == str(whole.value)


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_file_that_is_cut_off_is_refused(cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 5)
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": [{"x": [1, 2]}, {"y": "text"}], "b": [1], "c": {"d": 2}})[:cut])
    with pytest.raises(FileError, match=r"^is not valid json \(.*line 1"):
        collected(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(FileError, match="does not exist"):
        collected(path)
    path.write_text("[1]")
    with pytest.raises(FileError, match="^holds a list, not a test: convert it to an object$"):
        collected(path)
    path.write_bytes(b'{"a": ["\xff"]}')
    with pytest.raises(FileError, match="^is not UTF-8 text"):
        collected(path)
    path.write_text('{"a": [1, 2, 3]}')
    with pytest.raises(FileError, match="^has 16 bytes, more than the 9 that are read"):
        list(stream_json(path, ("a",), what="a test", largest=9))


def test_an_error_of_the_reader_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2, 3]}')
    with pytest.raises(ValueError, match="^mine$"):
        for entry in stream_json(path, ("a",), what="a test"):
            if entry.number == 1:
                raise ValueError("mine")


def test_only_a_part_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 1000)
    longest = 0
    more = json_stream._Reader._more

    def noted(self: json_stream._Reader) -> None:
        nonlocal longest
        more(self)
        longest = max(longest, len(self._text))

    monkeypatch.setattr(json_stream._Reader, "_more", noted)
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": [{"number": i} for i in range(10_000)]}))
    assert sum(1 for _ in stream_json(path, ("a",), what="a test")) == 10_001
    assert 1000 <= longest < 1100 < path.stat().st_size
