"""The gradio page: its layout, and which control calls which handler."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # no telemetry; read at import
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "100"  # a table of the last requests, which is computed at each one

import gradio as gr
from starlette.middleware import Middleware

from opsnet.visualization.overlays import COLOUR_SHARE
from opsnet.vocabulary import Vocabulary
from opsnet.web_demo import handlers
from opsnet.web_demo.downloads import IDLE
from opsnet.web_demo.examples import Example
from opsnet.web_demo.guard import LARGEST_FILE, Guard
from opsnet.web_demo.handlers import Handlers
from opsnet.web_demo.models import Models
from opsnet.web_demo.unread import MOST
from opsnet.web_demo.uploads import MOST_BYTES, ProcessedImages

AT_ONCE = 4  # requests that are computed at the same time; others wait
CHECKED = 300  # seconds between searches for files that are old enough to be deleted
SHOW_OPACITY = "(percent) => document.documentElement.style.setProperty('--opacity', percent / 100)"


def build_page(
    models: Models, examples: Callable[[Vocabulary], tuple[Example, ...]], presets: Sequence[str], folder: Path,
    stored: int = MOST_BYTES,
) -> gr.Blocks:  # fmt: skip
    """The page; the first model is loaded for it.

    On a wide screen the settings are below the inputs, with the result beside both; on a narrow one they follow the
    result.

    Args:
        models: shared by all visitors.
        examples: training names -> example images.
        presets: names of packaged vocabularies.
        folder: private folder for uploads and downloads; examples lie elsewhere, because its files are deleted.
        stored: bytes of the network outputs of all visitors that are kept in memory.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # gradio's default is the same folder for all users of a machine
    does = Handlers(models, examples, folder, ProcessedImages(stored))
    first = models.names[0]
    with models.using(first) as predictor, gr.Blocks(title="OPSNet", delete_cache=(CHECKED, IDLE)) as page:
        about = gr.HTML(handlers.introduction(predictor), elem_id="title", js_on_load=_script("keys.js"))
        with gr.Row(elem_id="page"):
            with gr.Column(elem_id="inputs", min_width=260):
                model = gr.Dropdown(
                    list(models.names), value=first, label="Model", elem_id="model", visible=len(models.names) > 1
                )
                image, shown, words, go = _inputs(examples(predictor.train_vocabulary))
            with gr.Column(elem_id="results", min_width=260):
                outputs = _results()
            with gr.Column(elem_id="settings", min_width=260):
                preset, *controls = _settings(handlers.settings(predictor), presets)
    with page:
        _connect(does, model, image, shown, preset, words, go, about, controls, outputs)
    page.queue(max_size=MOST, api_open=False)  # no way around the queue
    return page


def _connect(
    does: Handlers, model: Any, image: Any, shown: Any, preset: Any, words: Any, go: Any, about: Any,
    controls: list[Any], outputs: list[Any],
) -> None:  # fmt: skip
    recognizer, alpha, beta, threshold = controls
    # Values arrive as they were sent: gradio's own checks report a broken image or an empty slider only as "Error".
    every: dict[str, Any] = {"api_visibility": "private", "preprocess": False}
    quick: dict[str, Any] = {**every, "show_progress": "hidden"}
    slow: dict[str, Any] = {**every, "show_progress": "minimal", "show_progress_on": outputs[0]}
    # Settings and names relabel the stored network outputs; a new image runs the network first.
    answer: dict[str, Any] = {
        "fn": does.respond, "inputs": [model, image, words, *controls], "outputs": outputs, **slow,
        "concurrency_limit": AT_ONCE, "concurrency_id": "answers",
    }  # fmt: skip
    sliders = (alpha, beta, threshold)  # `release` alone misses keyboard and number field, `input` the reset
    answers = [
        gr.on([go.click, words.submit], **answer),
        *(gr.on([slider.input, slider.release], **answer, trigger_mode="always_last") for slider in sliders),
        shown.click(does.choose_example, [model, shown], [image, words, *outputs], **quick).then(**answer),
        # Not `input`, which a dropdown also sends when it loses the focus unchanged.
        recognizer.select(does.choose_recognizer, [model, recognizer], [alpha, beta], **quick).then(**answer),
    ]
    preset.select(handlers.preset_words, preset, words, **quick)
    model.select(does.choose_model, model, [about, *controls, shown, *outputs], **slow, cancels=answers)
    gr.on([image.upload, image.clear], handlers.cleared, None, outputs, queue=False, **quick, cancels=answers)


def _inputs(examples: Sequence[Example]) -> list[Any]:
    """Image, examples, class names, and the button."""
    image = gr.Image(
        type="filepath", image_mode=None, sources=["upload", "clipboard"], label="Image", height=260,
        elem_id="image",
    )  # fmt: skip
    shown = gr.Dataset(
        components=[image], samples=[[example.path] for example in examples], type="index", label="Examples",
        elem_id="examples", visible=bool(examples),
    )  # fmt: skip
    words = gr.Textbox(
        label="Class names", placeholder="person, tie, flag, wall", lines=1, max_lines=8, elem_id="words",
        info="separated by commas, semicolons or lines; Enter segments, Shift+Enter begins a line",
    )  # fmt: skip
    go = gr.Button("Segment", variant="primary", elem_id="go")
    return [image, shown, words, go]


def _results() -> list[Any]:
    """Status, warnings, figure, segments, doctor and three downloads."""
    status = gr.HTML('<div class="status">ready</div>', elem_id="status")
    warnings = gr.HTML("", elem_id="warnings")
    shown = gr.HTML(handlers.PLACEHOLDER, js_on_load=_script("hover.js"), elem_id="figure")
    opacity = gr.Slider(0, 100, 100 * COLOUR_SHARE, step=5, label="Opacity of the colours in %", elem_id="opacity")
    opacity.change(None, opacity, None, js=SHOW_OPACITY, api_visibility="private")
    with gr.Row(elem_id="downloads"):
        buttons = [
            gr.DownloadButton(label, interactive=False, size="sm", elem_id=name, min_width=80)
            for label, name in (("Overlay PNG", "overlay"), ("Panoptic PNG", "panoptic"), ("COCO json", "json"))
        ]
    with gr.Tab("Segments"):
        segments = gr.HTML(handlers.NO_SEGMENTS, elem_id="segments")
    with gr.Tab("Vocabulary doctor"):
        doctor = gr.HTML(handlers.NO_NAMES, elem_id="doctor")
    return [status, warnings, shown, segments, doctor, *buttons]


def _settings(properties: list[handlers.Properties], presets: Sequence[str]) -> list[Any]:
    """Packaged vocabularies; recognizer, alpha, beta and threshold."""
    recognizer, alpha, beta, threshold = properties
    gr.HTML("<h2>Settings</h2>", elem_id="settings-title")
    return [
        gr.Dropdown(list(presets), value=None, label="Fill in the class names of a dataset", elem_id="preset"),
        gr.Dropdown(label="Recognizer", elem_id="recognizer", **recognizer),
        gr.Slider(0, step=0.5, label="α: weight of CLIP", elem_id="alpha", **alpha),
        gr.Slider(0, step=0.05, label="β: debiasing", elem_id="beta", **beta),
        gr.Slider(step=0.01, label="Score threshold", elem_id="threshold", **threshold),
    ]


def _script(name: str) -> str:
    return (resources.files("opsnet.web_demo") / name).read_text(encoding="utf-8")


def launch_options(folder: Path) -> dict[str, Any]:
    """How the page is served: behind :class:`Guard`, without external requests and telemetry.

    Args:
        folder: as for :func:`build_page`.
    """
    fonts = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
    return {
        "share": False, "ssr_mode": False, "quiet": True, "footer_links": [], "max_file_size": LARGEST_FILE,
        "app_kwargs": {"middleware": [Middleware(Guard, folder=folder)], "docs_url": None, "redoc_url": None},
        "enable_monitoring": False, "run_history": False, "mcp_server": False, "pwa": False,
        "state_session_capacity": 100, "theme": gr.themes.Soft(font=fonts[0], font_mono=fonts[1]),
        "css": _script("page.css"),
    }  # fmt: skip
