"""Shares of several processes, and of runs that were stopped, merge into the results of one process, to the digit."""

from __future__ import annotations

import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.evaluation import run
from opsnet.evaluation.domain_file import digest
from opsnet.evaluation.domains import DomainEvaluation
from opsnet.evaluation.journal import Journal, JournalError
from opsnet.evaluation.proposal_files import write_outputs
from opsnet.evaluation.run import evaluate
from opsnet.evaluation.scoring import OwnScoring, ScoringWorkers, scoring_processes
from opsnet.evaluation.share import merge, score_share, share_of
from opsnet.evaluation.store import open_domain
from opsnet.inference.network_output import NetworkOutput
from opsnet.structures import GroundTruth
from opsnet.utils.errors import InputError
from opsnet.utils.stop_signals import Stopped

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = (
    "settings=[full/cls_iou,query_only/cls_iou]", "detail_setting=[full/cls_iou,query_only/cls_iou]", "instances=true",
    "oracles=true", "semantic_from_proposals=true", "boundary=true", "panels=3", "data.module.eval_batch_size=2",
    "journal_every=0",
    "++data.module.test.scenes.limit=7", "++data.module.test.scenes_novel.limit=3", "~data.module.test.scenes_street",
)  # fmt: skip
"""All options on an odd number of images."""


@pytest.fixture(scope="module")
def overrides(world_overrides) -> list[str]:
    return [*world_overrides, *EVERYTHING]


@pytest.fixture(scope="module")
def proposals(compose, overrides, lenient_checkpoint, world, tmp_path_factory) -> Path:
    """Stored proposals near the ground truth, so that every metric is above 0 and below 100."""
    folder = tmp_path_factory.mktemp("proposals")
    given = (f"checkpoint={lenient_checkpoint}", f"output={folder}", "device=cpu", "save_proposals=true")
    evaluate(compose("evaluate", *overrides, *given))
    generator = torch.Generator().manual_seed(0)
    for domain in ("scenes", "scenes_novel"):
        root, stored = world.data / "scenes_0" / domain, open_domain(folder, domain)
        annotations = root / "annotations" / "panoptic_test.json"
        data = PanopticDataset(images=root / "test", annotations=annotations, vocabulary=domain)
        names, first = stored.names().names.target.embeds, 0
        for index, output in enumerate(list(stored.batches())):
            for i in range(len(output)):
                improve(output, i, data.truth(first + i), names, generator)
            first += len(output)
            write_outputs(stored.path(index), output, "exact", digest(stored.about))
    return folder


def improve(output: NetworkOutput, image: int, truth: GroundTruth, names: Tensor, generator: torch.Generator) -> None:
    """Makes the first proposals of an image those of its segments, with noise in masks, names and predicted IoU."""
    proposals, clip = output.proposals, output.clip["pooling"]
    size = tuple(proposals.mask_logits.shape[-2:])
    for k, segment in enumerate(truth.segments[: proposals.iou.shape[1]]):
        mask = F.interpolate((truth.ids == segment.id)[None, None].float(), size=size, mode="area")[0, 0]
        proposals.mask_logits[image, k] = 12 * mask - 6 + 4 * torch.randn(size, generator=generator)
        for embeds in (proposals.query_embeds, clip):
            noise = torch.randn(names.shape[1], generator=generator) * names[segment.label].norm()
            embeds[image, k] = names[segment.label] + 0.08 * noise
        proposals.iou[image, k] = 0.6 + 0.4 * torch.rand((), generator=generator)


@pytest.fixture(scope="module")
def config(compose, overrides, proposals) -> Callable[..., Any]:
    given = [*overrides, f"proposals={proposals}", "device=cpu"]
    return lambda output, *more: compose("evaluate", *given, f"output={output}", *more)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory) -> Path:
    """The folder of an evaluation by one process that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    found = evaluate(config(folder)).metrics
    for measure in (
        "PQ",
        "mIoU",
        "AP",
        "AP_proposals",
        "mIoU_proposals",
        "oracle/names/PQ",
        "oracle/masks/PQ",
        "BPQ",
        "mBIoU",
    ):
        assert 5 < found[f"scenes/full/cls_iou/{measure}"] < 99
    assert not (folder / "journal").exists()
    return folder


def require_equal(folder: Path, expected: Path) -> None:
    """Two evaluations have the same results, csv files and panels; only their times may differ."""
    first, second = (json.loads((one / "results.json").read_text()) for one in (folder, expected))
    times = {"seconds": None, "speed": None, "proposal_kilobytes_a_picture": None}
    assert {**first, **times} == {**second, **times}
    assert {"AP50_proposals", "mIoU_proposals", "oracle/names/PQ"} <= {k.split("/", 3)[3] for k in first["metrics"]}
    files = [path.relative_to(expected) for path in expected.rglob("*") if path.suffix in (".csv", ".png")]
    assert len(files) >= 6
    assert all((folder / path).read_bytes() == (expected / path).read_bytes() for path in files)
    assert not (folder / "journal").exists()
    assert not (folder / "unfinished.json").exists()


def test_every_batch_is_in_one_share() -> None:
    for batches, count in ((7, 2), (1, 3), (0, 2), (10, 4)):
        shares = [share_of(batches, [], rank, count) for rank in range(count)]
        assert sorted(index for share in shares for index in share) == list(range(batches))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [share_of(7, [0, 2, 5], rank, 2) for rank in (0, 1)] == [[1, 4], [3, 6]]


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_that_take_turns_give_the_results_of_one(count, config, whole, tmp_path, monkeypatch) -> None:
    """Each rank's state is its own; the first process gets only what is in the journal."""

    def in_turns(name, source, chosen, scoring, **more) -> None:
        given = scoring.evaluation
        for rank in reversed(range(count)):
            own = DomainEvaluation(name, given.domain, given.dataset, given.plan)
            share = share_of(len(source.sizes), [], rank, count)
            score_share(name, source, share, OwnScoring(own, scoring.part.folder.parent, 1e9), **more)

    monkeypatch.setattr(run, "score_share", in_turns)
    evaluate(config(tmp_path))
    require_equal(tmp_path, whole)


@pytest.mark.parametrize("stops", [(2,), (0, 1, 1)])
def test_a_stopped_evaluation_continues_with_equal_results(stops, config, whole, tmp_path, monkeypatch) -> None:
    """It is stopped by a signal within a batch, which is scored to its end and not again."""
    score, scored = DomainEvaluation.score, []

    def stop_within(self, batch, first) -> None:
        if len(scored) == limit:
            os.kill(os.getpid(), signal.SIGTERM)
        score(self, batch, first)
        scored.append((self.name, first))

    monkeypatch.setattr(DomainEvaluation, "score", stop_within)
    for more in (*stops, None):
        limit = -1 if more is None else len(scored) + more
        if more is None:
            evaluate(config(tmp_path))
            continue
        with pytest.raises(Stopped) as stop:
            evaluate(config(tmp_path))
        assert f"the same command with hydra.run.dir={tmp_path} continues" in stop.value.kept
    assert len(scored) == len(set(scored)) == 4 + 2
    require_equal(tmp_path, whole)


def test_another_evaluation_does_not_continue_it(config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run, "merge", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        evaluate(config(tmp_path))
    assert list((tmp_path / "journal" / "scenes").glob("*.json.gz"))
    for other, named in (
        ("settings=[full/cls_iou]", "option settings, settings"),
        ("oracles=false", "option oracles"),
        ("panels=2", "option panels"),
    ):
        detail = ["detail_setting=full/cls_iou"] if named.startswith("option settings") else []
        with pytest.raises(JournalError, match="unfinished evaluation of something else") as refused:
            evaluate(config(tmp_path, other, *detail))
        assert named in str(refused.value)


def test_a_batch_is_not_merged_twice(config, tmp_path, monkeypatch) -> None:
    def again(name, source, chosen, scoring, **more) -> None:
        score_share(name, source, [0, 1], scoring, **more)
        score_share(name, source, [3, 1, 2], OwnScoring(scoring.evaluation, scoring.part.folder.parent, 1e9), **more)

    monkeypatch.setattr(run, "score_share", again)
    with pytest.raises(JournalError, match="has a batch of scenes twice"):
        evaluate(config(tmp_path))


def test_an_error_of_another_process_ends_the_waiting(tmp_path) -> None:
    def check() -> None:
        raise InputError("image a.png is damaged")

    evaluation = type("Empty", (), {"name": "scenes", "parts": {}})()
    with pytest.raises(InputError, match="damaged"):
        merge(evaluation, Journal(tmp_path), 3, check)


# --- real processes ---------------------------------------------------------------------------------------------------

DDP = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")


@pytest.fixture
def start(overrides, proposals, tmp_path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``opsnet-evaluate`` with an output folder ``out``."""
    started: list[subprocess.Popen[str]] = []

    def run_command(*more: str) -> subprocess.Popen[str]:
        given = [*overrides, f"proposals={proposals}", f"hydra.run.dir={tmp_path / 'out'}", *more]
        command = [sys.executable, "-m", "opsnet.evaluate", *given]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        started.append(
            subprocess.Popen(
                command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )
        )  # fmt: skip
        return started[-1]

    yield run_command
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def parts(folder: Path) -> int:
    return len(list(folder.glob("out/journal/*/*.json.gz")))


def wait_for_parts(process: subprocess.Popen[str], folder: Path, number: int) -> None:
    end = time.monotonic() + 240
    while parts(folder) < number and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_equal_one(start, whole, tmp_path) -> None:
    process = start(*DDP)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    require_equal(tmp_path / "out", whole)
    assert out.count("ground-truth segments missed") == 1, "only the first process prints"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killed_at_a_random_moment_and_resumed_on_other_devices(seed, start, whole, tmp_path) -> None:
    choose = random.Random(seed)
    devices = [choose.choice(((), DDP)) for _ in range(2)]
    for given, number in zip(devices, (choose.randint(0, 2), choose.randint(3, 5)), strict=True):
        process = start(*given)
        wait_for_parts(process, tmp_path, number)
        time.sleep(choose.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(1)  # the other process ends with the first
    process = start(*DDP)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    require_equal(tmp_path / "out", whole)


@pytest.mark.slow
def test_a_signal_to_the_first_process_ends_both_with_one_message(start, whole, tmp_path) -> None:
    process = start(*DDP)
    wait_for_parts(process, tmp_path, 1)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 143, error
    assert error.count("stopped by SIGTERM; the same command with hydra.run.dir=") == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.slow
def test_a_network_on_two_processes_and_its_stored_proposals(start, compose, overrides, lenient_checkpoint, tmp_path):
    network, both = f"checkpoint={lenient_checkpoint}", tmp_path / "out"
    evaluate(compose("evaluate", *overrides, network, f"output={tmp_path / 'one'}", "device=cpu"))
    process = start(*DDP, network, "proposals=null", "save_proposals=true", "show=false")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    require_equal(both, tmp_path / "one")
    both.rename(tmp_path / "stored")
    process = start(*DDP, f"proposals={tmp_path / 'stored'}", "show=false")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    first, second = (json.loads((one / "results.json").read_text()) for one in (both, tmp_path / "one"))
    assert first["metrics"] == second["metrics"]


def test_a_worker_that_is_done_while_another_is_full_is_counted() -> None:
    """Two stand-ins for worker processes: the second takes nothing until the first has completed the domain."""
    workers = object.__new__(ScoringWorkers)
    workers._done, workers._queues = queue.Queue(), [queue.Queue(1), queue.Queue(1)]
    workers._processes = [SimpleNamespace(exitcode=None)] * 2
    workers._failed, workers._completed = False, 0
    first, second = workers._queues
    second.put("a batch")
    first_is_done = threading.Event()

    def quick() -> None:
        assert first.get() is None
        workers._done.put(None)
        first_is_done.set()

    def slow() -> None:
        assert first_is_done.wait(10)
        time.sleep(0.3)
        while second.get() is not None:
            pass
        workers._done.put(None)

    threads = [threading.Thread(target=work, daemon=True) for work in (quick, slow, workers.close)]
    for thread in threads:
        thread.start()
    threads[-1].join(10)
    assert not threads[-1].is_alive()
    assert workers._completed == 0


@pytest.mark.slow
def test_workers_that_score_beside_the_network_change_nothing(config, whole, tmp_path) -> None:
    evaluate(config(tmp_path, "score_workers=2"))
    require_equal(tmp_path, whole)


@pytest.mark.slow
def test_the_error_of_a_worker_is_one_sentence(config, tmp_path, capfd) -> None:
    with scoring_processes(1, tmp_path, 1e9) as scoring_of:
        empty = type("Empty", (), {"name": "scenes", "domain": torch.zeros(1), "dataset": None, "plan": None})()
        scoring = scoring_of(empty)
        with pytest.raises(InputError, match="a worker that scores failed: its traceback is above"):
            scoring.close()
        scoring.close()  # it is known
    assert "AttributeError" in capfd.readouterr().err


@pytest.mark.slow
def test_the_error_of_one_process_is_one_sentence(start, world, lenient_checkpoint, tmp_path) -> None:
    """The third image is in the second batch, which is in the share of the second process."""
    data = tmp_path / "data"
    shutil.copytree(world.data, data)
    images = sorted((data / "scenes_0" / "scenes" / "test").iterdir())
    images[2].write_bytes(images[2].read_bytes()[:100])
    given = ("proposals=null", f"checkpoint={lenient_checkpoint}", f"paths.data={data}", "show=false")
    process = start(*DDP, *given)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 2, error
    said = [line for line in error.splitlines() if "error" in line]
    assert len(said) == 1, error
    assert images[2].name in said[0]
    assert "Traceback" not in error
