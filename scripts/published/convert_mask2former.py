"""Converts a published Mask2Former to one safetensors file with this project's names.

Usage: python -m scripts.published.convert_mask2former IN OUT.safetensors

IN: a folder or .safetensors of transformers, or a .pkl or .pth of detectron2. ``model.weights=`` accepts both IN and
OUT; OUT loads faster and cannot contain code.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file

from opsnet.segmenter.published.layouts import convert
from opsnet.segmenter.published.weight_files import read_weights
from opsnet.utils.errors import InputError, exit_on_user_error
from opsnet.utils.files import atomic_path


def convert_file(source: Path, target: Path) -> None:
    """Reads the weights, renames and writes them.

    Raises:
        InputError: ``source`` cannot be read or holds no Mask2Former, or ``target`` is not a .safetensors path.
    """
    if target.suffix != ".safetensors":
        raise InputError(f"{target} must end in .safetensors, because the suffix determines the format")
    converted = convert(read_weights(source))
    with atomic_path(target) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in converted.state.items()}, temporary)
    print(f"{target}: {len(converted.state)} tensors; not used: {', '.join(converted.unused) or 'nothing'}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts the file given on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("source", type=Path, metavar="IN", help="a published Mask2Former")
    parser.add_argument("target", type=Path, metavar="OUT", help="a .safetensors file to write")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        convert_file(options.source, options.target)


if __name__ == "__main__":
    main()
