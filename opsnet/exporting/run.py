"""Export: a trained network as one file, ONNX or PyTorch's own, that takes any class names as input."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from opsnet.exporting.network import SMALLEST, ExportError, ExportNetwork, trace, write_graph
from opsnet.exporting.parity import SIZES, Parity, check, compare, drawn_batch, runner
from opsnet.inference.settings import recognizer_config
from opsnet.inference.trained_model import TrainedModel
from opsnet.inference.trained_options import choose_recognizer
from opsnet.published.open_model import open_model
from opsnet.recognition.recognizer import Recognizer
from opsnet.structures import SIZE_DIVISOR, TextBank
from opsnet.utils.files import atomic_path
from opsnet.utils.option_values import INFERENCE, Number, Switch, check_values
from opsnet.vocabulary import Vocabulary

FORMATS = ("onnx", "pt2")
SIDE = Number(SMALLEST, whole=True, null=True)
KEYS: dict[str, Number | Switch] = {**INFERENCE, "height": SIDE, "width": SIDE, "tolerance": Number(0)}


def export(cfg: DictConfig) -> Parity:
    """Traces the network, writes a temporary file, and renames it to its final name only after comparing it.

    Args:
        cfg: conf/export.yaml.

    Returns:
        The differences between the file's outputs and the network's.

    Raises:
        ExportError: format, side or suffix are invalid, a package is missing, or the file's outputs differ.
        CheckpointError, ClipWeightsError, VocabularyError: checkpoint, CLIP or vocabulary are missing or unusable.
    """
    check_values(cfg, KEYS)
    kind, output = _format_and_file(cfg.format, Path(cfg.output).expanduser())
    _refuse_missing_packages(kind)
    words = None if cfg.vocabulary is None else Vocabulary.load(cfg.vocabulary)
    trained = open_model(
        cfg.checkpoint, clip=cfg.clip_model, clip_weights=cfg.clip_weights, device="cpu",
        train_vocabulary=cfg.train_vocabulary,
    )  # fmt: skip
    recognizer = choose_recognizer(cfg.modulation, trained)
    network = ExportNetwork(trained.model, trained.names.train_bank(), recognizer)
    print("tracing the network", flush=True)
    program = trace(network, cfg.height, cfg.width)
    with atomic_path(output) as temporary:
        print(f"writing {kind}", flush=True)
        write_graph(program, temporary, kind, json.dumps(_metadata(recognizer, trained)))
        parity = _compare(cfg, network, trained, temporary)
        check(parity, cfg.tolerance)
    if words is not None:
        write_text_matrix(trained.names.bank(words), output.with_suffix(".npz"))
    _print(cfg, parity, output, words)
    return parity


def _format_and_file(given: str | None, output: Path) -> tuple[str, Path]:
    """The format, which the suffix of ``output`` chooses unless it is given, and the file with its suffix.

    Raises:
        ExportError: there is no such format, or the two contradict each other.
    """
    kind = given or output.suffix.removeprefix(".") or FORMATS[0]
    if kind not in FORMATS:
        wrong = f"format must be one of {', '.join(FORMATS)}, got '{kind}'"
        raise ExportError(wrong if given else f"output {output} must end in .{' or .'.join(FORMATS)}")
    if output.suffix not in ("", f".{kind}"):
        raise ExportError(f"output {output} must end in .{kind}: change output, or leave format out")
    return kind, output.with_suffix(f".{kind}")


def _refuse_missing_packages(kind: str) -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if kind == "onnx" and missing:
        raise ExportError(f"format=onnx needs {', '.join(missing)}: pip install '.[export]' in the clone")


def _metadata(recognizer: Recognizer, trained: TrainedModel) -> dict[str, Any]:
    """Metadata that programs need to use the file."""
    return {
        "clip_hash": trained.model.clip.weights_hash,
        "templates": list(trained.model.clip.text_encoder.templates),
        "train_names": list(trained.train_vocabulary.names),
        "modulation": recognizer_config(recognizer),
        "overlap": trained.overlap,
        "size_divisor": SIZE_DIVISOR,
    }


def _compare(cfg: DictConfig, network: ExportNetwork, trained: TrainedModel, path: Path) -> Parity:
    """Compares on five images with three vocabularies of different length."""
    from hydra.utils import instantiate
    from rich.progress import track

    padded = (cfg.height, cfg.width)
    batches = [drawn_batch(size, seed, padded) for seed, size in enumerate(SIZES)]
    names = trained.train_vocabulary.names
    targets = [network.train_bank, trained.names.bank(Vocabulary.from_names(names[:1]))]
    targets.append(trained.names.bank(Vocabulary.load("scenes_novel")))
    runs = compare(
        network, runner(path), batches, targets, filtering=instantiate(cfg.filtering), overlap=trained.overlap
    )
    total = len(batches) * len(targets)
    *_, parity = track(runs, description="Comparing with the network", total=total)
    return parity


def write_text_matrix(bank: TextBank, path: Path) -> None:
    """Writes a vocabulary as .npz: the network's inputs ``text`` and ``concept``, and ``names`` and ``is_thing``."""
    import numpy as np

    with atomic_path(path) as temporary:
        np.savez(
            temporary, text=bank.embeds.numpy(), concept=bank.concept_of_row().numpy(), names=np.array(bank.names),
            is_thing=bank.is_thing.numpy(),
        )  # fmt: skip


def _print(cfg: DictConfig, parity: Parity, output: Path, words: Vocabulary | None) -> None:
    def side(name: str, pixels: int | None) -> str:
        return f"{name} {pixels} pixels" if pixels else f"{name} dynamic (multiples of {SIZE_DIVISOR} from {SMALLEST})"

    print(
        f"{parity.runs} runs compared with the network, {parity.segments} segments: masks within {parity.mask:.1e} "
        f"(their logits {parity.mask_logit:.1e}), scores within {parity.score:.1e}, maps the same but for "
        f"{parity.pixels} of {parity.of_pixels} pixels"
    )
    if parity.segments == 0:
        print("no map had a segment: only masks and scores were compared")
    print(f"inputs: {side('height', cfg.height)}, {side('width', cfg.width)}, any number of images and of names")
    print(f"written to {output} ({output.stat().st_size / 1e6:.0f} MB)")
    if words is not None:
        print(f"the text matrix of {len(words)} concepts: {output.with_suffix('.npz')}")
