"""Evaluation: what it writes, that its figures are those of the predicted maps, and input that it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from opsnet.data.batching import collate
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.errors import CheckpointError, InputError
from opsnet.evaluate import evaluate, run
from opsnet.inference import TrainedModel, load_checkpoint
from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.metrics.semantic import SemanticCounts, count_semantic, summarise_semantic
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.modulation import domain_similarity
from opsnet.setting_scorer import SettingScorer, class_groups
from opsnet.settings import Setting, parse_setting
from opsnet.structures import Batch, PanopticTruth

DOMAINS = ("scenes", "scenes_novel", "scenes_street")
MEASURES = ("PQ", "PQth", "PQst", "SQ", "RQ")
SETTINGS = ("full/cls_iou", "query_only/cls_iou", "alpha=5,beta=0.25/cls")


@pytest.fixture(scope="module")
def config(compose, world_overrides, trained):
    """(output, overrides) -> a configuration of an evaluation of the trained checkpoint."""

    def make(output: Path, *overrides: str):
        given = [f"checkpoint={trained.checkpoint}", f"output={output}", "device=cpu"]
        return compose("evaluate", *world_overrides, *given, *overrides)

    return make


@pytest.fixture(scope="module")
def evaluated(config, tmp_path_factory):
    """Folder, and what ``evaluate`` answered."""
    folder = tmp_path_factory.mktemp("evaluated")
    names = ",".join(f"'{name}'" for name in SETTINGS)
    return folder, evaluate(config(folder, f"settings=[{names}]", "panels=2"))


@pytest.fixture(scope="module")
def lenient(lenient_checkpoint) -> TrainedModel:
    return load_checkpoint(lenient_checkpoint, device="cpu")


def setting(name: str) -> Setting:
    """A setting that keeps every proposal."""
    found = parse_setting(name)
    return dataclasses.replace(found, filtering=MaskFiltering(kind=found.filter, threshold=-1))


def batch_of(world, domain: str) -> tuple[Batch, PanopticDataset]:
    root = world.data / "scenes_0" / domain
    annotations = root / "annotations" / "panoptic_test.json"
    data = PanopticDataset(images=root / "test", annotations=annotations, vocabulary=domain)
    return collate([data[i] for i in range(4)], vocabulary=domain, with_truth=True), data


# --- what it writes ---------------------------------------------------------------------------------------------------


def test_every_domain_setting_and_measure_has_a_figure(evaluated) -> None:
    folder, evaluation = evaluated
    results = json.loads((folder / "results.json").read_text())
    whole = {name for name in results["metrics"] if "/PQ_" not in name}
    measures = (*MEASURES, "mIoU", "fwIoU", "mACC", "pACC", "mIoU_occurring")
    assert whole == {f"{d}/{s}/{m}" for d in DOMAINS for s in SETTINGS for m in measures}
    assert all(0 <= value <= 100 for value in results["metrics"].values())
    assert results["metrics"] == evaluation.metrics
    assert (results["experiment"], results["seed"]) == ("evaluate", 0)
    assert set(results["seconds"]) == {f"evaluation/{d}" for d in DOMAINS}
    assert all(value > 0 for value in results["seconds"].values())
    assert "torch" in results["versions"]


def test_seen_and_unseen_classes_share_all_of_them(evaluated) -> None:
    metrics = evaluated[1].metrics
    for setting_name in SETTINGS:
        home = {name for name in metrics if name.startswith(f"scenes/{setting_name}/PQ_")}
        assert home == {f"scenes/{setting_name}/PQ_seen"}  # at home every class was trained
        assert metrics[f"scenes/{setting_name}/PQ_seen"] == pytest.approx(metrics[f"scenes/{setting_name}/PQ"])
        abroad = {name.rpartition("/")[2] for name in metrics if name.startswith(f"scenes_novel/{setting_name}/PQ_")}
        assert {"PQ_seen", "PQ_unseen"} < abroad


def test_groups_of_classes_by_hand() -> None:
    groups = class_groups((True, False, False, False), torch.tensor([1.0, 0.69, 0.71, 0.95]))
    assert {name: [i for i, chosen in enumerate(rows) if chosen] for name, rows in groups.items()} == {
        "seen": [0],
        "unseen": [1, 2, 3],
        "unseen_to_0.7": [1],
        "unseen_from_0.7_to_0.8": [2],
        "unseen_from_0.8_to_0.9": [],
        "unseen_from_0.9": [3],
    }


def test_the_domain_similarity_is_one_at_home_only(evaluated) -> None:
    similarity = evaluated[1].domain_similarity
    assert set(similarity) == set(DOMAINS)
    assert similarity["scenes"] == 1.0
    assert 0 < similarity["scenes_novel"] < 1
    assert 0 < similarity["scenes_street"] < 1


def test_panels_show_so_many_pictures(evaluated) -> None:
    sizes = {}
    for domain in DOMAINS:
        with Image.open(evaluated[0] / "panels" / f"{domain}.png") as picture:
            sizes[domain] = picture.size
    assert len(sizes) == 3
    assert all(width > 3 * 96 and height > 2 * 96 for width, height in sizes.values())


# --- the figures are those of the maps --------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ["scenes", "scenes_novel"])
def test_maps_equal_those_of_predict(domain, lenient, world) -> None:
    batch, data = batch_of(world, domain)
    names = ("full/cls_iou", "query_only/iou", "clip_only/cls_iou", "ensemble_2/cls_iou")
    settings = [setting(name) for name in names]
    maps = SettingScorer(lenient, data.vocabulary, settings).update(batch)
    for one in settings:
        direct = lenient.model.predict(
            batch,
            lenient.text(data.vocabulary),
            lenient.text(lenient.train_vocabulary),
            modulation=one.modulation,
            filtering=one.filtering,
            overlap=lenient.overlap,
        )
        assert sum(len(m.segments) for m in direct) > 0
        for ours, theirs in zip(maps[one.name], direct, strict=True):
            assert torch.equal(ours.ids, theirs.ids)
            assert ours.segments == theirs.segments


def test_figures_equal_a_metric_that_sees_the_maps(lenient, world) -> None:
    from opsnet.metrics.panoptic_quality import PanopticQuality

    batch, data = batch_of(world, "scenes")
    scorer = SettingScorer(lenient, data.vocabulary, [setting("full/cls_iou"), setting("query_only/cls_iou")])
    truths = [PanopticTruth(m.ids, m.segments) for m in scorer.update(batch)["full/cls_iou"]]
    scorer = SettingScorer(lenient, data.vocabulary, scorer.settings)
    # The maps of pictures 0, 1, 2, 3 against those of 0, 1, 3, 2: neither all right nor all wrong.
    batch = dataclasses.replace(batch, panoptic=[truths[i] for i in (0, 1, 3, 2)])
    maps = scorer.update(batch)["full/cls_iou"]
    direct = PanopticQuality(is_thing=data.vocabulary.is_thing)
    for prediction, truth in zip(maps, batch.panoptic, strict=True):
        direct.update(prediction, truth)
    assert direct.compute()["PQ"] > 0
    for found in scorer.results().values():
        assert {name: value for name, value in found.items() if name in MEASURES} == direct.compute()
    seen = SemanticCounts.zeros(len(data.vocabulary))
    for prediction, truth in zip(maps, batch.panoptic, strict=True):
        seen += count_semantic(image_overlaps(prediction, truth, len(data.vocabulary)))
    expected = summarise_semantic(seen).as_dict()
    assert 0 < expected["mIoU"] < 100
    assert expected.items() <= scorer.results()["full/cls_iou"].items()


def test_at_home_full_is_query_only_to_the_bit_and_clip_only_is_not(lenient, world) -> None:
    batch, data = batch_of(world, "scenes")
    names = ("full/cls_iou", "query_only/cls_iou", "clip_only/cls_iou")
    maps = SettingScorer(lenient, data.vocabulary, [setting(name) for name in names]).update(batch)
    assert [m.segments for m in maps[names[0]]] == [m.segments for m in maps[names[1]]]
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(maps[names[0]], maps[names[1]], strict=True))
    assert [m.segments for m in maps[names[0]]] != [m.segments for m in maps[names[2]]]


def test_settings_that_agree_share_one_map_and_others_do_not(lenient, world) -> None:
    batch, data = batch_of(world, "scenes")
    names = ("full/cls_iou", "alpha=5,beta=1/cls_iou", "full/cls")
    first, second, third = SettingScorer(lenient, data.vocabulary, [setting(n) for n in names]).update(batch).values()
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert not any(a is b for a, b in zip(first, third, strict=True))


def test_maps_of_equal_scores_for_other_proposals_are_not_confused(lenient, world) -> None:
    """Two settings that keep one proposal each, with the same score and name: only the place tells them apart."""

    def keeping(k: int) -> Setting:
        def filtering(logits, no_object, iou):
            ones = torch.ones_like(iou)
            keep = torch.zeros_like(iou, dtype=torch.bool)
            keep[:, k] = True
            return ones, torch.zeros_like(iou, dtype=torch.int64), keep

        return dataclasses.replace(setting("full/cls_iou"), name=f"only {k}", filtering=filtering)

    batch, data = batch_of(world, "scenes")
    model = lenient.model
    masks = model(batch.images)[0].mask_logits[0]
    a, b = (masks[:, None] != masks[None]).flatten(2).any(-1).nonzero()[0].tolist()
    maps = SettingScorer(lenient, data.vocabulary, [keeping(a), keeping(b)]).update(batch)
    assert maps[f"only {a}"][0] is not maps[f"only {b}"][0]


def test_at_home_full_and_query_only_have_the_same_figures(evaluated) -> None:
    metrics = evaluated[1].metrics
    for measure in MEASURES:
        assert metrics[f"scenes/full/cls_iou/{measure}"] == metrics[f"scenes/query_only/cls_iou/{measure}"]


def test_abroad_full_is_not_query_only(lenient, world) -> None:
    batch, data = batch_of(world, "scenes_novel")
    assert domain_similarity(lenient.text(data.vocabulary), lenient.text(lenient.train_vocabulary)) < 1
    maps = SettingScorer(lenient, data.vocabulary, [setting("full/cls_iou"), setting("query_only/cls_iou")])
    found = maps.update(batch)
    assert [m.segments for m in found["full/cls_iou"]] != [m.segments for m in found["query_only/cls_iou"]]


def test_crops_and_masked_pictures_are_scored_too(lenient, world) -> None:
    batch, data = batch_of(world, "scenes")
    names = ("clip_only/cls_iou", "cropping/cls_iou", "masking/cls_iou")
    maps = SettingScorer(lenient, data.vocabulary, [setting(name) for name in names]).update(batch)
    labels = [[s.score for m in maps[name] for s in m.segments] for name in names]
    assert labels[0] != labels[1] != labels[2] != labels[0]


def test_a_picture_without_any_proposal_left_is_empty_not_an_error(lenient, world) -> None:
    batch, data = batch_of(world, "scenes")
    bank = lenient.text(data.vocabulary)
    none = dataclasses.replace(setting("full/cls_iou"), filtering=MaskFiltering(threshold=2.0))
    maps = SettingScorer(lenient, data.vocabulary, [none]).update(batch)[none.name]
    direct = lenient.model.predict(batch, bank, bank, modulation=none.modulation, filtering=none.filtering)
    assert all(m.segments == () and m.ids.shape == (96, 96) and not m.ids.any() for m in (*maps, *direct))


# --- input that it refuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ful/cls_iou", "setting 'ful/cls_iou': no modulation 'ful'; .*full.*query_only"),
        ("full/iuo", "setting 'full/iuo': no filtering 'iuo'; .*cls, cls_iou, iou"),
        ("full", "a setting is <recognition>/<filter>"),
        ("alpha=x/cls", "must look like alpha=5,beta=0.25"),
    ],
)
def test_an_unknown_setting(name, message, config, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(config(tmp_path / "out", f"settings=['{name}']"))
    assert not (tmp_path / "out").exists()


def test_a_panel_setting_that_is_not_evaluated(config, tmp_path) -> None:
    with pytest.raises(InputError, match="panel_setting"):
        evaluate(config(tmp_path, "settings=[query_only/cls]", "panels=1"))


def test_a_missing_checkpoint(config, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"no\.ckpt does not exist: give checkpoint=PATH"):
        evaluate(config(tmp_path, f"checkpoint={tmp_path / 'no.ckpt'}"))


@pytest.mark.parametrize("content", ["text", "state", "list"])
def test_a_file_that_is_no_checkpoint(content, config, tmp_path) -> None:
    path = tmp_path / "some.ckpt"
    if content == "text":
        path.write_text("not a checkpoint")
    else:
        torch.save({"state_dict": {}} if content == "state" else [1, 2], path)
    with pytest.raises(CheckpointError, match=r"some\.ckpt is not an OPSNet checkpoint"):
        evaluate(config(tmp_path, f"checkpoint={path}"))


def test_a_checkpoint_that_holds_code_is_refused_and_not_run(config, tmp_path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'canary'}",)

    torch.save({"opsnet": {"config": Planted()}}, tmp_path / "planted.ckpt")
    with pytest.raises(CheckpointError, match=r"planted\.ckpt is not an OPSNet checkpoint"):
        evaluate(config(tmp_path, f"checkpoint={tmp_path / 'planted.ckpt'}"))
    assert not (tmp_path / "canary").exists()


def test_another_clip_than_that_of_the_training(config, world, tmp_path) -> None:
    with pytest.raises(
        CheckpointError, match=r"was trained with CLIP weights \w{12}, but the loaded CLIP is \w{12}: give clip_weights"
    ):
        evaluate(config(tmp_path, f"clip_weights={world.other_clip}"))


def test_clip_weights_that_are_not_there(config, tmp_path) -> None:
    with pytest.raises(
        Exception, match=r"CLIP weights .*no\.pt do not exist: give clip_weights=PATH"
    ):  # Hydra wraps it
        evaluate(config(tmp_path, f"clip_weights={tmp_path / 'no.pt'}"))


def test_clip_weights_that_moved_are_found_by_the_key(config, world, trained, tmp_path) -> None:
    moved = tmp_path / "moved.pt"
    moved.write_bytes(world.clip.read_bytes())
    ours = load_checkpoint(trained.checkpoint, clip_weights=moved, device="cpu").model
    theirs = load_checkpoint(trained.checkpoint, device="cpu").model
    assert ours.clip.weights_hash == theirs.clip.weights_hash
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))


def test_data_without_test_sets(config, tmp_path) -> None:
    with pytest.raises(InputError, match=r"data\.module\.test names no domain"):
        run(config(tmp_path, "data.module.test=null", "settings=[full/cls_iou]"))
