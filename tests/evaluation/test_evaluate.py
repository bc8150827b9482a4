"""Evaluation: the files it writes, its metrics, and the input that it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.commands.evaluate import main
from opsnet.evaluation.run import evaluate, evaluate_and_print
from opsnet.inference.network_output import NetworkOutput, run_network
from opsnet.utils.errors import CheckpointError, InputError
from opsnet.utils.files import fingerprint
from opsnet.utils.stop_signals import Stopped
from opsnet.vocabulary import Vocabulary

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
    """The folder and the result of an evaluation."""
    folder = tmp_path_factory.mktemp("evaluated")
    names = ",".join(f"'{name}'" for name in SETTINGS)
    return folder, evaluate(config(folder, f"settings=[{names}]", "panels=2"))


# --- what it writes ---------------------------------------------------------------------------------------------------


def test_every_domain_setting_and_measure_has_a_metric(evaluated) -> None:
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


def test_the_results_say_what_they_were_made_from(config, evaluated, trained, tmp_path) -> None:
    folder, _ = evaluated
    made_from = json.loads((folder / "results.json").read_text())["made_from"]
    assert made_from["checkpoint"] == fingerprint(trained.checkpoint)
    assert made_from["domains"].keys() == set(DOMAINS)
    assert all(
        hashes.keys() == {"annotations", "images", "transform", "vocabulary"}
        for hashes in made_from["domains"].values()
    )
    names = ",".join(f"'{name}'" for name in SETTINGS)
    small = "+data.module.test.scenes.transform={_target_: opsnet.data.transforms.EvalTransform, shortest: 48}"
    again = tmp_path / "b"
    evaluate(config(tmp_path / "a", f"settings=[{names}]", "panels=0", "save_proposals=true", small))
    resized = json.loads((tmp_path / "a" / "results.json").read_text())["made_from"]
    evaluate(config(again, f"settings=[{names}]", "panels=0", "checkpoint=null", f"proposals={tmp_path / 'a'}"))
    assert json.loads((again / "results.json").read_text())["made_from"] == resized
    assert resized["settings"] == made_from["settings"]
    changed = {
        (domain, key)
        for domain, hashes in made_from["domains"].items()
        for key, value in hashes.items()
        if resized["domains"][domain][key] != value
    }
    assert changed == {("scenes", "transform")}


def test_seen_and_unseen_classes_share_all_of_them(evaluated) -> None:
    metrics = evaluated[1].metrics
    for setting_name in SETTINGS:
        in_domain = {name for name in metrics if name.startswith(f"scenes/{setting_name}/PQ_")}
        assert in_domain == {f"scenes/{setting_name}/PQ_seen"}  # every class was trained
        assert metrics[f"scenes/{setting_name}/PQ_seen"] == pytest.approx(metrics[f"scenes/{setting_name}/PQ"])
        groups = {name.rpartition("/")[2] for name in metrics if name.startswith(f"scenes_novel/{setting_name}/PQ_")}
        assert {"PQ_seen", "PQ_unseen"} < groups


def test_the_domain_similarity_is_one_in_domain_only(evaluated) -> None:
    similarity = evaluated[1].domain_similarity
    assert set(similarity) == set(DOMAINS)
    assert similarity["scenes"] == 1.0
    assert 0 < similarity["scenes_novel"] < 1
    assert 0 < similarity["scenes_street"] < 1


def planted(model, batch, sources) -> NetworkOutput:
    """Ground-truth masks whose embeddings are noisy text embeddings, CLIP's less noisy than the query's."""
    outputs = run_network(model, batch, sources)
    logits, queries = torch.full_like(outputs.proposals.mask_logits, -9.0), outputs.proposals.query_embeds.clone()
    clip = queries.clone()
    text = model.clip.text_encoder(Vocabulary.load(batch.vocabulary)).embeds
    for i, truth in enumerate(batch.panoptic):
        generator = torch.Generator().manual_seed(int(batch.image_ids[i]))
        for k, segment in enumerate(truth.segments[: logits.shape[1]]):
            mask = (truth.ids == segment.id)[None, None].float()
            logits[i, k] = 9 * (2 * F.interpolate(mask, logits.shape[-2:], mode="area")[0, 0] - 1)
            for embeds, noise in ((queries, 0.1), (clip, 0.05)):
                embeds[i, k] = text[segment.label] + noise * torch.randn(text.shape[1], generator=generator)
    proposals = dataclasses.replace(
        outputs.proposals, mask_logits=logits, query_embeds=queries, iou=torch.full_like(outputs.proposals.iou, 0.9)
    )
    return dataclasses.replace(outputs, proposals=proposals, clip=dict.fromkeys(sources, clip))


def test_one_pass_over_table_6_equals_a_job_per_cell(config, lenient_checkpoint, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("opsnet.evaluation.sources.run_network", planted)
    given = [f"checkpoint={lenient_checkpoint}", "panels=0", "details=false", "~data.module.test.scenes_street"]
    whole = evaluate(config(tmp_path, *given, "table=6", "trained_as=opsnet_r50")).metrics
    cells = {}
    for alpha, beta in ((0, 0), (0, 1), (5, 0.25), (10, 0.75), (15, 1)):
        cells.update(evaluate(config(tmp_path, *given, "sweep=table6", f"alpha={alpha}", f"beta={beta}")).metrics)
    assert len({name.split("/")[1] for name in cells if "/" in name}) == 5
    assert cells.items() <= whole.items()
    quality = {name.split("/")[1]: value for name, value in whole.items() if re.match("scenes_novel/.*/PQ$", name)}
    assert len(quality) == 20
    assert len(set(quality.values())) > 10  # they differ, so that mixing them up would fail


def test_compared_recognizers_have_the_metrics_of_an_evaluation_of_each(
    config, lenient_checkpoint, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("opsnet.evaluation.sources.run_network", planted)
    given = [f"checkpoint={lenient_checkpoint}", "panels=0", "~data.module.test.scenes_street"]
    evaluate_and_print(config(tmp_path, *given, "compare=recognizers"))
    compared = json.loads((tmp_path / "results.json").read_text())["metrics"]
    names = [name.split("/")[1] for name in compared if re.match("scenes_novel/.*/PQ$", name)]
    assert (names[0], len(names)) == ("full", 10)  # the checkpoint's own first
    assert len({compared[f"scenes_novel/{name}/trained/PQ"] for name in names}) > 5
    for name in names[::3]:
        assert evaluate(config(tmp_path, *given, f"settings=[{name}/trained]")).metrics.items() <= compared.items()
    printed = capsys.readouterr().out
    assert [line.strip() for line in printed.splitlines() if ", percent" in line] == [
        "scenes, percent", "scenes_novel, percent",
    ]  # fmt: skip
    for name in names:
        rows = [line for line in printed.splitlines() if f" {name}/trained " in line]
        for domain, row in zip(("scenes", "scenes_novel"), rows, strict=True):
            for measure in ("PQ", "PQ_seen", "mIoU"):
                assert f" {compared[f'{domain}/{name}/trained/{measure}']:.1f} " in row


def test_a_job_per_row_of_a_table(lenient_checkpoint, world_overrides, command, tmp_path) -> None:
    given = [f"checkpoint={lenient_checkpoint}", "trained_as=opsnet_r50", "panels=0", "details=false", "show=false"]
    few = ["device=cpu", "~data.module.test.scenes_street", f"hydra.sweep.dir={tmp_path / 'rows'}"]
    outcome = command(main, "-m", "table=4", "row=range(7,9)", *world_overrides, *given, *few)
    assert outcome[0] == 0, outcome
    found = {p.parent.name: json.loads(p.read_text()) for p in (tmp_path / "rows").glob("*/results.json")}
    assert {name: result["rows"] for name, result in found.items()} == {
        "0": {"Table 4, row 7": "fusion_only/cls_iou"}, "1": {"Table 4, row 8": "full/cls_iou"},
    }  # fmt: skip
    for result in found.values():
        assert {"/".join(name.split("/")[1:3]) for name in result["metrics"]} == set(result["rows"].values())


def test_panels_show_the_requested_number_of_images(evaluated) -> None:
    sizes = {}
    for domain in DOMAINS:
        with Image.open(evaluated[0] / "panels" / f"{domain}.png") as image:
            sizes[domain] = image.size
    assert len(sizes) == 3
    assert all(width > 3 * 96 and height > 2 * 96 for width, height in sizes.values())


def test_in_domain_full_and_query_only_have_the_same_metrics(evaluated) -> None:
    metrics = evaluated[1].metrics
    for measure in MEASURES:
        assert metrics[f"scenes/full/cls_iou/{measure}"] == metrics[f"scenes/query_only/cls_iou/{measure}"]


# --- input that it refuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ful/cls_iou", "setting 'ful/cls_iou': no modulation 'ful'; .*full.*query_only"),
        ("full/iuo", "setting 'full/iuo': no filtering 'iuo'; .*cls, cls_iou, cls_iou_filter, fcclip, iou"),
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
        evaluate(config(tmp_path, "settings=[query_only/cls]", "panels=1", "panel_setting=full/cls"))


def test_devices_that_do_not_exist_are_refused_before_data_is_drawn(config, tmp_path) -> None:
    given = ["trainer=ddp", "trainer.devices=-1", "trainer.accelerator=cpu", f"paths.data={tmp_path / 'data'}"]
    with pytest.raises(InputError, match=r"trainer\.devices=-1, .* do not fit this machine"):
        evaluate(config(tmp_path / "out", *given))
    assert not (tmp_path / "data").exists()


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


def test_a_checkpoint_with_code_is_refused_and_not_run(config, tmp_path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'canary'}",)

    torch.save({"opsnet": {"config": Planted()}}, tmp_path / "planted.ckpt")
    with pytest.raises(CheckpointError, match=r"planted\.ckpt is not an OPSNet checkpoint"):
        evaluate(config(tmp_path, f"checkpoint={tmp_path / 'planted.ckpt'}"))
    assert not (tmp_path / "canary").exists()


def test_another_clip_than_that_of_the_training(config, world, tmp_path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"trained with CLIP weights \w{12}-\w{6}, but the loaded CLIP is \w{12}-\w{6}: give clip_we",
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
    with pytest.raises(InputError, match=r"data\.module\.test has no domain"):
        evaluate_and_print(config(tmp_path, "data.module.test=null", "settings=[full/cls_iou]"))


# --- interruptions ----------------------------------------------------------------------------------------------------


def test_a_stopped_evaluation_keeps_the_domains_that_are_complete(config, tmp_path, monkeypatch) -> None:
    from opsnet.evaluation import run

    score, out = run.score_share, tmp_path / "out"

    def stop_at_second(name: str, *given, **more):
        if name == DOMAINS[1]:
            raise Stopped(signal.SIGTERM)
        return score(name, *given, **more)

    monkeypatch.setattr(run, "score_share", stop_at_second)
    given = config(out, f"settings=[{SETTINGS[0]}]", "panels=0")
    with pytest.raises(Stopped) as stop:
        evaluate(given)
    assert f"the metrics of scenes are in {out / 'unfinished.json'}; " in stop.value.kept
    assert f"hydra.run.dir={out} continues" in stop.value.kept
    metrics = json.loads((out / "unfinished.json").read_text())["metrics"]
    assert {key.partition("/")[0] for key in metrics} == {"scenes"}
    assert not (out / "results.json").exists()
    monkeypatch.setattr(run, "score_share", score)
    whole = evaluate(given)
    assert {key: whole.metrics[key] for key in metrics} == metrics
    assert not (out / "unfinished.json").exists()
    assert not (out / "journal").exists()


def test_proposals_are_not_stored_in_a_folder_that_was_removed(config, tmp_path, monkeypatch) -> None:
    from opsnet.evaluation import sources

    network = sources.run_network

    def remove(*given):
        shutil.rmtree(tmp_path / "out" / "proposals" / "scenes")
        return network(*given)

    monkeypatch.setattr(sources, "run_network", remove)
    with pytest.raises(InputError, match=r"proposals/scenes was removed while proposals were written to it"):
        evaluate(config(tmp_path / "out", f"settings=[{SETTINGS[0]}]", "panels=0", "save_proposals=true"))
