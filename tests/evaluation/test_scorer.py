"""The scorer's metrics equal those of the maps from the network's inference."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.data.batching import collate
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation.details import DetailOptions, Details
from opsnet.evaluation.scorer import SettingScorer, class_groups
from opsnet.inference.network_output import run_network
from opsnet.inference.segment import predict
from opsnet.inference.settings import Setting, parse_setting
from opsnet.inference.trained_model import TrainedModel
from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.metrics.semantic import SemanticCounts, count_semantic, summarise_semantic
from opsnet.panoptic.mask_filtering import Filtered, MaskFiltering
from opsnet.prediction.semantic_naming import label_pixels
from opsnet.recognition.recognizer import domain_similarity
from opsnet.structures import Batch, GroundTruth, PanopticMap
from opsnet.vocabulary import Vocabulary

MEASURES = ("PQ", "PQth", "PQst", "SQ", "RQ")


@pytest.fixture(scope="module")
def lenient(lenient_checkpoint) -> TrainedModel:
    return load_checkpoint(lenient_checkpoint, device="cpu")


def setting(name: str) -> Setting:
    """A setting that keeps every proposal."""
    found = parse_setting(name)
    return dataclasses.replace(found, filtering=MaskFiltering(kind=found.filter, threshold=0))


def batch_of(world, domain: str) -> tuple[Batch, PanopticDataset]:
    root = world.data / "scenes_0" / domain
    annotations = root / "annotations" / "panoptic_test.json"
    data = PanopticDataset(images=root / "test", annotations=annotations, vocabulary=domain)
    return collate([data[i] for i in range(4)], vocabulary=domain, with_ground_truth=True), data


def scored(trained, data, settings, batch) -> dict[str, list[PanopticMap]]:
    """The maps of every setting."""
    scorer = SettingScorer(trained.domain(data.vocabulary), settings)
    sources = {one.clip_embeds for one in settings}
    return scorer.score(run_network(trained.model, batch, sources), batch.panoptic)


def test_recognizers_run_on_the_device_of_the_names_and_not_in_training_mode(lenient) -> None:
    """One that a setting names is built on the CPU; "meta" is the other device that every machine has."""
    domain = lenient.domain(Vocabulary.load("scenes"))
    domain = dataclasses.replace(domain, no_object_embed=domain.no_object_embed.to("meta"))
    settings = [parse_setting("learned/cls_iou"), parse_setting("full/cls_iou")]
    SettingScorer(domain, settings)
    assert {p.device.type for one in settings for p in one.recognizer.parameters()} == {"meta"}
    assert not any(one.recognizer.training for one in settings)


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


@pytest.mark.parametrize("domain", ["scenes", "scenes_novel"])
def test_maps_equal_those_of_predict(domain, lenient, world) -> None:
    batch, data = batch_of(world, domain)
    names = ("full/cls_iou", "query_only/iou", "clip_only/cls_iou", "ensemble_2/cls_iou")
    settings = [setting(name) for name in names]
    maps = scored(lenient, data, settings, batch)
    for one in settings:
        direct = predict(
            lenient.model,
            batch,
            lenient.names.prepared(data.vocabulary),
            recognizer=one.recognizer,
            filtering=one.filtering,
            overlap=lenient.overlap,
        )
        assert sum(len(m.segments) for m in direct) > 0
        for ours, theirs in zip(maps[one.name], direct, strict=True):
            assert torch.equal(ours.ids, theirs.ids)
            assert ours.segments == theirs.segments


def test_scores_equal_a_metric_of_the_maps(lenient, world) -> None:
    from opsnet.metrics.panoptic_quality import PanopticQuality

    batch, data = batch_of(world, "scenes")
    settings = [setting("full/cls_iou"), setting("query_only/cls_iou")]
    truths = [GroundTruth(m.ids, m.segments) for m in scored(lenient, data, settings, batch)["full/cls_iou"]]
    scorer = SettingScorer(lenient.domain(data.vocabulary), settings)
    # The maps of images 0, 1, 2, 3 against those of 0, 1, 3, 2: neither all right nor all wrong.
    batch = dataclasses.replace(batch, panoptic=[truths[i] for i in (0, 1, 3, 2)])
    maps = scorer.score(run_network(lenient.model, batch), batch.panoptic)["full/cls_iou"]
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


def test_maps_from_proposals_are_scored_as_prediction_makes_them(lenient, world) -> None:
    batch, data = batch_of(world, "scenes")
    one, domain = setting("full/cls_iou"), lenient.domain(data.vocabulary)
    output = run_network(lenient.model, batch)
    sizes = [(48, 64)] * len(batch.panoptic)  # not the network's
    truths = [GroundTruth(truth.ids[::2, :64].contiguous(), truth.segments) for truth in batch.panoptic]
    output = dataclasses.replace(output, map_sizes=tuple(sizes))
    details = Details(domain.target, "cls_iou", 0.8, DetailOptions(semantic=True))
    SettingScorer(domain, [one], {one.name: details}).score(output, truths)
    logits = one.recognizer(output.embeddings(), domain.names, domain.no_object_embed)
    expected = SemanticCounts.zeros(len(data.vocabulary))
    for truth, found in zip(truths, label_pixels(output, *logits, data.vocabulary), strict=True):
        expected += count_semantic(image_overlaps(found, truth, len(data.vocabulary)))
    assert expected.right.sum() > 0
    assert all((array == expected.sums[name]).all() for name, array in details.pixels.sums.items())


def test_in_domain_full_equals_query_only_exactly_and_clip_only_does_not(lenient, world) -> None:
    batch, data = batch_of(world, "scenes")
    names = ("full/cls_iou", "query_only/cls_iou", "clip_only/cls_iou")
    maps = scored(lenient, data, [setting(name) for name in names], batch)
    assert [m.segments for m in maps[names[0]]] == [m.segments for m in maps[names[1]]]
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(maps[names[0]], maps[names[1]], strict=True))
    assert [m.segments for m in maps[names[0]]] != [m.segments for m in maps[names[2]]]


def test_equal_settings_share_one_map_and_others_do_not(lenient, world) -> None:
    batch, data = batch_of(world, "scenes")
    names = ("full/cls_iou", "alpha=5,beta=1/cls_iou", "full/cls")
    first, second, third = scored(lenient, data, [setting(n) for n in names], batch).values()
    assert all(a is b for a, b in zip(first, second, strict=True))
    assert not any(a is b for a, b in zip(first, third, strict=True))


def test_maps_of_equal_scores_for_other_proposals_are_not_confused(lenient, world) -> None:
    """Two settings that keep one proposal each, with the same score and name: only the index differs."""

    def keeping(k: int) -> Setting:
        def filtering(logits, no_object, iou):
            ones = torch.ones_like(iou)
            keep = torch.zeros_like(iou, dtype=torch.bool)
            keep[:, k] = True
            return Filtered(ones, torch.zeros_like(iou, dtype=torch.int64), keep, ones)

        return dataclasses.replace(setting("full/cls_iou"), name=f"only {k}", filtering=filtering)

    batch, data = batch_of(world, "scenes")
    model = lenient.model
    masks = model(batch.images)[0].mask_logits[0]
    a, b = (masks[:, None] != masks[None]).flatten(2).any(-1).nonzero()[0].tolist()
    maps = scored(lenient, data, [keeping(a), keeping(b)], batch)
    assert maps[f"only {a}"][0] is not maps[f"only {b}"][0]


def test_out_of_domain_full_is_not_query_only(lenient, world) -> None:
    batch, data = batch_of(world, "scenes_novel")
    assert domain_similarity(lenient.names.bank(data.vocabulary), lenient.names.train_bank()) < 1
    found = scored(lenient, data, [setting("full/cls_iou"), setting("query_only/cls_iou")], batch)
    assert [m.segments for m in found["full/cls_iou"]] != [m.segments for m in found["query_only/cls_iou"]]


def test_crops_and_masked_images_are_scored_too(lenient, world) -> None:
    batch, data = batch_of(world, "scenes")
    names = ("clip_only/cls_iou", "cropping/cls_iou", "masking/cls_iou")
    maps = scored(lenient, data, [setting(name) for name in names], batch)
    labels = [[s.score for m in maps[name] for s in m.segments] for name in names]
    assert labels[0] != labels[1] != labels[2] != labels[0]


def test_an_image_without_any_kept_proposal_is_empty_not_an_error(lenient, world) -> None:
    batch, data = batch_of(world, "scenes")
    names = lenient.names.prepared(lenient.train_vocabulary)
    none = dataclasses.replace(setting("full/cls_iou"), filtering=MaskFiltering(threshold=1))
    maps = scored(lenient, data, [none], batch)[none.name]
    direct = predict(lenient.model, batch, names, recognizer=none.recognizer, filtering=none.filtering)
    assert all(m.segments == () and m.ids.shape == (96, 96) and not m.ids.any() for m in (*maps, *direct))
