"""The object behind ``opsnet-predict``, the Python API and the web page: pictures and any words in, named maps out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from huggingface_hub import ModelHubMixin

from opsnet.checkpoint.folder import fetch, is_hub_id, read, save
from opsnet.checkpoint.loading import load_checkpoint
from opsnet.inference.config import InferenceConfig
from opsnet.inference.network_output import NetworkOutput, run_network
from opsnet.inference.settings import parse_filtering, parse_recognizer, recognizer_config
from opsnet.inference.trained_model import TrainedModel
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.carriers import NamedMap
from opsnet.prediction.naming import UnknownRule, name_segments
from opsnet.prediction.pictures import NetworkSize, Picture, as_list, padded_size, to_batch, to_pixels
from opsnet.recognition.recognizer import PreparedNames, Recognizer
from opsnet.structures import TextBank
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree, is_tree

Words = str | Path | Vocabulary | NameTree | Iterable[str]
"""A vocabulary or what :meth:`Vocabulary.load` takes, a tree or what :meth:`NameTree.load` takes, or names."""

AUTO = "auto"
Pixels = int | None | str
"""Of an edge: a number, ``None`` for no bound, or ``"auto"``."""


def load(
    path_or_hub_id: str | Path, *, device: str = "auto", clip_weights: str | Path | None = None,
    modulation: str | Recognizer | None = None, filtering: str | MaskFiltering | None = None,
    label_names_known: bool = False,
) -> Predictor:  # fmt: skip
    """A predictor from a checkpoint of ``opsnet-train``, a folder of ``save_pretrained``, or its id on the Hub.

    Args:
        path_or_hub_id: the file, the folder, or "owner/name".
        device: "auto" takes CUDA where there is one.
        clip_weights: where CLIP's weights lie now; by default where they lay at training.
        modulation, filtering: see :class:`Predictor`.
        label_names_known: see :func:`opsnet.checkpoint.loading.load_checkpoint`.

    Raises:
        CheckpointError: nothing of that name, not an OPSNet, damaged, or trained with another CLIP.
        ClipWeightsError: CLIP's weights are not where they should be.
    """
    path = Path(path_or_hub_id).expanduser()
    if path.is_dir() or (is_hub_id(str(path_or_hub_id)) and not path.is_file()):
        return Predictor.from_pretrained(
            path_or_hub_id, device=device, clip_weights=clip_weights, modulation=modulation, filtering=filtering,
            label_names_known=label_names_known,
        )  # fmt: skip
    trained = load_checkpoint(path, clip_weights=clip_weights, device=device, label_names_known=label_names_known)
    return Predictor(trained, modulation=modulation, filtering=filtering)


class Predictor(
    ModelHubMixin, library_name="opsnet", pipeline_tag="image-segmentation", license="apache-2.0",
    tags=["panoptic-segmentation", "open-vocabulary"],
):  # fmt: skip
    """Segments pictures and names the segments with any words.

    Two stages: :meth:`propose` runs the network, once a picture; :meth:`name` turns its answer into maps for a
    vocabulary and a strength of the modulation, without the network. Calls change nothing that others see: several
    threads may share one predictor, and take turns at the network.

    Args:
        trained: the network and what it was trained with.
        modulation: how the two embeddings become logits: a name of conf/modulation, "alpha=5,beta=0.25", or an object
            such as ``EmbeddingModulation(alpha=5, beta=0.25)``; that of the network's training by default.
        filtering: how proposals are ranked and dropped: a name of conf/filtering, with options as
            "cls_iou,threshold=0.1", or a ``MaskFiltering``; that of the network's training by default.
        shortest, longest: pixels of the edges of an image as the network sees it, see :class:`NetworkSize`; "auto"
            takes those of the network's evaluation. Maps have the image's own size.
        overlap: a segment that keeps less of its mask is dropped; ``None``: as in training.
    """

    def __init__(
        self, trained: TrainedModel, *, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, shortest: Pixels = AUTO, longest: Pixels = AUTO,
        overlap: float | None = None,
    ) -> None:  # fmt: skip
        self.trained, inference = trained, trained.inference
        self.size = _network_size(inference, shortest, longest)
        self.overlap = inference.overlap if overlap is None else overlap
        self.recognizer = trained.recognizer if modulation is None else self._recognizer(modulation)
        self.filtering = inference.mask_filtering if filtering is None else self._filter(filtering)
        self._network, self._text = Lock(), Lock()

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.trained.model.no_object_embed.device

    @property
    def train_vocabulary(self) -> Vocabulary:
        """What the network was trained with."""
        return self.trained.train_vocabulary

    def __call__(
        self, pictures: Picture | Sequence[Picture], vocabulary: Words, *, top_k: int = 1, batch_size: int = 8,
        modulation: str | Recognizer | None = None, filtering: str | MaskFiltering | None = None,
        unknown: UnknownRule | None = None, path_margin: float = 0.1,
    ) -> NamedMap | list[NamedMap]:  # fmt: skip
        """Segments and names pictures.

        Args:
            pictures: one, or a list: a path, a PIL image, an array (H, W, 3) uint8 or a tensor (3, H, W) each.
            vocabulary: names of the segments, see :meth:`Vocabulary.load`, or a list of names; or a tree, see
                :meth:`NameTree.load`: a .yaml file or ``wordnet:animal.n.01``, by which they are named level by level.
            top_k: names that each segment lists.
            batch_size: pictures a pass of the network; those of one padded size go together, so that the answer does
                not hang on a picture's neighbours.
            modulation, filtering: instead of the predictor's own.
            unknown: keep good masks without a convincing name as "unknown".
            path_margin: down a tree a path ends where the best child leads by less.

        Returns:
            One map for one picture, a list for a list.

        Raises:
            InputError: no such picture or vocabulary; before anything is computed.
        """
        words = as_words(vocabulary)
        listed, is_one = as_list(pictures)
        pixels = [to_pixels(picture) for picture in listed]
        maps: dict[int, NamedMap] = {}
        for chosen in self._batches([p.shape[:2] for p in pixels], batch_size):
            output = self.propose([pixels[i] for i in chosen])
            found = self.name(
                output, words, modulation=modulation, filtering=filtering, top_k=top_k, unknown=unknown,
                path_margin=path_margin,
            )  # fmt: skip
            maps.update(zip(chosen, found, strict=True))
        return maps[0] if is_one else [maps[i] for i in range(len(listed))]

    def _batches(self, sizes: Sequence[tuple[int, ...]], batch_size: int) -> list[list[int]]:
        """Indices of pictures of (height, width), up to ``batch_size`` of one padded size together."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for i, (height, width) in enumerate(sizes):
            by_size.setdefault(padded_size(*self.size.of(height, width)), []).append(i)
        size = max(1, batch_size)
        return [group[i : i + size] for group in by_size.values() for i in range(0, len(group), size)]

    @torch.inference_mode()
    def propose(self, pictures: Picture | Sequence[Picture]) -> NetworkOutput:
        """One forward pass over one image or a list of them.

        Raises:
            InputError: no such picture, or none at all.
        """
        pixels = tuple(to_pixels(picture) for picture in as_list(pictures)[0])
        if not pixels:
            raise InputError("there is no picture to segment: give one or more")
        batch = to_batch(pixels, size=self.size)
        with self._network:
            return run_network(self.trained.model, batch.to(self.device))

    @torch.inference_mode()
    def name(
        self, output: NetworkOutput, vocabulary: Words, *, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, top_k: int = 1, unknown: UnknownRule | None = None,
        path_margin: float = 0.1,
    ) -> list[NamedMap]:  # fmt: skip
        """One map a picture; arguments as of :meth:`__call__`. Another vocabulary costs its text, once.

        Raises:
            InputError: a vocabulary or a rule that cannot be used.
        """
        if top_k < 1:
            raise InputError(f"top_k must be at least 1, got {top_k}")
        words = as_words(vocabulary)
        target = words.word_vocabulary if isinstance(words, NameTree) else words
        recognizer = self.recognizer if modulation is None else self._recognizer(modulation)
        rank = self.filtering if filtering is None else self._filter(filtering)
        logits, no_object = recognizer(output.embeddings(), self.prepared(target), self.trained.model.no_object_embed)
        return name_segments(
            output, logits, no_object, words, filtering=rank, overlap=self.overlap, top_k=top_k,
            unknown=unknown, path_margin=path_margin,
        )  # fmt: skip

    def _filter(self, value: str | MaskFiltering) -> MaskFiltering:
        inference = self.trained.inference
        if isinstance(value, str):
            return parse_filtering(value, filters=inference.filters, trained=inference.mask_filtering)
        return value

    def _recognizer(self, value: str | Recognizer) -> Recognizer:
        if not isinstance(value, str):
            return value
        return parse_recognizer(value, trained=self.trained.recognizer).eval().to(self.device)

    def text(self, vocabulary: Vocabulary) -> TextBank:
        """A vocabulary's text bank on the network's device; computed once."""
        return self.prepared(vocabulary).target

    def prepared(self, vocabulary: Vocabulary) -> PreparedNames:
        """A vocabulary ready for a recognizer; cached, since 21,843 names take longer than labelling an image."""
        with self._text:
            return self.trained.names.prepared(vocabulary)

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, *, include_clip: bool | None = None, **_: Any
    ) -> None:
        """Writes a folder that :func:`load` reads anywhere, without a network; ``push_to_hub`` sends one like it.

        Args:
            save_directory: the folder.
            include_clip: whether CLIP's weights go in; by default unless open_clip has them by name.

        Raises:
            CheckpointError: nothing was trained.
            InputError: a recognizer that no configuration describes.
        """
        folder = Path(save_directory).expanduser()
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
        )
        save(self.trained, save_directory, settings=settings, recognizer=self.recognizer, include_clip=include_clip)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, device: str = "auto",
        clip_weights: str | Path | None = None, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, label_names_known: bool = False, **how: Any,
    ) -> Predictor:  # fmt: skip
        """Reads a folder of :meth:`save_pretrained`, here or on the Hub; other arguments as of :func:`load`.

        Raises:
            CheckpointError: it is not there, damaged, or made with another CLIP.
        """
        folder = fetch(pretrained_model_name_or_path, **how)
        trained = read(folder, device=device, clip_weights=clip_weights, label_names_known=label_names_known)
        return cls(trained, modulation=modulation, filtering=filtering)


def as_words(words: Words) -> Vocabulary | NameTree:
    """A vocabulary or a tree from what a user gives.

    Raises:
        VocabularyError, WordNetError: it cannot be read or used.
    """
    if isinstance(words, NameTree):
        return words
    if isinstance(words, (str, Path)) and is_tree(words):
        return NameTree.load(words)
    if isinstance(words, (str, Path, Vocabulary)):
        return Vocabulary.load(words)
    return Vocabulary.from_names([" ".join(str(name).split()) for name in words])


def _network_size(inference: InferenceConfig, shortest: Pixels, longest: Pixels) -> NetworkSize:
    """The size at which the network is evaluated, where none is asked for.

    Raises:
        InputError: it cannot be used.
    """
    for key, value in (("shortest", shortest), ("longest", longest)):
        if value != AUTO and value is not None and not (isinstance(value, int) and value >= 1):
            raise InputError(f"{key} must be at least 1 pixel, null for no bound, or {AUTO}, got {value}")
    return NetworkSize(
        inference.shortest if shortest == AUTO else shortest,  # type: ignore[arg-type]
        inference.longest if longest == AUTO else longest,  # type: ignore[arg-type]
    )
