"""Recognizes command lines of ``opsnet-doctor`` that are rehearsals, and composes the training that they describe."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from opsnet.sweep.launch import key_of
from opsnet.utils.configuration import config_dir
from opsnet.utils.errors import InputError

FOLDER = "OPSNET_REHEARSAL"
"""Environment variable with the temporary folder, for the other processes of a rehearsal with DDP."""


def is_rehearsal(arguments: Sequence[str]) -> bool:
    """Whether a command line of ``opsnet-doctor`` describes a training.

    It does if it has a group or key that is in conf/train.yaml but not in conf/doctor.yaml, such as ``experiment``,
    ``world``, ``model`` or ``trainer``; ``data=coco`` alone inspects the data.
    """
    training = _roots("train") - _roots("doctor")
    return any(_root(argument) in training for argument in arguments)


def compose_training(arguments: Sequence[str]) -> tuple[DictConfig, Path]:
    """The configuration of ``opsnet-train`` with the same arguments, and its output folder.

    Raises:
        InputError: an argument is not valid for a single training.
    """
    from hydra import compose, initialize_config_dir

    overrides, folders = _split(arguments)
    _check(overrides)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("train", overrides + folders, return_hydra_config=True)
    target = Path(cfg.output if "output" in map(key_of, overrides) else cfg.hydra.run.dir)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    cfg.output = str(target)
    OmegaConf.set_struct(cfg, True)
    return cfg, target


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The overrides, and ``--config-dir`` in the form that Hydra's compose takes.

    Raises:
        InputError: there is no such folder.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=lambda text: Path(text).absolute())
    given, overrides = parser.parse_known_args(list(arguments))
    if given.config_dir is None:
        return overrides, []
    if not given.config_dir.is_dir():
        raise InputError(f"--config-dir {given.config_dir} is no folder: check the path")
    return overrides, [f"hydra.searchpath=['file://{given.config_dir}']"]


def _check(arguments: Sequence[str]) -> None:
    from opsnet.sweep.cluster import rank_arguments

    for argument in arguments:
        if argument.startswith("-"):
            raise InputError(
                f"{argument}: only a single training can be rehearsed: give only its overrides and --config-dir"
            )
        if _root(argument) in _roots("doctor") - _roots("train"):
            raise InputError(
                f"{argument} inspects a vocabulary or data, but the other arguments describe a training to rehearse: "
                "run opsnet-doctor once for each"
            )
    if FOLDER in os.environ:  # a process that this rehearsal started
        return
    try:
        several = bool(rank_arguments(list(arguments), os.environ))
    except InputError:
        several = True
    if several:
        raise InputError(
            "a rehearsal starts the processes of its devices itself: start it once, on one machine, without torchrun "
            "or several srun tasks"
        )


def _root(argument: str) -> str:
    """``+data.module.limit=3`` -> ``data``; ``data@other=coco`` too."""
    return key_of(argument).partition(".")[0].partition("@")[0]


def _roots(name: str) -> set[str]:
    """Groups and keys of a yaml in conf/."""
    content = OmegaConf.load(config_dir() / f"{name}.yaml")
    groups = {str(key).split()[-1] for entry in content.defaults if OmegaConf.is_dict(entry) for key in entry}
    return groups | {str(key) for key in content} - {"defaults", "hydra"}
