"""Exported files: their outputs against the network's, the example of docs/export.md, and errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from opsnet.checkpoint.loading import load_checkpoint
from opsnet.commands.export import main
from opsnet.exporting import run as exporting
from opsnet.exporting.network import METADATA, ExportNetwork
from opsnet.exporting.parity import TIES, drawn_batch
from opsnet.exporting.run import export
from opsnet.inference.segment import predict
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

DOCS = Path(__file__).parents[2] / "docs" / "export.md"
WORDS = "red circle, green stripes, blue square, sea"


@pytest.fixture(scope="module")
def exported(compose, lenient_checkpoint, tmp_path_factory):
    """(folder with opsnet.onnx and opsnet.npz, the parity that the command measured), exported once."""
    folder = tmp_path_factory.mktemp("exported")
    given = [f"checkpoint={lenient_checkpoint}", f"output={folder / 'opsnet.onnx'}", f"vocabulary='{WORDS}'"]
    return folder, export(compose("export", *given, "filtering.threshold=0"))


def test_the_file_has_the_outputs_of_the_network(exported) -> None:
    folder, found = exported
    assert {p.name for p in folder.iterdir()} == {"opsnet.onnx", "opsnet.npz"}
    assert found.runs == 15
    assert found.pixels <= TIES * found.of_pixels
    assert found.segments > 0
    assert found.mask <= 1e-4
    assert found.score <= 1e-4


def test_sizes_names_and_images_are_dynamic_and_the_file_has_metadata(exported, lenient_checkpoint) -> None:
    import onnx
    import onnxruntime

    path = str(exported[0] / "opsnet.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    shapes = {i.name: i.shape for i in session.get_inputs()}
    assert [isinstance(side, int) for side in shapes["image"]] == [False, True, False, False]
    assert isinstance(shapes["text"][0], str) and shapes["text"][1] == 128
    images = torch.cat([drawn_batch((64, 96), seed).images for seed in (1, 2)])
    text = np.eye(1, 128, dtype=np.float32)
    masks, logits, *_ = session.run(
        None,
        {"image": images.numpy(), "size": np.array([[64, 96]] * 2), "text": text, "concept": np.zeros(1, np.int64)},
    )
    assert masks.shape[0] == 2
    assert logits.shape[::2] == (2, 1)
    metadata = json.loads(next(p.value for p in onnx.load(path).metadata_props if p.key == METADATA))
    trained = load_checkpoint(lenient_checkpoint, device="cpu")
    assert metadata["train_names"] == list(trained.train_vocabulary.names)
    assert metadata["modulation"]["alpha"] == 10


def test_the_example_in_the_docs_gives_the_map_of_the_network(
    exported, lenient_checkpoint, tmp_path, monkeypatch, capsys
) -> None:
    code = re.search(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    assert "opsnet" not in re.findall(r"import (\w+)", code[1])
    monkeypatch.chdir(exported[0])
    batch = drawn_batch((70, 121), 5)
    pixels = (batch.images[0, :, :70, :121] * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save("photo.png")
    found: dict[str, object] = {}
    # Overlap and threshold for a network that is hardly trained.
    exec(code[1].replace("0.8 * inside", "0.0 * inside").replace("scores > 0.05", "scores > -1"), found)
    trained = load_checkpoint(lenient_checkpoint, device="cpu")
    (expected,) = predict(
        trained.model, batch, trained.names.prepared(vocabulary := Vocabulary.load(WORDS)),
        recognizer=EmbeddingModulation(), filtering=MaskFiltering(threshold=0), overlap=trained.overlap,
    )  # fmt: skip
    assert found["segments"] == {s.id: vocabulary.names[s.label] for s in expected.segments}
    assert (found["ids"] == expected.ids.numpy()).mean() > 0.999  # the docs' image is resized by Pillow
    assert capsys.readouterr().out.count("of the image") == len(expected.segments) > 0


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_file_that_differs_is_not_written(compose, lenient_checkpoint, tmp_path, monkeypatch) -> None:
    """The graph of another network is written instead of this one's."""

    def wrong(path: Path):
        def run(images, size, target):
            masks, *rest = network.forward_bank(images, size, target)
            return masks + 1, *rest

        return run

    network = None

    def remember(*arguments):
        nonlocal network
        network = ExportNetwork(*arguments)
        return network

    monkeypatch.setattr(exporting, "ExportNetwork", remember)
    monkeypatch.setattr(exporting, "trace", lambda *_: None)
    monkeypatch.setattr(exporting, "write_graph", lambda program, path, *_: path.write_bytes(b"graph"))
    monkeypatch.setattr(exporting, "runner", wrong)
    cfg = compose(
        "export", f"checkpoint={lenient_checkpoint}", f"output={tmp_path / 'a.onnx'}", "filtering.threshold=1"
    )
    with pytest.raises(InputError, match="differs from the original: masks by .*nothing was written"):
        export(cfg)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["format=torchscript"], "format must be one of onnx, pt2, got 'torchscript'"),
        (["output=a.bin"], "output a.bin must end in .onnx"),
        (["format=pt2", "output=a.onnx"], "output a.onnx must end in .pt2"),
        (["vocabulary=nowhere.txt"], "nowhere.txt does not exist"),
        ([], "checkpoint no.ckpt does not exist"),
    ],
)
def test_invalid_input_gives_a_short_error(overrides, part, command, tmp_path) -> None:
    code, error = command(main, f"hydra.run.dir={tmp_path / 'run'}", "checkpoint=no.ckpt", *overrides)
    assert code == 2
    assert part in error.splitlines()[-1]
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("format", "output", "expected"),
    [
        (None, "a.pt2", ("pt2", "a.pt2")),
        (None, "a.onnx", ("onnx", "a.onnx")),
        (None, "a", ("onnx", "a.onnx")),
        ("pt2", "a", ("pt2", "a.pt2")),
        ("pt2", "a.pt2", ("pt2", "a.pt2")),
    ],
)
def test_the_suffix_chooses_the_format(format, output, expected) -> None:
    kind, file = exporting._format_and_file(format, Path(output))
    assert (kind, str(file)) == expected


def test_a_missing_package(command, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, error = command(main, f"hydra.run.dir={tmp_path / 'run'}", "checkpoint=no.ckpt")
    assert code == 2
    assert (
        "format=onnx needs onnx, onnxscript, onnxruntime: pip install '.[export]' in the clone"
        in error.splitlines()[-1]
    )


# --- slow -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("pt2", []),
        ("pt2", ["height=96", "width=128"]),
        ("onnx", ["height=96", "width=128"]),
        ("onnx", ["modulation=geometric_ensemble"]),
    ],
)
def test_both_formats_open_and_fixed(kind, more, compose, lenient_checkpoint, tmp_path) -> None:
    output = tmp_path / f"opsnet.{kind}"
    given = [f"checkpoint={lenient_checkpoint}", f"format={kind}", f"output={output}", "filtering.threshold=0"]
    found = export(compose("export", *given, *more))
    assert found.runs == 15
    assert found.pixels <= TIES * found.of_pixels
    assert found.segments > 0
    assert found.mask <= 1e-4
    assert output.stat().st_size < 8e6  # not CLIP's text tower
