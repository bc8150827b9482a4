"""Fixtures for tests of whole commands: a tiny world on disk, a random CLIP, and a trained checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from own_sets import prepare as prepare
from small_training import COUNTS, SMALL


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the files of this folder first: they test whole commands, and are the longest; the longest of all begins.

    Otherwise one of two processes would wait for it at the end.
    """
    items.sort(key=lambda item: (item.path.stem != "test_full_size_commands", len(item.path.parts)))


@dataclass(frozen=True)
class World:
    """Folder of the data, and the CLIP checkpoints: the one to use, and another."""

    data: Path
    clip: Path
    other_clip: Path


@dataclass(frozen=True)
class Trained:
    """One uninterrupted run of ``opsnet.training.run.train``."""

    folder: Path
    metrics: dict[str, float]

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches of the tests are not written to the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    import torch

    from opsnet.clip.tiny import tiny_clip
    from opsnet.miniature.scenes import write_world

    data = tmp_path_factory.mktemp("world")
    write_world(data / "scenes_0", seed=0, workers=1, **COUNTS)
    (data / "clip").mkdir()
    paths = [data / "clip" / "tiny.pt", data / "clip" / "other.pt"]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        torch.save({"state_dict": tiny_clip().state_dict()}, path)
    return World(data, *paths)


@pytest.fixture(scope="session")
def compose() -> Callable[..., object]:
    """(name of a yaml of conf/, overrides) -> the configuration, without running Hydra's own part."""
    from hydra import compose, initialize_config_dir

    from opsnet.utils.configuration import config_dir

    def compose_config(name: str, *overrides: str):
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose(name, list(overrides))

    return compose_config


@pytest.fixture(scope="session")
def world_overrides(world: World) -> list[str]:
    """Overrides that make a command with the data group ``scenes`` use the tiny world."""
    return [f"paths.data={world.data}", *(f"++data.module.prepare.{key}={value}" for key, value in COUNTS.items())]


@pytest.fixture(scope="session")
def train_config(compose, world_overrides) -> Callable[..., object]:
    """(output folder, overrides) -> the configuration of a training of eight steps."""

    def config(output: Path, *overrides: str):
        paths = [f"output={output}", f"paths.runs={output.parent}"]
        return compose("train", *world_overrides, *SMALL, *paths, *overrides)

    return config


@pytest.fixture(scope="session")
def trained(train_config, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from opsnet.training.run import train

    folder = tmp_path_factory.mktemp("trained") / "run"
    return Trained(folder, train(train_config(folder)))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> Iterator[Callable[..., tuple[object, str]]]:
    """(main, arguments) -> exit code and stderr of a console command; it runs in an empty folder."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # environment changes of main() are undone after the test
    monkeypatch.chdir(tmp_path)

    def run(main: Callable[[], None], *arguments: str) -> tuple[object, str]:
        logging = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
        monkeypatch.setattr("sys.argv", ["command", *arguments, *logging])
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            return end.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    yield run


@pytest.fixture(scope="session")
def lenient_checkpoint(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained checkpoint with an overlap of 0 and a random mask head: hardly trained masks are all empty.

    The seed is one of those that give every image of the tests a segment or more.
    """
    import torch

    checkpoint = torch.load(trained.checkpoint, map_location="cpu", weights_only=False)
    checkpoint["opsnet"]["config"]["overlap"] = 0.0
    generator = torch.Generator().manual_seed(1)
    for name, weight in checkpoint["state_dict"].items():
        if name.startswith("model.query_decoder.mask_head.") and weight.ndim == 2:
            weight.normal_(0, 0.3, generator=generator)
    path = tmp_path_factory.mktemp("lenient") / "last.ckpt"
    torch.save(checkpoint, path)
    return path


@pytest.fixture(scope="session")
def lenient_model(lenient_checkpoint: Path) -> object:
    from opsnet.checkpoint.loading import load_checkpoint

    return load_checkpoint(lenient_checkpoint, device="cpu")


@pytest.fixture
def sample_images() -> list[object]:
    import numpy as np

    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, size, dtype=np.uint8) for size in ((53, 37, 3), (64, 64, 3), (40, 60, 3))]
