"""The model card against the published sizes of Mask2Former and of OPSNet with Swin-L."""

from __future__ import annotations

import json

import pytest

from scripts.benchmarks import model_card

POOLINGS = set(model_card.POOLINGS.values())

# Millions of parameters and 1e9 multiply-adds at 640, of transformers' Mask2Former (its class head, 0.03M, included).
PEER = {"r50": (44.04, 102.8), "r101": (63.03, 133.1), "swin_s": (68.75, 141.1), "swin_l": (215.49, 395.4)}


@pytest.mark.parametrize("backbone", PEER)
def test_mask2formers_part_has_the_published_size(backbone: str) -> None:
    parts = {part.name: part for part in model_card.model_card([f"backbone={backbone}"])}
    parameters, gmacs = PEER[backbone]
    assert parts["Mask2Former"].parameters == pytest.approx(parameters, rel=0.005)
    assert parts["Mask2Former"].gmacs == pytest.approx(gmacs, rel=0.01)
    assert parts["Spatial Adapter, frozen"].parameters == pytest.approx((2048 * 1024 + 1024) / 1e6)
    if backbone == "swin_l":
        assert parts["OPSNet"].parameters == pytest.approx(242, rel=0.005)


# Millions of parameters of the trunk and of what pools proposals: FC-CLIP's published layouts.
SHARED = {"fcclip_r50": (23.53, 14.79), "opsnet_shared_r50": (23.53, 2.10), "fcclip_convnext_l": (196.23, 3.54)}


@pytest.mark.parametrize("experiment", SHARED)
def test_a_shared_trunk_counts_once(experiment: str) -> None:
    parts = {part.name: part for part in model_card.model_card([f"experiment={experiment}"], size=64)}
    trunk, (pooling,) = parts["CLIP's trunk, frozen"], [part for name, part in parts.items() if name in POOLINGS]
    assert (trunk.parameters, pooling.parameters) == pytest.approx(SHARED[experiment], rel=0.005)
    assert trunk.gmacs > 0
    assert (parts["backbone"].parameters, parts["backbone"].gmacs) == (0, 0)


def test_the_json_has_the_parts_and_their_sums(capsys) -> None:
    model_card.main(["backbone=r50", "--size", "64", "--json"])
    parts = json.loads(capsys.readouterr().out)
    by_name = {part["name"]: part for part in parts}
    whole = by_name.pop("OPSNet")
    share = by_name.pop("Mask2Former")
    for key in ("parameters", "gmacs"):
        assert whole[key] == pytest.approx(sum(part[key] for part in by_name.values()))
        assert 0 < share[key] < whole[key]


def test_an_unknown_backbone_gives_a_short_error(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        model_card.main(["backbone=r5000"])
    assert stop.value.code == 2
    assert "r5000" in capsys.readouterr().err
