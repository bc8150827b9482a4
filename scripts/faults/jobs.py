"""The commands that are disturbed: how each is started and resumed, how far it is, and what it leaves behind."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from scripts.faults.world import COUNTS, World

BATCH = 4
STEPS_PER_EPOCH, EPOCHS = COUNTS["train"] // BATCH, 3
TRAINING = (
    f"data.module.batch_size={BATCH}", f"data.module.eval_batch_size={BATCH}", "+data.module.num_workers=2",
    "model.query_decoder.queries=8", "matching.points=64", "optim.scheduler.warmup=2", "trainer.accelerator=cpu",
    f"trainer.max_epochs={EPOCHS}", "trainer.check_val_every_n_epoch=1", "trainer.log_every_n_steps=1",
    "progress_every=0.001",
)  # fmt: skip
"""A training of 18 steps with a checkpoint and a validation after each 6, and a line of progress per step."""
_STEP = re.compile(r"\bstep (\d+) of \d+")


class Job(ABC):
    """A command.

    Attributes:
        name: column of the matrix.
        unit: what :meth:`made` counts.
        at: the fault is injected once this many are made.
        interval: how many may be lost when the process dies without warning or cannot write: what lies between two
            of its saves.
    """

    name: str
    unit: str
    at: int
    interval: int

    @abstractmethod
    def command(self, world: World, out: Path, *, again: bool = False) -> list[str]:
        """Module and arguments; ``again``: of the run that continues after a fault."""

    @abstractmethod
    def folder(self, out: Path) -> Path:
        """The folder that it writes below ``out``."""

    @abstractmethod
    def made(self, out: Path, text: str) -> int:
        """How many units it has made so far, as far as one can see from outside."""

    @abstractmethod
    def kept(self, out: Path) -> int:
        """How many units are on disk in a form that can be used or resumed."""

    @abstractmethod
    def result(self, out: Path) -> Mapping[str, Any]:
        """The final result, by name; two runs of the same command must agree in each."""

    def partial(self, out: Path) -> Mapping[str, Any]:
        """What a run that did not finish says of a part of its work; must agree with the final result."""
        return {}


class Train(Job):
    """``opsnet-train``; 18 steps, a checkpoint every 6."""

    name, unit, at, interval = "train", "steps", 8, STEPS_PER_EPOCH

    def command(self, world: World, out: Path, *, again: bool = False) -> list[str]:
        """See :class:`Job`."""
        place = [f"paths.runs={out}", f"hydra.run.dir={self.folder(out)}"]
        return ["opsnet.train", *scenes(world), *TRAINING, *place, *(["resume=auto"] if again else [])]

    def folder(self, out: Path) -> Path:
        """See :class:`Job`."""
        return out / "train" / "run"

    def made(self, out: Path, text: str) -> int:
        """The last step that was logged."""
        return last_step(text)

    def kept(self, out: Path) -> int:
        """The step of the newest checkpoint that is whole."""
        return newest_step(self.folder(out))

    def result(self, out: Path) -> Mapping[str, Any]:
        """See :class:`Job`."""
        return training_result(self.folder(out))


class Sweep(Job):
    """``opsnet-train -m`` with two trainings at once."""

    name, unit, at, interval = "sweep", "steps", 8, 2 * STEPS_PER_EPOCH

    def command(self, world: World, out: Path, *, again: bool = False) -> list[str]:
        """See :class:`Job`."""
        place = [f"paths.runs={out}", f"hydra.sweep.dir={self.folder(out)}", "launcher.jobs=2"]
        jobs = ["optim.optimizer.lr=1e-3,5e-4"]
        return ["opsnet.train", "-m", *scenes(world), *TRAINING, *jobs, *place, *(["skip_done=true"] if again else [])]

    def folder(self, out: Path) -> Path:
        """See :class:`Job`."""
        return out / "train" / "sweep"

    def made(self, out: Path, text: str) -> int:
        """The last steps that were logged, of both jobs."""
        return sum(last_step(log.read_text(errors="replace")) for log in self.folder(out).glob("*/job.log"))

    def kept(self, out: Path) -> int:
        """The steps of the newest whole checkpoints, of both jobs."""
        return sum(newest_step(self.folder(out) / str(job)) for job in range(2))

    def result(self, out: Path) -> Mapping[str, Any]:
        """See :class:`Job`."""
        found = {job: training_result(self.folder(out) / str(job)) for job in range(2)}
        return {f"job {job}: {key}": value for job, values in found.items() for key, value in values.items()}


class Evaluate(Job):
    """``opsnet-evaluate`` of one set, which also stores the proposals."""

    name, unit, at, interval = "evaluate", "batches", 4, 1

    def command(self, world: World, out: Path, *, again: bool = False) -> list[str]:
        """See :class:`Job`."""
        sets = ["~data.module.test.scenes_novel", "~data.module.test.scenes_street", "+data.module.num_workers=2"]
        what = ["settings=[full/cls_iou,clip_only/cls_iou]", "save_proposals=true", "data.module.eval_batch_size=1"]
        place = [f"paths.runs={out}", f"hydra.run.dir={self.folder(out)}", "device=cpu"]
        return ["opsnet.evaluate", f"checkpoint={world.checkpoint}", *scenes(world), *sets, *what, *place]

    def folder(self, out: Path) -> Path:
        """See :class:`Job`."""
        return out / "evaluate" / "run"

    def made(self, out: Path, text: str) -> int:
        """Batches of stored proposals."""
        return len(list((self.folder(out) / "proposals" / "scenes").glob("0*.safetensors")))

    def kept(self, out: Path) -> int:
        """Those that can be read."""
        from opsnet.evaluation.proposal_files import ProposalsError, read_outputs

        kept = 0
        for path in (self.folder(out) / "proposals" / "scenes").glob("0*.safetensors"):
            try:
                kept += bool(read_outputs(path))
            except ProposalsError:
                continue
        return kept

    def result(self, out: Path) -> Mapping[str, Any]:
        """See :class:`Job`."""
        folder = self.folder(out)
        results = read_json(folder / "results.json")
        tables = {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.glob("*/**/*.csv"))}
        return {"metrics": results["metrics"], "similarity": results["domain_similarity"], **tables}


class Predict(Job):
    """``opsnet-predict`` of a folder of 24 images."""

    name, unit, at, interval = "predict", "images", 10, 4

    def command(self, world: World, out: Path, *, again: bool = False) -> list[str]:
        """See :class:`Job`."""
        what = [f"checkpoint={world.checkpoint}", f"image={world.photos}", "vocabulary=scenes"]
        what += ["filtering.threshold=0", "batch_size=2", "device=cpu"]
        place = [f"hydra.run.dir={out}/predict/hydra", f"output={self.folder(out)}"]
        return ["opsnet.predict", *what, f"paths.data={world.data}", *place]

    def folder(self, out: Path) -> Path:
        """See :class:`Job`."""
        return out / "predict" / "labelled"

    def made(self, out: Path, text: str) -> int:
        """Overlays."""
        return len(list(self.folder(out).glob("[!.]*_overlay.png")))

    def kept(self, out: Path) -> int:
        """Images that the same command does not predict again: listed in its parts or, without parts, in its json."""
        listed = [p.read_text(encoding="utf-8") for p in (self.folder(out) / "parts").glob("*.jsonl")]
        if listed:
            return len(set(re.findall(r'^\{"number": (\d+),.*\}$', "\n".join(listed), re.MULTILINE)))
        path = self.folder(out) / "panoptic.json"
        return len(read_json(path)["images"]) if path.is_file() else 0

    def result(self, out: Path) -> Mapping[str, Any]:
        """See :class:`Job`."""
        path = self.folder(out) / "segments.csv"
        return {**panoptic_result(self.folder(out) / "panoptic.json"), "segments.csv": path.read_text()}

    def partial(self, out: Path) -> Mapping[str, Any]:
        """The maps and segments of the images that the json lists."""
        path = self.folder(out) / "panoptic.json"
        return panoptic_result(path) if path.is_file() else {}


class Preparation(Job):
    """``opsnet-prepare own coco`` of 300 images."""

    name, unit, at, interval = "preparation", "images", 30, 4

    def command(self, world: World, out: Path, *, again: bool = False) -> list[str]:
        """See :class:`Job`."""
        source = [str(world.own / "images"), str(world.own / "instances.json")]
        return ["opsnet.prepare", "own", "coco", *source, "set=train", f"dst={self.folder(out)}", "workers=2"]

    def folder(self, out: Path) -> Path:
        """See :class:`Job`."""
        return out / "own"

    def made(self, out: Path, text: str) -> int:
        """PNGs."""
        return len(list((self.folder(out) / "panoptic_train").glob("[!.]*.png")))

    def kept(self, out: Path) -> int:
        """Images that the json lists or, before it is written, that a rerun does not read again."""
        path = self.folder(out) / "panoptic_train.json"
        if path.is_file():
            return len(read_json(path)["images"])
        return len(list((self.folder(out) / ".panoptic_train.parts").glob("*.json")))

    def result(self, out: Path) -> Mapping[str, Any]:
        """See :class:`Job`."""
        folder = self.folder(out)
        links = sorted(p.name for p in (folder / "images" / "train").iterdir() if p.is_file())
        vocabulary = read_json(folder / "vocabulary.json")
        return {**panoptic_result(folder / "panoptic_train.json"), "vocabulary": vocabulary, "images": links}


JOBS: tuple[Job, ...] = (Train(), Evaluate(), Sweep(), Predict(), Preparation())


def scenes(world: World) -> list[str]:
    """Overrides that make ``data=scenes`` the small world."""
    return [f"paths.data={world.data}", *(f"++data.module.prepare.{key}={value}" for key, value in COUNTS.items())]


def read_json(path: Path) -> Any:
    """The content of a json file."""
    return json.loads(path.read_text(encoding="utf-8"))


def last_step(text: str) -> int:
    """The last step in a log; 0 before the first."""
    found = _STEP.findall(text)
    return int(found[-1]) if found else 0


def newest_step(run: Path) -> int:
    """The step of a run's newest checkpoint that can be read and has finite weights; 0 if there is none."""
    from opsnet.checkpoint.reading import read_checkpoint
    from opsnet.utils.errors import CheckpointError

    steps = [0]
    for path in (run / "checkpoints").glob("*.ckpt"):
        try:
            steps.append(int(read_checkpoint(path)["global_step"]))
        except CheckpointError:
            continue
    return max(steps)


def training_result(run: Path) -> dict[str, Any]:
    """Metrics, a digest of the weights, and every logged value of a finished training."""
    metrics = read_json(run / "results.json")["metrics"]
    weights = torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].contiguous().numpy().tobytes())
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    logged = {f"step {row['step']}: {k}": v for row in rows for k, v in row.items() if v and k != "step"}
    return {"metrics": metrics, "weights": digest.hexdigest(), **logged}


def panoptic_result(path: Path) -> dict[str, Any]:
    """The entries of a panoptic json and digests of its PNGs, by image."""
    content = read_json(path)
    found = {f"image {image['id']}": image for image in content["images"]}
    for entry in content["annotations"]:
        png = path.with_suffix("") / entry["file_name"]
        found[f"map {entry['image_id']}"] = (entry, hashlib.sha256(png.read_bytes()).hexdigest())
    return {**found, "categories": content["categories"]}
