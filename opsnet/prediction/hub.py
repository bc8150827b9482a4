"""Predictors as folders of ``save_pretrained``, local or on the Hub."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelHubMixin

from opsnet.checkpoint.folder import fetch, read, save
from opsnet.inference.settings import recognizer_config
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction import arguments
from opsnet.prediction.labeller import Labeller
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self


class SavedLabeller(
    Labeller, ModelHubMixin, library_name="opsnet", pipeline_tag="image-segmentation",
    tags=["panoptic-segmentation", "open-vocabulary"],
):  # fmt: skip
    """The part of a :class:`opsnet.Predictor` that is written to and read from folders."""

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, *, include_clip: bool | None = None, **_: Any
    ) -> None:
        """Writes a folder that :func:`opsnet.load` reads on any machine, also offline.

        ``push_to_hub`` uploads the same files.

        Args:
            save_directory: the folder.
            include_clip: include CLIP's weights; default: unless open_clip provides them by name.

        Raises:
            CheckpointError: the network was not trained.
            InputError: the recognizer cannot be described by a configuration, or the folder is a file.
        """
        folder = arguments.folder("save_directory", save_directory)
        self._save_pretrained(folder, include_clip=include_clip)
        if not (folder / "README.md").exists():
            self.generate_model_card().save(folder / "README.md")

    def _save_pretrained(self, save_directory: Path, *, include_clip: bool | None = None) -> None:
        settings = dataclasses.replace(
            self.trained.inference,
            recognizer=recognizer_config(self.recognizer),
            filtering=self.filtering.settings(),
            overlap=self.overlap,
            shortest=self.size.shortest,
            longest=self.size.longest,
            semantic=self.semantic,
        )
        save(self.trained, save_directory, settings=settings, recognizer=self.recognizer, include_clip=include_clip)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, device: str = "auto",
        clip_weights: str | Path | None = None, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, treat_label_names_as_seen: bool = False, **how: Any,
    ) -> Self:  # fmt: skip
        """Reads a folder of :meth:`save_pretrained`, local or on the Hub; other arguments as in :func:`opsnet.load`.

        Raises:
            CheckpointError: it does not exist, is damaged, or was trained with another CLIP.
            InputError: ``label_names_known``, the former name of ``treat_label_names_as_seen``.
        """
        if "label_names_known" in how:
            raise InputError("label_names_known was renamed: give treat_label_names_as_seen")
        folder = fetch(pretrained_model_name_or_path, **how)
        trained = read(
            folder, device=device, clip_weights=clip_weights, treat_label_names_as_seen=treat_label_names_as_seen
        )
        return cls(trained, modulation=modulation, filtering=filtering)
