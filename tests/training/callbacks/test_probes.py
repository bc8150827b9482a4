"""Probes on unseen domains: their scores and logs, and that they do not affect the training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf

from opsnet.metrics.panoptic_quality import PanopticQuality
from opsnet.structures import GroundTruth, PanopticMap
from opsnet.training.callbacks.probes import DomainProbes, StopOnProbe, probe_callbacks
from opsnet.training.run import train
from opsnet.utils.errors import InputError

KNOWN = ("scenes", "scenes_novel", "scenes_street")
TWO = "probes.domains=[scenes_novel,scenes_street]"


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def logged_values(folder: Path, prefix: str) -> dict[tuple[int, str], str]:
    """Values in metrics.csv as text, by step and name."""
    return {(int(r["step"]), k): v for r in rows(folder) for k, v in r.items() if k.startswith(prefix) and v}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=False)["state_dict"]


@pytest.fixture(scope="module")
def probed(train_config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("probed") / "run"
    train(train_config(folder, TWO))
    return folder


def test_probes_do_not_affect_the_training(probed, train_config, tmp_path) -> None:
    train(train_config(tmp_path / "plain"))
    for prefix in ("train/", "val/", "lr-"):
        assert logged_values(probed, prefix) == logged_values(tmp_path / "plain", prefix) != {}
    ours, theirs = weights(probed), weights(tmp_path / "plain")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_probes_draw_no_random_numbers(train_config, tmp_path, monkeypatch) -> None:
    before: list[torch.Tensor] = []
    original = DomainProbes.on_validation_epoch_end

    def watched(self, trainer, module) -> None:
        before.append(torch.get_rng_state())
        original(self, trainer, module)
        assert torch.equal(torch.get_rng_state(), before[-1])

    monkeypatch.setattr(DomainProbes, "on_validation_epoch_end", watched)
    train(train_config(tmp_path / "run", TWO, "trainer.max_epochs=1"))
    assert len(before) == 1


def test_every_domain_is_logged_at_every_validation(probed) -> None:
    found = logged_values(probed, "probe/")
    assert {name for _, name in found} == {
        f"probe/{d}/{m}" for d in ("scenes_novel", "scenes_street") for m in ("PQ", "PQth", "PQst")
    }
    assert {step for step, _ in found} == {3, 7}
    assert json.loads((probed / "results.json").read_text())["metrics"].keys() >= {"probe/scenes_novel/PQ"}


def perfect(truth: GroundTruth) -> PanopticMap:
    segments = tuple(s for s in truth.segments if not s.is_crowd)
    named = torch.isin(truth.ids, torch.tensor([s.id for s in segments]))
    return PanopticMap(torch.where(named, truth.ids, 0), segments)


def test_each_domain_is_scored_with_its_own_names(train_config, tmp_path, monkeypatch) -> None:
    asked: set[tuple[str, str, float, float]] = set()

    def predict(self, batch, names, *, recognizer, filtering, overlap) -> list[PanopticMap]:
        assert not self.training
        asked.add((names.target.name, names.train.name, recognizer.alpha, overlap))
        found = [perfect(truth) for truth in batch.panoptic]
        return found if names.target.name != "scenes_street" else [PanopticMap(m.ids * 0, ()) for m in found]

    monkeypatch.setattr("opsnet.training.module.predict", predict)
    metrics = train(train_config(tmp_path / "run", TWO, "trainer.max_epochs=1", "modulation.alpha=3", "overlap=0.7"))
    assert asked == {(name, "scenes", 3.0, 0.7) for name in KNOWN}
    found = [metrics[f"probe/{name}/PQ{kind}"] for name in KNOWN[1:] for kind in ("", "th", "st")]
    assert found == [100, 100, 100, 0, 0, 0]


def test_the_limit_counts_images_and_every_counts_epochs(train_config, tmp_path, monkeypatch) -> None:
    counted: list[int] = []
    original = PanopticQuality.update
    config = train_config(
        tmp_path / "run", "probes.domains=[scenes_novel]", "probes.every=2", "probes.limit=3",
        "data.module.eval_batch_size=2", "trainer.max_epochs=3",
    )  # fmt: skip

    def update(self, prediction, truth) -> None:
        counted.append(len(self.is_thing))
        original(self, prediction, truth)

    monkeypatch.setattr(PanopticQuality, "update", update)
    train(config)
    assert {step for step, _ in logged_values(tmp_path / "run", "probe/")} == {7}
    assert len(counted) == 3 * 8 + 4  # three validations of eight images, one probe of two batches


class Fake(Callback):
    """A stand-in for a probe that returns given PQ values."""

    def __init__(self, values: list[float], every: int = 1) -> None:
        self.values, self.every = values, every
        self.domains = ("scenes_novel",)

    def due(self, trainer) -> bool:
        return (trainer.current_epoch + 1) % self.every == 0

    def on_validation_epoch_end(self, trainer, module) -> None:
        if self.due(trainer):
            module.log("probe/scenes_novel/PQ", self.values[(trainer.current_epoch + 1) // self.every - 1])


@pytest.mark.parametrize(
    ("values", "every", "epochs"), [([5.0, 4.0, 3.0, 2.0], 1, 3), ([5.0, 6.0, 7.0, 8.0], 1, 4), ([5.0, 6.0], 2, 4)]
)
def test_training_stops_when_the_probe_has_not_improved(
    values, every, epochs, train_config, tmp_path, monkeypatch
) -> None:
    fake = Fake(values, every)
    stop = StopOnProbe(fake, "scenes_novel", patience=2)
    monkeypatch.setattr("opsnet.training.callbacks.probe_callbacks", lambda *_: [fake, stop])
    config = train_config(tmp_path / "run", "trainer.max_epochs=4", "+trainer.limit_train_batches=1")
    train(config)
    steps = {step for step, name in logged_values(tmp_path / "run", "val/") if name == "val/PQ"}
    assert len(steps) == epochs
    if epochs == 3:  # resumed, it stays stopped
        config.resume = "auto"
        train(config)
        assert logged_values(tmp_path / "run", "val/").keys() >= {(s, "val/PQ") for s in steps}
        assert max(step for step, _ in logged_values(tmp_path / "run", "val/")) == max(steps)


def probes(**values):
    default = {"domains": ["scenes_novel"], "every": None, "limit": None, "stop": None, "patience": 3}
    return OmegaConf.create({**default, **values})


def test_without_domains_there_are_no_callbacks(compose) -> None:
    assert probe_callbacks(compose("train").probes, KNOWN) == []


def test_early_stopping_on_a_domain() -> None:
    first, second = probe_callbacks(probes(stop="scenes_novel", patience=5), KNOWN)
    assert isinstance(first, DomainProbes)
    assert (second.monitor, second.mode, second.patience) == ("probe/scenes_novel/PQ", "max", 5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"domains": ["sea"]}, r"'sea': choose from data\.module\.test \(scenes, scenes_novel, scenes_street\)"),
        ({"domains": "scenes"}, r"probes\.domains must be a list, got 'scenes': give \[scenes\]"),
        ({"stop": "scenes"}, r"probes\.stop=scenes is not probed: add it to probes\.domains"),
        ({"limit": 0}, r"probes\.limit must be at least 1, got 0"),
        ({"patience": 0}, r"probes\.patience must be at least 1, got 0"),
        ({"every": 3}, r"probes\.every=3 must be a multiple of trainer\.check_val_every_n_epoch=2"),
    ],
)
def test_invalid_values_state_the_key_and_the_fix(values, message) -> None:
    with pytest.raises(InputError, match=message):
        probe_callbacks(probes(**values), KNOWN, check_every=2)


def test_an_unknown_domain_is_refused_before_training(train_config, tmp_path) -> None:
    with pytest.raises(InputError, match="there is no test domain 'sea'"):
        train(train_config(tmp_path / "run", "probes.domains=[sea]"))
    assert not (tmp_path / "run").exists()
