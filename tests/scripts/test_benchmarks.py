"""Benchmark scripts: both sides do the same work, and every part is listed."""

from __future__ import annotations

import json

import pytest

from scripts.benchmarks import fcclip, given_masks, memory, networks, operations, pairs, precision


def test_both_sides_of_post_processing_give_the_same_map() -> None:
    pair = operations.post_processing()
    assert pair.agreement.startswith("identical maps of ")
    assert int(pair.agreement.split()[3]) > 5  # segments: an empty map would be identical too


@pytest.mark.parametrize("name", ["sampling", "sampling_backward"])
def test_both_sides_of_the_sampling_agree(name: str) -> None:
    pair = pairs.BENCHMARKS[name]()
    assert float(next(word for word in pair.agreement.split() if "e-" in word)) < 1e-5


def test_matching_finds_every_target_on_both_sides() -> None:
    pair = operations.matching()
    ours, theirs = pair.ours(), pair.peer()
    assert len(ours) == len(theirs) == 10
    assert all(pairs.shape[1] == sum(len(rows) for rows, _ in other) for pairs, other in zip(ours, theirs, strict=True))


def test_both_sides_of_the_decoder_agree() -> None:
    # The masks are random: a logit may be so close to 0 that its sign, and thus an attention mask, depends on rounding.
    assert float(networks.decoder().agreement.split()[2]) < 1e-3


def test_both_metrics_give_the_same_pq() -> None:
    pair = operations.pq()
    assert 50 < pair.ours() < 100
    assert pair.ours() == pytest.approx(pair.peer(), rel=1e-5)


def test_both_ways_of_reading_images_agree() -> None:
    pair = pairs.BENCHMARKS["data"]()
    assert pair.agreement.startswith("identical masks")
    assert sum(len(masks) for masks in pair.ours()) > 40  # crops may lose segments, not most of them


def test_both_text_encoders_agree() -> None:
    assert float(networks.text().agreement.split()[1]) < 1e-5


def test_the_best_of_21k_names_are_those_of_fp32() -> None:
    assert operations.many_names().agreement.startswith("best five of 100 of 100 equal; ")


def test_a_benchmark_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    pairs.main(["--only", "sampling", "--rounds", "1", "--json"])
    (row,) = json.loads(capsys.readouterr().out)["benchmarks"]
    assert row["name"] == "sampling"
    assert row["ratio"] == pytest.approx(row["peer"] / row["ours"])


def test_every_part_of_a_step_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "model=scenes",
        "backbone=scenes",
        "clip=tiny",
        "losses=scenes",
    ]
    memory.main([*small, "--size", "64", "--device", "cpu", "--json"])
    parts = json.loads(capsys.readouterr().out)
    names = [
        "networks",
        "CLIP, frozen",
        "backbone",
        "pixel decoder",
        "query decoder",
        "losses",
        "backward",
        "optimiser",
    ]
    assert [p["name"] for p in parts] == [*names, "whole step"]
    assert parts[-1]["peak"] == max(p["peak"] for p in parts[:-1]) > 0
    assert all(p["after"] <= p["peak"] + 0.01 for p in parts)


def test_the_cost_of_bf16_in_masks(world, lenient_checkpoint, capsys, monkeypatch) -> None:
    monkeypatch.setenv("OPSNET_DATA", str(world.data))
    precision.main([str(lenient_checkpoint), "data=scenes", "--images", "2"])
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("  ")[0] for row in rows] == ["fp32", "bf16, pixel decoder in fp32", "bf16 throughout"]
    flips = [float(row[28:].split()[0]) for row in rows]
    assert flips[0] == 0
    assert 0 < flips[1] < 20


def test_fcclip_agrees_with_the_plain_implementation() -> None:
    row = fcclip.measure("rn50", size=128, rounds=1, bf16=True, overrides=["model.query_decoder.queries=20"])
    assert row["agreement"]["ours"]["masks"] < 1e-3  # a random mask's logit may lie so close to 0 that rounding decides
    assert row["agreement"]["ours"]["names"] == 1
    seconds = row["seconds"]["ours"]
    assert seconds["total"] == pytest.approx(sum(seconds[part] for part in fcclip.PARTS))
    # The pixel decoder in bf16 too is another computation, and near the others.
    half, throughout = (row["agreement"][side]["signs"] for side in ("ours, bf16", "ours, bf16 throughout"))
    assert half != throughout
    assert min(half, throughout) > 0.95


def test_given_masks_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    """With the full-size CLIP and random weights."""
    masks = given_masks.blobs(3)
    assert masks.shape == (3, 480, 640)
    assert masks.any((1, 2)).all() and (masks.sum(0) > 1).any()
    given_masks.main(["--masks", "1", "3", "--rounds", "1"])
    rows = [line.split("│")[1:4] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [row[0].strip() for row in rows] == ["1", "3"]
    assert all(float(row[1]) > 0 for row in rows)
