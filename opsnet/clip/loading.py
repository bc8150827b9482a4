"""Loads a frozen open_clip model by name or from a file, and computes the hash that identifies a CLIP."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any, cast

import torch
from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from opsnet.clip.architecture import architecture_hash, uses_quick_gelu
from opsnet.clip.custom_config import first_problem
from opsnet.utils.errors import InputError, reason_of
from opsnet.utils.files import checksum
from opsnet.utils.torch_files import load_tensors

OFFLINE = "give clip.model.weights=PATH of a local file and clip.model.architecture.pretrained=null"
_UNREADABLE = (RuntimeError, AttributeError, KeyError, ValueError, EOFError, UnpicklingError, SafetensorError)
_OPENAI_SIZES = {"input_resolution", "context_length", "vocab_size"}  # stored with the weights in OpenAI's archives


class ClipWeightsError(InputError):
    """CLIP weights are missing or do not fit the architecture; the message names them and the fix."""


def load_clip(*, architecture: Callable[[], nn.Module], weights: str | Path, hint: str = "") -> nn.Module:
    """Builds a CLIP, loads its weights and freezes it.

    Args:
        architecture: builds the open_clip model (including its weights if ``weights`` is "builtin").
        weights: path of an open_clip checkpoint, of its weights as .safetensors, or of the .pt archive published by
            OpenAI; or "builtin" (loaded by ``architecture``), or "random" (for tests).
        hint: how to get the file, for the error message.

    Raises:
        ClipWeightsError: the file does not exist, is not a checkpoint, or does not fit the architecture; or it is
            OpenAI's archive and the architecture has GELU although OpenAI trained with QuickGELU. For other files the
            activation used in training cannot be determined. Or it is another TorchScript archive, whose code loading
            would execute, or a weight is not finite.
    """
    text = str(weights)
    if text not in ("builtin", "random"):
        path = Path(text).expanduser()
        if not path.is_file():
            raise ClipWeightsError(
                f"CLIP weights {path} do not exist: {hint or 'give clip.model.weights=PATH of an open_clip checkpoint'}"
            )
    try:
        model = architecture()
    except InputError:  # of custom_clip, which downloads nothing, or a CLIP with too many weights
        raise
    except Exception as error:  # a failed download raises any of a dozen classes of open_clip's dependencies
        raise ClipWeightsError(
            f"could not build the CLIP model ({type(error).__name__}: {_short(error)}); offline, {hint or OFFLINE}"
        ) from error
    if text not in ("builtin", "random"):
        try:
            model.load_state_dict(_weights_for(model, path))
        except ClipWeightsError:
            raise
        except (*_UNREADABLE, zipfile.BadZipFile) as error:
            reason = _short(error)
            raise ClipWeightsError(f"CLIP weights {path} do not fit clip.model.architecture: {reason}") from error
    _check_finite(model, text)
    return model.eval().requires_grad_(False)


def _check_finite(model: nn.Module, source: str) -> None:
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not value.is_meta and not bool(value.isfinite().all()):
            raise ClipWeightsError(
                f"CLIP weights {source}: {name} contains NaN or infinity, so the file is damaged: download it again"
            )


def custom_clip(*, config: Mapping[str, Any]) -> nn.Module:
    """An open_clip model without weights from its configuration, for one that open_clip has no name for.

    Args:
        config: content of an ``open_clip_config.json``'s ``model_cfg``: ``embed_dim``, ``quick_gelu``, ``vision_cfg``
            and ``text_cfg``. What would be downloaded or is huge is refused, see :mod:`opsnet.clip.custom_config`.

    Raises:
        ClipWeightsError: the configuration has other keys or values, or no model can be built from it.
    """
    from open_clip.model import CLIP

    if OmegaConf.is_config(config):  # open_clip takes a list of layers for a ResNet only if it is Python's
        config = cast(Mapping[str, Any], OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    if problem := first_problem(config):
        key = ".".join(("config", *problem.key))
        raise ClipWeightsError(
            f"the configuration of CLIP has {key} = {shorten(repr(problem.value), 100)}: {problem.reason}"
        )
    parts = {**config, **{part: dict(config[part]) for part in ("vision_cfg", "text_cfg")}}
    try:
        return CLIP(**parts)  # type: ignore[no-any-return]
    except InputError:
        raise
    except Exception as error:  # sizes that do not fit one another raise many types
        raise ClipWeightsError(f"no CLIP can be built from its configuration ({_short(error)})") from error


def _short(error: Exception) -> str:
    """The beginning of an error message, which may list hundreds of keys, or every attempted download."""
    return reason_of(error, 300)


def _weights_for(model: nn.Module, path: Path) -> dict[str, Tensor]:
    state = _read_weights(path)
    if not state.keys() >= _OPENAI_SIZES:
        return state
    if not uses_quick_gelu(model):
        raise ClipWeightsError(
            f"CLIP weights {path} are OpenAI's, trained with QuickGELU, but clip.model.architecture builds GELU: give "
            "clip.model.architecture.model_name=RN50-quickgelu (open_clip's name of the same size with -quickgelu)"
        )
    return {k: v for k, v in state.items() if k not in _OPENAI_SIZES}


def _read_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    if _is_torchscript(path):
        if checksum(path) not in openai_checksums():
            raise ClipWeightsError(
                f"CLIP weights {path} are a TorchScript archive that is none of OpenAI's, and loading one executes its "
                "code: if you trust it, save its weights alone with torch.save(torch.jit.load(PATH).state_dict(), NEW)"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)  # OpenAI's files use a deprecated format
            return dict(torch.jit.load(str(path), map_location="cpu").state_dict())
    state = load_tensors(path)
    state = state.get("state_dict", state)
    return {k.removeprefix("module."): v for k, v in state.items()}


def _is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, like OpenAI's, whose code is executed on loading."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def openai_checksums() -> set[str]:
    """The SHA-256 of each archive of OpenAI, which is part of the URL at which it is published."""
    import open_clip

    urls = [open_clip.get_pretrained_url(model, "openai") for model in open_clip.list_openai_models()]
    return {url.split("/")[-2] for url in urls}


def weights_hash(model: nn.Module) -> str:
    """Twelve hexadecimal digits that change if any weight changes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def clip_hash(model: nn.Module) -> str:
    """:func:`weights_hash`, a hyphen, and :func:`architecture_hash`: equal weights with another activation differ."""
    return f"{weights_hash(model)}-{architecture_hash(model)}"
