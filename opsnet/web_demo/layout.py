"""The gradio page: its layout and event handlers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # no telemetry; read at import

import gradio as gr

from opsnet.prediction.predictor import Predictor
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.web_demo.doctor_table import doctor_table
from opsnet.web_demo.downloads import IDLE, new_folder, write_downloads
from opsnet.web_demo.figure import figure, segment_table
from opsnet.web_demo.responses import ProcessedImage, Response, segment_image

LARGEST_FILE = "50mb"
_PLACEHOLDER = '<div class="placeholder"><p>Upload an image or choose an example, then press <b>Segment</b>.</p></div>'


def uploaded(payload: Any) -> str | None:
    """The path of an uploaded file; gradio's own preprocessing would report a broken image only as "Error"."""
    return None if payload is None else payload.path


def build_page(predictor: Predictor, examples: Sequence[tuple[str, str]], presets: Sequence[str]) -> gr.Blocks:
    """The page.

    Args:
        predictor: shared by all visitors.
        examples: paths of images, each with class names.
        presets: names of packaged vocabularies.
    """
    with gr.Blocks(title="OPSNet", analytics_enabled=False, delete_cache=(IDLE, IDLE)) as page:
        gr.HTML(
            "<h1>OPSNet</h1><p>Segments everything in an image and labels it from any list of names. Trained on "
            f"{len(predictor.train_vocabulary)} names ({escape(predictor.train_vocabulary.name)}).</p>",
            elem_id="title",
        )
        seen = gr.State(None, time_to_live=IDLE)
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                inputs = _controls(examples, presets)
            with gr.Column(scale=3, min_width=420):
                outputs = _results()
        go = inputs.pop()
        listeners = [go.click, inputs[1].submit, inputs[2].release, inputs[3].release]
        # Sliders and names relabel the stored network outputs; a new image runs the network first.
        for listen in listeners:
            listen(
                lambda *given: respond(predictor, *given), [seen, *inputs], [seen, *outputs], show_progress="minimal",
                concurrency_limit=4, concurrency_id="answers", api_visibility="private",
            )  # fmt: skip
    return page


def _controls(examples: Sequence[tuple[str, str]], presets: Sequence[str]) -> list[Any]:
    """Image, class names, alpha, beta, and the button."""
    image = gr.Image(
        type="filepath", image_mode=None, sources=["upload", "clipboard"], label="Image", height=260,
        elem_id="image",
    )  # fmt: skip
    image.preprocess = uploaded  # type: ignore[method-assign]
    shown = gr.Dataset(
        components=[image], samples=[[path] for path, _ in examples], type="index", label="Examples",
        elem_id="examples",
    )  # fmt: skip
    preset = gr.Dropdown(
        list(presets), value=None, label="Fill in a vocabulary", elem_id="preset", info="or enter your own class names"
    )
    words = gr.Textbox(
        label="Class names", placeholder="red circle, green stripes, sea", lines=3, max_lines=8, elem_id="words",
        info="separated by commas",
    )  # fmt: skip
    preset.input(_preset_words, preset, words, api_visibility="private")
    go = gr.Button("Segment", variant="primary", elem_id="go")
    shown.click(lambda index: examples[index], shown, [image, words], api_visibility="private")
    alpha = gr.Slider(0, 20, 10, step=0.5, label="α: weight of CLIP", elem_id="alpha")
    beta = gr.Slider(0, 2, 0.5, step=0.05, label="β: debiasing", elem_id="beta")
    return [image, words, alpha, beta, go]


def _results() -> list[Any]:
    """Status, figure, segments, doctor and three downloads."""
    status = gr.HTML('<div class="status">ready</div>', elem_id="status")
    script = (resources.files("opsnet.web_demo") / "hover.js").read_text(encoding="utf-8")
    shown = gr.HTML(_PLACEHOLDER, js_on_load=script, elem_id="figure")
    with gr.Row():
        buttons = [
            gr.DownloadButton(label, interactive=False, size="sm", elem_id=name)
            for label, name in (("Overlay PNG", "overlay"), ("Panoptic PNG", "panoptic"), ("COCO json", "json"))
        ]
    with gr.Tab("Segments"):
        segments = gr.HTML('<p class="quiet">no image yet</p>', elem_id="segments")
    with gr.Tab("Vocabulary doctor"):
        doctor = gr.HTML('<p class="quiet">no class names yet</p>', elem_id="doctor")
    return [status, shown, segments, doctor, *buttons]


def _preset_words(name: str | None) -> Any:
    return gr.skip() if not name else ", ".join(Vocabulary.load(name).names)


def respond(
    predictor: Predictor, seen: ProcessedImage | None, path: str | None, words: str, alpha: float, beta: float
) -> list[Any]:
    """The new state and all outputs; invalid input changes only the status line."""
    try:
        found = segment_image(predictor, seen, path, words, alpha, beta)
    except InputError as error:
        return [gr.skip(), f'<div class="status bad" role="alert">{escape(str(error))}</div>', *[gr.skip()] * 6]
    pixels = found.seen.pixels
    files = write_downloads(new_folder(), Path(found.seen.path).name, pixels, found.map)
    return [
        found.seen, _status(found), figure(pixels, found.map), segment_table(found.map),
        doctor_table(found.fit, predictor.train_vocabulary.name, found.cut),
        *[gr.DownloadButton(value=str(file), interactive=True) for file in files],
    ]  # fmt: skip


def _status(found: Response) -> str:
    network = f"network {found.network_seconds:.2f} s" if found.network_seconds else "network not run again"
    count = len(found.map.segments)
    warnings = "".join(f'<p class="warn" role="alert">{escape(str(w))}</p>' for w in found.map.warnings)
    return f'<div class="status">{count} segments; {network}, names {found.naming_seconds:.2f} s</div>{warnings}'


def launch_options() -> dict[str, Any]:
    """How the page is served: without external requests and telemetry."""
    fonts = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
    return {
        "share": False, "ssr_mode": False, "quiet": True, "footer_links": [], "max_file_size": LARGEST_FILE,
        "state_session_capacity": 100, "theme": gr.themes.Soft(font=fonts[0], font_mono=fonts[1]),
        "css": (resources.files("opsnet.web_demo") / "page.css").read_text(encoding="utf-8"),
    }  # fmt: skip
