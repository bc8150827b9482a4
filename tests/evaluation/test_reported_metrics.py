"""What else is reported of a network: speed, parameters, boundaries, and the names of the ground truth's masks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_training import COUNTS

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation.parameters import count_parameters
from opsnet.evaluation.run import evaluate, evaluate_and_print
from opsnet.metrics.mask_classification import classified_segments
from opsnet.metrics.speed import WARM_UP
from opsnet.prediction.predictor import Predictor
from opsnet.utils.errors import InputError

pytestmark = pytest.mark.slow  # an evaluation, and a prediction of every mask

SETTINGS = "settings=[clip_only/cls_iou,full/cls_iou]"


@pytest.fixture(scope="module")
def config(compose, world_overrides, trained):
    def make(output: Path, *overrides: str):
        given = [f"checkpoint={trained.checkpoint}", f"output={output}", "device=cpu", "panels=0", SETTINGS]
        alone = ["~data.module.test.scenes", "~data.module.test.scenes_street", "data.module.eval_batch_size=2"]
        return compose("evaluate", *world_overrides, *given, *alone, *overrides)

    return make


@pytest.fixture(scope="module")
def evaluated(config, tmp_path_factory):
    folder, chosen = tmp_path_factory.mktemp("reported"), "detail_setting=clip_only/cls_iou"
    evaluate(config(folder, chosen, "boundary=true", "mask_classification=true", "data.module.eval_batch_size=1"))
    return json.loads((folder / "results.json").read_text())


def test_the_names_of_ground_truth_masks_are_those_of_a_prediction(evaluated, world, trained) -> None:
    """Predictor.label, given the ground truth's maps, has the same accuracy."""
    trained_model = load_checkpoint(trained.checkpoint, device="cpu")
    predictor = Predictor(trained_model)
    folder = world.data / "scenes_0" / "scenes_novel"
    annotations = folder / "annotations" / "panoptic_test.json"
    dataset = PanopticDataset(images=folder / "test", annotations=annotations, vocabulary="scenes_novel")
    right, total = [0, 0], 0
    for index in range(len(dataset)):
        truth = dataset.truth(index)
        segments, masks = classified_segments(truth)
        image, names = dataset.read_image(index), dataset.vocabulary
        for segment, mask in zip(segments, masks.numpy(), strict=True):
            (found,) = predictor.label(image, mask[None], names, modulation="clip_only", top_k=5).segments
            places = [one.name for one in found.top]
            right[0] += places[0] == names.names[segment.label]
            right[1] += names.names[segment.label] in places
            total += 1
    metrics = evaluated["metrics"]
    found = [metrics[f"scenes_novel/clip_only/cls_iou/Acc{top}_masks"] for top in (1, 5)]
    assert found == pytest.approx([100 * count / total for count in right])
    assert 0 < right[1] < total
    assert "scenes_novel/full/cls_iou/Acc1_masks" not in metrics


def test_boundary_pq_is_at_most_pq(evaluated) -> None:
    metrics = {k.removeprefix("scenes_novel/clip_only/cls_iou/"): v for k, v in evaluated["metrics"].items()}
    assert all(metrics[f"B{measure}"] <= metrics[measure] for measure in ("PQ", "PQth", "PQst", "RQ"))
    assert 0 <= metrics["mBIoU"] <= 100


def test_the_speed_is_that_of_images_after_the_warm_up(evaluated) -> None:
    speed = evaluated["speed"]["scenes_novel"]
    assert speed["images"] == COUNTS["test"] - WARM_UP
    assert speed["network"] > speed["whole"] > speed["images"] / evaluated["seconds"]["evaluation/scenes_novel"]


def test_parameters_of_what_is_evaluated(evaluated, trained) -> None:
    model = load_checkpoint(trained.checkpoint, device="cpu")
    assert evaluated["parameters"] == count_parameters(model.model, model.recognizer)


def test_stored_proposals_have_no_image_to_classify_masks_in(config, tmp_path, capsys) -> None:
    evaluate(config(tmp_path / "a", "save_proposals=true", "details=false"))
    stored = ["checkpoint=null", f"proposals={tmp_path / 'a'}"]
    with pytest.raises(InputError, match="mask_classification=true needs the network: give checkpoint=PATH"):
        evaluate(config(tmp_path / "b", *stored, "mask_classification=true"))
    evaluate_and_print(config(tmp_path / "c", *stored, "boundary=true"))
    printed = capsys.readouterr().out
    assert "boundaries, percent" in printed and "parameters" not in printed
    results = json.loads((tmp_path / "c" / "results.json").read_text())
    assert results["speed"] == {} == results["parameters"]
