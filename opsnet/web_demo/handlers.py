"""What the page's controls do: every handler returns the new values of the outputs that it fills."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from opsnet.prediction.predictor import Predictor
from opsnet.utils.errors import InputError
from opsnet.utils.free_memory import return_free_memory
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.vocabulary import packaged_vocabularies
from opsnet.web_demo.doctor_table import doctor_table
from opsnet.web_demo.downloads import new_folder, write_downloads
from opsnet.web_demo.examples import Example
from opsnet.web_demo.figure import counted, figure, segment_table
from opsnet.web_demo.models import Models
from opsnet.web_demo.recognizers import offered_recognizers, own_recognizer, recognizer_labels, strengths
from opsnet.web_demo.responses import Controls, Response, segment_image
from opsnet.web_demo.uploads import ProcessedImages, checked_upload

PLACEHOLDER = '<div class="placeholder"><p>Upload an image or choose an example, then press <b>Segment</b>.</p></div>'
NO_SEGMENTS, NO_NAMES = '<p class="quiet">no image yet</p>', '<p class="quiet">no class names yet</p>'
DOWNLOADS = 3
STRONGEST = (20.0, 2.0)  # ends of the sliders of alpha and beta
Properties = dict[str, Any]
"""Properties of a control, for its construction and for its updates."""


@dataclass(frozen=True)
class Handlers:
    """The handlers of one page.

    Attributes:
        models: the models to choose from.
        examples: training names -> example images.
        folder: the private folder of uploads and downloads.
        images: the images that were processed last.
    """

    models: Models
    examples: Callable[[Vocabulary], tuple[Example, ...]]
    folder: Path
    images: ProcessedImages

    def respond(self, model: Any, image: Any, words: Any, *controls: Any) -> list[Any]:
        """Status, warnings, figure, segments, doctor and downloads; invalid input changes only the status.

        Args:
            model: its name.
            image: an uploaded file as gradio describes it, or ``None``.
            words: the class names.
            controls: recognizer, alpha, beta and threshold.
        """
        try:
            path = checked_upload(image.get("path") if isinstance(image, dict) else image, self.folder)
            key = (str(model), path or "")
            with self.models.using(model) as predictor:
                found = segment_image(predictor, self.images.get(key), path, words, Controls.checked(*controls))
                train = predictor.train_vocabulary.name
        except InputError as error:
            return [_status(str(error), is_bad=True), *[gr.skip()] * (4 + DOWNLOADS)]
        self.images.put(key, found.seen)
        if found.network_seconds:  # a new image: its pass left gaps, and others were dropped for it
            return_free_memory()
        return self._shown(found, train)

    def _shown(self, found: Response, train: str) -> list[Any]:
        pixels, name = found.seen.pixels, Path(found.seen.path).name
        files = write_downloads(new_folder(self.folder / "results"), name, pixels, found.map)
        return [
            _status(_summary(found)), warning_lines(found.warnings),
            figure(pixels, found.map, name), segment_table(found.map),
            doctor_table(found.fit, train, found.cut, modulated=found.modulated),
            *[gr.update(value=str(file), interactive=True) for file in files],
        ]  # fmt: skip

    def choose_model(self, model: Any) -> list[Any]:
        """The introduction, the settings, the examples, and empty outputs; a model that cannot be loaded says why."""
        try:
            with self.models.using(model) as predictor:
                view = [introduction(predictor), *map(_update, settings(predictor)), self._example_images(predictor)]
        except InputError as error:
            return [*[gr.skip()] * 6, *cleared(_status(str(error), is_bad=True))]
        return [*view, *cleared()]

    def choose_recognizer(self, model: Any, name: Any) -> list[Any]:
        """The sliders of alpha and beta: shown with the recognizer's values if it has them."""
        try:
            with self.models.using(model) as predictor:
                return [*map(_update, _sliders(strengths(offered_recognizers(predictor)[str(name)])))]
        except (InputError, KeyError):  # the next response says it
            return [gr.skip(), gr.skip()]

    def _example_images(self, predictor: Predictor) -> Any:
        found = self.examples(predictor.train_vocabulary)
        return gr.Dataset(samples=[[example.path] for example in found], visible=bool(found))

    def choose_example(self, model: Any, index: Any) -> list[Any]:
        """Image and class names of an example, and empty outputs."""
        try:
            with self.models.using(model) as predictor:
                example = dict(enumerate(self.examples(predictor.train_vocabulary)))[int(index)]
        except (InputError, KeyError, TypeError, ValueError):
            status = _status("there is no such example: reload the page", is_bad=True)
            return [gr.skip(), gr.skip(), status, *[gr.skip()] * (4 + DOWNLOADS)]
        return [example.path, gr.skip() if example.words is None else example.words, *cleared()]


def cleared(status: str | None = None) -> list[Any]:
    """The outputs before a result: no result of another image or model may stay beside a new one."""
    shown = [status or _status("ready"), "", PLACEHOLDER, NO_SEGMENTS, NO_NAMES]
    return [*shown, *[gr.update(value=None, interactive=False)] * DOWNLOADS]


def introduction(predictor: Predictor) -> str:
    """The page's title."""
    train = predictor.train_vocabulary
    return (
        "<h1>OPSNet</h1><p>Segments everything in an image and labels it from any list of names. This model was "
        f"trained on {len(train)} names ({escape(train.name)}).</p>"
    )


def settings(predictor: Predictor) -> list[Properties]:
    """Recognizer, alpha, beta and threshold at a model's own values, as properties of their controls."""
    labels, own = recognizer_labels(predictor), own_recognizer(predictor)
    threshold = predictor.filtering.threshold
    return [
        {"choices": labels, "value": own, "interactive": len(labels) > 1},
        *_sliders(strengths(predictor.recognizer)),
        {"minimum": min(0.0, threshold), "maximum": max(1.0, threshold), "value": threshold},
    ]


def _sliders(values: tuple[float, float] | None) -> list[Properties]:
    return [
        {"maximum": max(end, 2 * value), "value": value, "visible": values is not None}
        for value, end in zip(values or (10.0, 0.5), STRONGEST, strict=True)
    ]


def _update(properties: Properties) -> Any:
    return gr.update(**properties)


def preset_words(name: Any) -> Any:
    """The names of a packaged vocabulary as text."""
    return gr.skip() if name not in packaged_vocabularies() else ", ".join(Vocabulary.load(name).names)


def warning_lines(warnings: Iterable[str]) -> str:
    """Sentences above the result."""
    return "".join(f'<p class="warn">{escape(line)}</p>' for line in warnings)


def _status(text: str, *, is_bad: bool = False) -> str:
    kind = ' bad" role="alert' if is_bad else ""
    # The time makes each status a new one: browsers would not show or read out the same text again.
    return f'<div class="status{kind}" data-time="{time.monotonic_ns()}">{escape(text)}</div>'


def _summary(found: Response) -> str:
    network = f"network {found.network_seconds:.2f} s" if found.network_seconds else "network not run again"
    return f"{counted(len(found.map.segments))}; {network}, names {found.naming_seconds:.2f} s"
