"""Small changes to valid inputs, drawn from a seeded generator: json values, texts, bytes and PNGs."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 255, 256, 2**24 - 1, 2**24, 2**31, 2**53, 2**53 + 1, 2**63, 10**30, 10**400,
    0.5, -0.5, 3.0, 1e-9, 1e308, float("nan"), float("inf"), float("-inf"), "", " ", "0", "1", "3", "true", "NaN", "a",
    ".", "..", "/", "a/b", "../opsnet_canary.png", "../../opsnet_canary.png", "../../../opsnet_canary.png",
    "images/../../../opsnet_canary.png",
    "..\\..\\opsnet_canary.png", "C:\\opsnet_canary.png", "~/opsnet_canary", "~nobody/x", "/etc/passwd",
    "${oc.env:HOME}", "a" * 300,
    "\ud800", "a\0b", "a\nb", "\u202eb", "é", "🙂", "polygon", "none", [], [[]], {}, [None], [0, 0], [[1, 2], [3, 4]],
    [0] * 40, {"id": 1}, {"size": [8, 8], "counts": "04"}, {"a": {"b": {"c": [1, {"d": 2}]}}},
)  # fmt: skip
"""What stands in json where something else belongs; the paths that leave the folder lead to files that are watched."""

NUMBERS = (0, 1, 2, 7, 8, 255, 256, 65535, 65536, 100_000, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
PNG_START = b"\x89PNG\r\n\x1a\n"


def several(rng: Random) -> int:
    """A number of changes: 0 in one case of twenty, and mostly 1 or 2."""
    return 0 if rng.random() < 0.05 else 1 + min(int(rng.expovariate(1.0)), 5)


def mutated_json(rng: Random, value: Any, changes: int | None = None) -> bytes:
    """A json value as the bytes of a file, after changes to its content, and sometimes to its text."""
    value = copy.deepcopy(value)
    for _ in range(several(rng) if changes is None else changes):
        value = change_json(rng, value)
    text = json.dumps(value)
    if rng.random() < 0.15:
        return damaged_text(rng, text)
    return text.encode("utf-8", "surrogatepass")


def change_json(rng: Random, value: Any) -> Any:
    """The value with one change at a random place; containers are changed in place."""
    holder: list[Any] = [value]
    places = list(_places(holder))
    owner, key = rng.choice(places)
    rng.choice(_CHANGES)(rng, owner, key)
    return holder[0] if holder else None


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting and len(found) < 2000:
        owner = waiting.pop()
        pairs = list(owner.items()) if isinstance(owner, dict) else list(enumerate(owner))
        found += [(owner, key) for key, _ in pairs]
        waiting += [item for _, item in pairs if isinstance(item, (dict, list))]
    return found


def _replace(rng: Random, owner: Any, key: Any) -> None:
    owner[key] = copy.deepcopy(rng.choice(VALUES))


def _delete(rng: Random, owner: Any, key: Any) -> None:
    del owner[key]


def _repeat(rng: Random, owner: Any, key: Any) -> None:
    if isinstance(owner, list):
        owner.insert(key, copy.deepcopy(owner[key]))
    else:
        owner[rng.choice(list(owner))] = copy.deepcopy(owner[key])


def _rename(rng: Random, owner: Any, key: Any) -> None:
    if isinstance(owner, dict):
        owner[rng.choice(["id", "name", "", "size", "categories", key.upper() if isinstance(key, str) else "x"])] = (
            owner.pop(key)
        )


def _other_type(rng: Random, owner: Any, key: Any) -> None:
    value = owner[key]
    forms: list[Any] = [[value], {"value": value}, str(value)[:400]]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        forms += [value + 1, -value, value * 1000, *([value + 0.5, float(value)] if abs(value) < 2**53 else [])]
    owner[key] = rng.choice(forms)


def _deeper(rng: Random, owner: Any, key: Any) -> None:
    for _ in range(rng.choice([3, 60, 300])):
        owner[key] = [owner[key]]


_CHANGES: tuple[Callable[[Random, Any, Any], None], ...] = (
    _replace, _replace, _replace, _replace, _delete, _repeat, _rename, _other_type, _other_type, _deeper,
)  # fmt: skip


def damaged_text(rng: Random, text: str) -> bytes:
    """A text as bytes that are cut, repeated, in another encoding, nested deeply, or have a number too long."""
    data, place = text.encode("utf-8", "surrogatepass"), rng.randrange(len(text) + 1)
    kind = rng.randrange(9)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes([rng.randrange(256)]) + data[place:]
    if kind == 2:
        return text.encode("utf-16", "surrogatepass")
    if kind == 3:
        return b"\xef\xbb\xbf" + data
    if kind == 4:
        depth = rng.choice([50, 900, 5000, 100_000])
        return rng.choice([b"[", b'{"a":', b"[[{"]) * depth + rng.choice([b"", b"]" * depth])
    if kind == 5:
        return data[:place] + b"9" * rng.choice([20, 400, 5000]) + data[place:]
    if kind == 6:
        return data.replace(b"\n", b"\r") if b"\n" in data else data + data
    if kind == 7:
        return b"\0" * rng.choice([1, 100])
    return mutated_bytes(rng, data)


def mutated_bytes(rng: Random, data: bytes, changes: int | None = None) -> bytes:
    """Bytes that are flipped, set, cut, moved, or overwritten by integers of interest."""
    value = bytearray(data)
    for _ in range(several(rng) if changes is None else changes):
        _change_bytes(rng, value)
    return bytes(value)


def _change_bytes(rng: Random, value: bytearray) -> None:
    place, kind = rng.randrange(len(value) + 1), rng.randrange(7)
    end = min(len(value), place + rng.choice([1, 2, 4, 16, 100]))
    if kind == 0 and place < len(value):
        value[place] ^= 1 << rng.randrange(8)
    elif kind == 1 and place < len(value):
        value[place] = rng.choice([0, 1, 127, 128, 255])
    elif kind == 2:
        del value[place:]
    elif kind == 3:
        del value[place:end]
    elif kind == 4:
        value[place:place] = value[place:end] * rng.choice([1, 2, 50])
    elif kind == 5:
        size, order = rng.choice([2, 4, 4, 8]), rng.choice(["big", "little"])
        number = rng.choice(NUMBERS) % (1 << 8 * size)
        value[place : place + size] = number.to_bytes(size, order)  # type: ignore[arg-type]
    else:
        value[place:place] = rng.randbytes(rng.choice([1, 4, 30]))


def mutated_png(rng: Random, data: bytes) -> bytes:
    """A PNG with changed bytes; half of the time with correct checksums, so that its content is believed."""
    changed = mutated_bytes(rng, data)
    return with_checksums(changed) if rng.random() < 0.5 else changed


def with_checksums(png: bytes) -> bytes:
    """A PNG whose chunks have the checksums of their content; the rest behind a chunk without end is unchanged."""
    if not png.startswith(PNG_START):
        return png
    parts, place = [PNG_START], len(PNG_START)
    while place + 12 <= len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        if place + 12 + length > len(png):
            break
        body = png[place + 4 : place + 8 + length]
        parts.append(png[place : place + 4] + body + zlib.crc32(body).to_bytes(4, "big"))
        place += 12 + length
    return b"".join([*parts, png[place:]])
