"""The faults: what is prepared before the command starts, what happens to it in the middle, and how it is mended."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from scripts.faults.jobs import STEPS_PER_EPOCH, Job
from scripts.faults.processes import Command
from scripts.faults.wandb_server import WandbServer
from scripts.faults.world import World

DAY = 86_400


@dataclass(frozen=True)
class Scene:
    """One cell while its command runs.

    Attributes:
        job: what runs.
        world: its own copy of the inputs.
        out: folder of its output.
        folder: of the cell, on the disk.
    """

    job: Job
    world: World
    out: Path
    folder: Path


class Fault:
    """A fault that does nothing; each kind overrides what it needs.

    Attributes:
        name: row of the matrix.
        codes: exit codes that say what happened; 0 is always one, but then the result must be whole and right.
        abrupt: whether the command cannot save, so that all since its last save may be lost.
        needs_middle: whether it is injected while the command works; otherwise the command meets it on its way.
        deletes: whether the fault itself deletes what was made.
    """

    name = ""
    codes: tuple[int, ...] = (1, 2)
    abrupt = False
    needs_middle = True
    deletes = False

    def why_not(self, job: Job) -> str:
        """Why it does not apply to a command; empty if it does."""
        return ""

    @contextmanager
    def place(self, folder: Path) -> Iterator[Path]:
        """The folder for the output."""
        out = folder / "out"
        out.mkdir()
        yield out

    def prepare(self, scene: Scene) -> Mapping[str, str]:
        """Called before the start; returns environment variables."""
        return {}

    def arguments(self) -> list[str]:
        """Further arguments of the command, not of the run after the fault."""
        return []

    def inject(self, scene: Scene, command: Command) -> None:
        """Called while all processes of the command are stopped; they continue afterwards."""

    def mend(self, scene: Scene) -> None:
        """Called before the command is run again."""

    def note(self) -> str:
        """How it is made here, if that is not what its name says."""
        return ""


class Signal(Fault):
    """A signal to the process that was started, or to its whole group as by Ctrl-C in a terminal."""

    def __init__(self, name: str, number: signal.Signals, codes: tuple[int, ...], *, group: bool = False) -> None:
        self.name, self.number, self.codes, self.group = name, number, codes, group
        self.abrupt = number == signal.SIGKILL

    def inject(self, scene: Scene, command: Command) -> None:
        """Sends it."""
        (os.killpg if self.group else os.kill)(command.pid, self.number)


class FullDisk(Fault):
    """The output is on a small filesystem, which another program fills; without root, files cannot grow any more."""

    name, abrupt = "full disk", True
    sizes: Mapping[str, int] = {"sweep": 160, "train": 80}
    """MiB, by command; 32 for the others."""

    def __init__(self) -> None:
        self.mounts = os.geteuid() == 0 and _can_mount()

    @contextmanager
    def place(self, folder: Path) -> Iterator[Path]:
        """A tmpfs."""
        with super().place(folder) as out:
            if not self.mounts:
                yield out
                return
            size = self.sizes.get(folder.name.partition(".")[0], 32)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "opsnet_faults", str(out)], check=True)
            try:
                yield out
            finally:
                subprocess.run(["umount", "-l", str(out)], check=False)

    def inject(self, scene: Scene, command: Command) -> None:
        """Fills it to the last block."""
        if not self.mounts:
            for pid in command.processes():
                with suppress(ProcessLookupError):
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return
        with (scene.out / "ballast").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        with (scene.out / "ballast").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0")

    def mend(self, scene: Scene) -> None:
        """Makes room."""
        (scene.out / "ballast").unlink(missing_ok=True)

    def note(self) -> str:
        """See :class:`Fault`."""
        return (
            ""
            if self.mounts
            else "full disk: nothing can be mounted here, so a limit on the size of files takes its place"
        )


class ReadOnly(Fault):
    """The output's filesystem is read-only, as after an error of the disk: root mounts it over itself.

    Without root, the folders lose their permission to be written.

    Args:
        name: of the row.
        from_start: whether the command finds it so, or it happens in the middle.
    """

    abrupt = True

    def __init__(self, name: str, *, from_start: bool) -> None:
        self.name, self.needs_middle = name, not from_start
        self.mounts = os.geteuid() == 0 and _can_mount()

    def why_not(self, job: Job) -> str:
        """See :class:`Fault`."""
        return "" if self.mounts or os.geteuid() else "root can write everywhere, and must not mount here"

    def prepare(self, scene: Scene) -> Mapping[str, str]:
        """Locks the folder, if it is to be so from the start."""
        if not self.needs_middle:
            self._lock(scene.out)
        return {}

    def inject(self, scene: Scene, command: Command) -> None:
        """Locks the folder; files that are open stay writable, as the kernel has it."""
        self._lock(scene.out)

    def mend(self, scene: Scene) -> None:
        """Unlocks it."""
        if self.mounts:
            if _is_mount(scene.out):
                subprocess.run(["umount", "-l", str(scene.out)], check=True)
            return
        for folder in (scene.out, *_folders(scene.out)):
            folder.chmod(0o755)

    def _lock(self, out: Path) -> None:
        if self.mounts:
            subprocess.run(["mount", "--bind", str(out), str(out)], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", str(out)], check=True)
            return
        for folder in (*_folders(out), out):
            folder.chmod(0o555)

    def note(self) -> str:
        """See :class:`Fault`."""
        return (
            ""
            if self.mounts
            else "read-only: nothing can be mounted here, so folders without permission to write take its place"
        )


class DeadWorker(Fault):
    """A process that reads images, or converts them, is killed, as by the kernel when memory runs out."""

    name = "dead worker"

    def why_not(self, job: Job) -> str:
        """See :class:`Fault`."""
        return "it has no workers" if job.name == "predict" else ""

    def inject(self, scene: Scene, command: Command) -> None:
        """Kills one."""
        workers = command.workers()
        if not workers:
            raise RuntimeError("there is no worker to kill")
        os.kill(workers[-1], signal.SIGKILL)


class CorruptImage(Fault):
    """An image that is still to be read is cut off in the middle."""

    name = "corrupt image"

    def inject(self, scene: Scene, command: Command) -> None:
        """Keeps the whole file aside and cuts."""
        path = self._image(scene)
        shutil.copy2(path, scene.folder / "whole_image")
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 3)

    def mend(self, scene: Scene) -> None:
        """Puts the whole file back."""
        if (scene.folder / "whole_image").is_file():
            shutil.copy2(scene.folder / "whole_image", self._image(scene))

    def _image(self, scene: Scene) -> Path:
        places = {"predict": scene.world.photos, "preparation": scene.world.own / "images"}
        places["evaluate"] = scene.world.sets / "test"
        folder = places.get(scene.job.name, scene.world.sets / "train")
        return sorted(p for p in folder.iterdir() if p.is_file())[-1]


class NaN(Fault):
    """Training: the loss of a step is NaN. Evaluation, prediction: a weight is. Preparation: a coordinate is."""

    name, needs_middle = "NaN", False

    def prepare(self, scene: Scene) -> Mapping[str, str]:
        """Plants it; the whole file is kept aside."""
        world, job = scene.world, scene.job
        if job.name in ("train", "sweep"):
            return {"OPSNET_FAULT_NAN": str(STEPS_PER_EPOCH + 2)}
        path = self._file(scene)
        shutil.copy2(path, scene.folder / "whole_file")
        if job.name == "preparation":
            content = json.loads(path.read_text())
            content["annotations"][-1]["segmentation"][0][0] = float("nan")
            path.write_text(json.dumps(content))
            return {}
        content = torch.load(world.checkpoint, map_location="cpu", weights_only=False)
        content["state_dict"]["model.no_object_embed"].view(-1)[0] = float("nan")
        torch.save(content, path)
        return {}

    def mend(self, scene: Scene) -> None:
        """Puts the whole file back."""
        if (scene.folder / "whole_file").is_file():
            shutil.copy2(scene.folder / "whole_file", self._file(scene))

    def _file(self, scene: Scene) -> Path:
        return scene.world.own / "instances.json" if scene.job.name == "preparation" else scene.world.checkpoint


class LostWandb(Fault):
    """The wandb server goes away in the middle of a run that is logged online."""

    name = "lost wandb"

    def __init__(self) -> None:
        self._servers: dict[Path, WandbServer] = {}

    def why_not(self, job: Job) -> str:
        """See :class:`Fault`."""
        return "" if job.name in ("train", "sweep") else "it does not log to wandb"

    def prepare(self, scene: Scene) -> Mapping[str, str]:
        """Starts the server."""
        server = self._servers[scene.folder] = WandbServer()
        return {"WANDB_BASE_URL": server.address, "WANDB_API_KEY": "0" * 40, "WANDB_MODE": "online"}

    def arguments(self) -> list[str]:
        """The logger; at the end it waits for 5 seconds for the server, not for 10 minutes."""
        return ["logger=wandb", "logger.wandb.offline=false", "logger.wandb.settings.finish_timeout=5"]

    def inject(self, scene: Scene, command: Command) -> None:
        """Ends it, after it has been asked for something."""
        server = self._servers[scene.folder]
        if not server.asked:
            raise RuntimeError("the run has not asked the wandb server for anything")
        server.close()


class ClockJump(Fault):
    """The wall clock is set back by a day; so what was written before seems to come from the future."""

    name = "clock jump"

    def prepare(self, scene: Scene) -> Mapping[str, str]:
        """See ``planted/sitecustomize.py``."""
        return {"OPSNET_FAULT_CLOCK": str(scene.folder / "clock_jumped")}

    def inject(self, scene: Scene, command: Command) -> None:
        """Sets the clock of all its processes, and the times of its files."""
        (scene.folder / "clock_jumped").touch()
        for path in scene.out.rglob("*"):
            if not path.is_symlink():
                os.utime(path, (time.time() + DAY,) * 2)


class OtherFilesystem(Signal):
    """kill -9 where output and temporary files are on different filesystems."""

    def __init__(self) -> None:
        super().__init__("kill, other filesystem", signal.SIGKILL, (-9,))

    def why_not(self, job: Job) -> str:
        """See :class:`Fault`."""
        return "" if Path("/dev/shm").is_dir() else "there is no /dev/shm"

    @contextmanager
    def place(self, folder: Path) -> Iterator[Path]:
        """A folder in memory; the temporary folder is on the disk."""
        with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="opsnet_faults_") as out:
            yield Path(out)


class Vanished(Fault):
    """The output's folder is deleted, or its network drive is gone."""

    name, abrupt, deletes = "vanished folder", True, True

    def inject(self, scene: Scene, command: Command) -> None:
        """Deletes it."""
        shutil.rmtree(scene.job.folder(scene.out))


def _folders(out: Path) -> list[Path]:
    """Folders below a folder, the inner ones last."""
    return sorted(path for path in out.rglob("*") if path.is_dir() and not path.is_symlink())


def _is_mount(path: Path) -> bool:
    """Whether something is mounted there; ``Path.is_mount`` does not see a folder that is mounted over itself."""
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _can_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["mount", "-t", "tmpfs", "opsnet_faults", folder], capture_output=True, check=False)
        if tried.returncode == 0:
            subprocess.run(["umount", folder], check=False)
        return tried.returncode == 0


def all_faults() -> tuple[Fault, ...]:
    """The rows of the matrix, in order."""
    return (
        Signal("kill", signal.SIGKILL, (-9,)),
        Signal("TERM", signal.SIGTERM, (143, -15)),
        Signal("INT", signal.SIGINT, (130,), group=True),
        FullDisk(), ReadOnly("read-only", from_start=False), ReadOnly("read-only from the start", from_start=True),
        DeadWorker(), CorruptImage(), NaN(), LostWandb(), ClockJump(),
        OtherFilesystem(), Vanished(),
    )  # fmt: skip
