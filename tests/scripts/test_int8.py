"""scripts/benchmarks/int8.py: what is made int8, and the figures it prints, on a tiny network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.ao.nn.quantized.dynamic import Linear as Int8Linear

from opsnet.evaluation.run import evaluate
from scripts.benchmarks import int8


def test_every_linear_layer_of_the_copy_is_int8_and_the_network_keeps_its_own(lenient_model) -> None:
    def linear(model: nn.Module, kind: type) -> int:
        return sum(type(m) is kind for part in int8.parts_of(model) for m in part.modules())

    before = {key: value.clone() for key, value in lenient_model.model.state_dict().items()}
    count = linear(lenient_model.model, nn.Linear)
    small = int8.with_int8(lenient_model).model
    assert count > 20
    assert (linear(small, nn.Linear), linear(small, Int8Linear)) == (0, count)
    assert linear(lenient_model.model, nn.Linear) == count
    assert all(torch.equal(value, before[key]) for key, value in lenient_model.model.state_dict().items())
    assert int8.mebibytes(small) < int8.mebibytes(lenient_model.model)


@pytest.fixture
def checkpoint(lenient_checkpoint, tmp_path: Path) -> Path:
    """A checkpoint whose filter keeps every proposal."""
    content = torch.load(lenient_checkpoint, map_location="cpu", weights_only=False)
    content["opsnet"]["config"]["inference"]["filtering"]["threshold"] = 0.0
    torch.save(content, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_the_printed_figures(checkpoint, lenient_model, world_overrides, capsys) -> None:
    threads = torch.get_num_threads()
    int8.main([str(checkpoint), "--count", "2", "--rounds", "1", "--pq", "data=scenes", *world_overrides])
    torch.set_num_threads(threads)
    fp32, small, ratio, masks, chosen, names, batch, *pq, version = capsys.readouterr().out.splitlines()
    seconds, mebibytes = zip(*(map(float, re.findall(r": ([\d.]+) CPU.* ([\d.]+) MiB", x)[0]) for x in (fp32, small)))
    assert min(seconds) > 0
    assert mebibytes[0] > mebibytes[1]
    expected = pytest.approx((seconds[0] / seconds[1], mebibytes[0] / mebibytes[1]), rel=0.05)
    assert tuple(map(float, re.findall(r"\d[\d.]{2,}", ratio))) == expected
    queries = lenient_model.model.query_decoder.query_features.num_embeddings
    assert f"of {2 * queries} queries" in masks
    assert 0.5 < float(masks.split("IoU ")[1].split()[0]) < 1  # close to fp32, but not fp32
    assert 0 < int(names.split()[-1]) == int(chosen.split()[-1]) <= 2 * queries
    together = re.findall(r"(fp32|int8) ([\d.]+)", batch.split("IoU")[1])
    assert dict(together)["fp32"] == "1.0000"
    assert 0.5 < float(dict(together)["int8"]) < 1
    assert [re.findall(r"PQ (\w+) ", line) for line in pq] == [["scenes", "scenes_novel", "scenes_street"]] * 2
    assert version == f"torch {torch.__version__}"


def test_the_scores_are_those_of_evaluation(checkpoint, world_overrides, compose, tmp_path: Path) -> None:
    sets = ["data=scenes", *world_overrides]
    found = int8.scores(int8.open_model(checkpoint, device="cpu"), sets)
    plain = ["settings=[trained/trained]", "panels=0", "details=false", "show=false"]
    expected = evaluate(compose("evaluate", *sets, *plain, f"checkpoint={checkpoint}", f"output={tmp_path}")).metrics
    assert [*found] == ["scenes", "scenes_novel", "scenes_street"]
    for domain, values in found.items():
        assert values["mIoU"] > 0  # a hardly trained network has a PQ of 0
        for measure in ("PQ", "mIoU"):
            assert values[measure] == pytest.approx(expected[f"{domain}/trained/trained/{measure}"])


def test_masks_of_the_same_query_are_compared() -> None:
    masks = torch.full((2, 2, 3, 4, 8), -1.0)
    masks[0, 1, 0, 0, :3] = masks[1, 1, 0, 0, 1:5] = 1.0
    masks[:, 0, 2, 1] = 1.0
    assert int8.mask_ious(*masks) == pytest.approx([1, 1, 1, 2 / 5, 1, 1])


def test_a_random_fcclip_has_the_weights_of_r50(capsys) -> None:
    threads = torch.get_num_threads()
    int8.main(["random", "--size", "64", "--count", "1", "--rounds", "1"])
    torch.set_num_threads(threads)
    fp32, small, _, version = capsys.readouterr().out.splitlines()  # nothing about masks and names
    mebibytes = [float(line.split(", ")[-1].split()[0]) for line in (fp32, small)]
    # 59.3 million weights, of which 33.9 in linear layers; CLIP's attention pool (14.8) is in two modules, counted once
    assert mebibytes == pytest.approx([59.3 * 4 / 1.048576, (59.3 * 4 - 33.9 * 3) / 1.048576], abs=1)
    assert version.startswith("torch ")
