"""The object behind ``opsnet-predict``, the Python API and the web page: images and class names -> labelled maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from huggingface_hub import ModelHubMixin
from omegaconf import OmegaConf

from opsnet.checkpoint.folder import fetch, read, save
from opsnet.checkpoint.stored_network import text_cache
from opsnet.clip.loading import ClipWeightsError
from opsnet.inference.config import InferenceConfig, checked_semantic
from opsnet.inference.network_output import NetworkOutput, run_network
from opsnet.inference.settings import parse_filtering, parse_recognizer, recognizer_config
from opsnet.inference.trained_model import TrainedModel, load_clip_alone
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.carriers import NamedMap
from opsnet.prediction.given_masks import MasksLike
from opsnet.prediction.images import ImageLike, NetworkSize, as_list, padded_size, to_batch, to_pixels
from opsnet.prediction.labelling import KEEP_ALL, label_masks, mask_recognizer, propose_masks
from opsnet.prediction.mask_files import read_masks
from opsnet.prediction.naming import UnknownRule, label_segments
from opsnet.prediction.semantic_naming import is_from_proposals, label_pixels
from opsnet.prediction.words import Words, as_words
from opsnet.prediction.writing import for_task
from opsnet.published.clips import clip_config
from opsnet.published.open_model import open_model
from opsnet.recognition.recognizer import PreparedNames, Recognizer
from opsnet.structures import TextBank
from opsnet.utils.configuration import option
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.name_tree import NameTree

AUTO = "auto"
Pixels = int | None | str
"""Length of an edge: a number, ``None`` for no limit, or ``"auto"``."""


def load(
    path_or_hub_id: str | Path, *, device: str = "auto", clip: str | Path | None = None,
    clip_weights: str | Path | None = None, modulation: str | Recognizer | None = None,
    filtering: str | MaskFiltering | None = None, treat_label_names_as_seen: bool = False,
    train_vocabulary: str | Path | Vocabulary | None = None,
) -> Predictor:  # fmt: skip
    """A predictor from a checkpoint, a folder of ``save_pretrained``, or published weights; local or on the Hub.

    What a file is is recognised by its content: a checkpoint of ``opsnet-train``, or weights of Mask2Former
    (detectron2's or transformers'), FC-CLIP or OVRCOAT, whose sizes are those of the weights.

    Args:
        path_or_hub_id: the file, the folder, or "owner/name".
        clip: for published weights: an option of conf/clip, or the path of an ``open_clip_config.json``, if it is not
            the usual one.
        device: "auto" uses CUDA if available.
        clip_weights: path of CLIP's weights; default: the path used in training.
        modulation, filtering: see :class:`Predictor`.
        treat_label_names_as_seen: see :func:`opsnet.checkpoint.loading.load_checkpoint`.
        train_vocabulary: for published weights: the names that they were trained with; default: ``coco``.

    Raises:
        CheckpointError, WeightsError: it does not exist, is not a network, is damaged, or was trained with another
            CLIP.
        ClipWeightsError: CLIP's weights are missing.
    """
    trained = open_model(
        path_or_hub_id, clip=clip, clip_weights=clip_weights, device=device,
        treat_label_names_as_seen=treat_label_names_as_seen, train_vocabulary=train_vocabulary,
    )  # fmt: skip
    return Predictor(trained, modulation=modulation, filtering=filtering)


def load_clip(clip: str | Path = "rn50", *, clip_weights: str | Path | None = None, device: str = "auto") -> Predictor:
    """A predictor for :meth:`Predictor.label` alone: a CLIP that names given masks, without a trained network.

    Args:
        clip: an option of conf/clip, or the path of an ``open_clip_config.json``.
        clip_weights: path of its weights; default: open_clip's, downloaded once.
        device: "auto" uses CUDA if available.

    Raises:
        ClipWeightsError: the CLIP is unknown or its weights are missing.
    """
    if Path(clip).suffix == ".json" and clip_weights is None:
        raise ClipWeightsError(f"the CLIP of {clip} has no weights of its own: give clip_weights=PATH")
    group = {**clip_config(clip, {}, is_open=False, weights=clip_weights), "text_cache": str(text_cache())}
    config = OmegaConf.create({"model": option("model", "mask2former"), "clip": group})
    return Predictor(load_clip_alone(config, device=device))


class Predictor(
    ModelHubMixin, library_name="opsnet", pipeline_tag="image-segmentation",
    tags=["panoptic-segmentation", "open-vocabulary"],
):  # fmt: skip
    """Segments images and labels the segments with arbitrary class names.

    It works in two stages: :meth:`propose` runs the network once per image; :meth:`name` turns its output into maps
    for a vocabulary and recognizer without running it again. Calls do not change the predictor, so threads may share
    one; the network runs for one of them at a time.

    Args:
        trained: the network and its training vocabulary and settings.
        modulation: the recognizer, which turns the two embeddings into logits: a name of conf/modulation,
            "alpha=5,beta=0.25", or an object such as ``EmbeddingModulation(alpha=5, beta=0.25)``; default: that of the
            network's training.
        filtering: how proposals are ranked and dropped: a name of conf/filtering, optionally with options such as
            "cls_iou,threshold=0.1", or a ``MaskFiltering``; default: that of the network's training.
        shortest, longest: pixels of the edges to which images are resized, see :class:`NetworkSize`; "auto": those of
            the network's evaluation. Maps have the image's original size.
        overlap: segments that keep less of their mask are dropped; ``None``: as in training.
        semantic: how semantic maps are made: "panoptic" or "proposals"; ``None``: as stored with the network.

    Raises:
        InputError: an argument is invalid.
    """

    def __init__(
        self, trained: TrainedModel, *, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, shortest: Pixels = AUTO, longest: Pixels = AUTO,
        overlap: float | None = None, semantic: str | None = None,
    ) -> None:  # fmt: skip
        self.trained, inference = trained, trained.inference
        self.size = _network_size(inference, shortest, longest)
        self.overlap = inference.overlap if overlap is None else overlap
        self.recognizer = trained.recognizer if modulation is None else self._recognizer(modulation)
        self.filtering = inference.mask_filtering if filtering is None else self._filter(filtering)
        self.semantic = inference.semantic if semantic is None else checked_semantic(semantic)
        self._network, self._text = Lock(), Lock()

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.trained.model.no_object_embed.device

    @property
    def train_vocabulary(self) -> Vocabulary:
        """The names that the network was trained with."""
        return self.trained.train_vocabulary

    def __call__(
        self, images: ImageLike | Sequence[ImageLike], vocabulary: Words, *, top_k: int = 1, batch_size: int = 8,
        modulation: str | Recognizer | None = None, filtering: str | MaskFiltering | None = None,
        unknown: UnknownRule | None = None, path_margin: float = 0.1, task: str = "panoptic",
        semantic: str | None = None,
    ) -> NamedMap | list[NamedMap]:  # fmt: skip
        """Segments images and labels the segments.

        Args:
            images: one image or a list; each is a path, a PIL image, an array (H, W, 3) uint8 or a tensor (3, H, W).
            vocabulary: class names, see :meth:`Vocabulary.load`, or a list of names; or a tree, see
                :meth:`NameTree.load`: a .yaml file or ``wordnet:animal.n.01``, by which segments are labelled level by
                level.
            top_k: number of names listed per segment.
            batch_size: images per forward pass; only images of equal padded size share a batch, so that the result
                does not depend on the other images.
            modulation, filtering: replace the predictor's own.
            unknown: keep good masks without a confident name as "unknown".
            path_margin: in a tree, a path ends where the best child leads by less than this.
            task: "panoptic"; "semantic": one segment per class; "instance": only things.
            semantic: replaces the predictor's own, for the task "semantic"; with "proposals", the map does not depend
                on the filter and the overlap threshold.

        Returns:
            One map for one image, a list for a list.

        Raises:
            InputError: an image or the vocabulary cannot be read; raised before anything is computed.
        """
        words = as_words(vocabulary)
        listed, is_one = as_list(images)
        pixels = [to_pixels(image) for image in listed]
        maps: dict[int, NamedMap] = {}
        for chosen in self._batches([p.shape[:2] for p in pixels], batch_size):
            output = self.propose([pixels[i] for i in chosen])
            found = self.name(
                output, words, modulation=modulation, filtering=filtering, top_k=top_k, unknown=unknown,
                path_margin=path_margin, task=task, semantic=semantic,
            )  # fmt: skip
            maps.update(zip(chosen, found, strict=True))
        return maps[0] if is_one else [maps[i] for i in range(len(listed))]

    def _batches(self, sizes: Sequence[tuple[int, ...]], batch_size: int) -> list[list[int]]:
        """Indices of images by (height, width), in groups of one padded size and up to ``batch_size`` images."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for i, (height, width) in enumerate(sizes):
            by_size.setdefault(padded_size(*self.size.of(height, width)), []).append(i)
        size = max(1, batch_size)
        return [group[i : i + size] for group in by_size.values() for i in range(0, len(group), size)]

    @torch.inference_mode()
    def propose(self, images: ImageLike | Sequence[ImageLike]) -> NetworkOutput:
        """One forward pass over one image or a list of images.

        Raises:
            InputError: an image cannot be read, the list is empty, or the predictor is a CLIP alone.
        """
        if not self.trained.has_segmenter:
            raise InputError("a CLIP alone finds no masks: give them to label(), or load a checkpoint")
        pixels = tuple(to_pixels(image) for image in as_list(images)[0])
        if not pixels:
            raise InputError("there is no image to segment: give one or more")
        batch = to_batch(pixels, size=self.size)
        with self._network:
            return run_network(self.trained.model, batch.to(self.device))

    @torch.inference_mode()
    def name(
        self, output: NetworkOutput, vocabulary: Words, *, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, top_k: int = 1, unknown: UnknownRule | None = None,
        path_margin: float = 0.1, task: str = "panoptic", semantic: str | None = None,
    ) -> list[NamedMap]:  # fmt: skip
        """Labels the segments of network outputs; one map per image. Arguments as in :meth:`__call__`.

        The text embeddings of a new vocabulary are computed once and cached.

        Raises:
            InputError: the vocabulary, recognizer, filter or task is invalid; see also :func:`is_from_proposals`.
        """
        if top_k < 1:
            raise InputError(f"top_k must be at least 1, got {top_k}")
        words = as_words(vocabulary)
        target = words.word_vocabulary if isinstance(words, NameTree) else words
        recognizer = self.recognizer if modulation is None else self._recognizer(modulation)
        rank = self.filtering if filtering is None else self._filter(filtering)
        from_proposals = is_from_proposals(task, semantic, self.semantic, words, unknown)
        logits, no_object = recognizer(output.embeddings(), self.prepared(target), self.trained.model.no_object_embed)
        if from_proposals:
            return label_pixels(output, logits, no_object, target, top_k=top_k)
        maps = label_segments(
            output, logits, no_object, words, filtering=rank, overlap=self.overlap, top_k=top_k,
            unknown=unknown, path_margin=path_margin,
        )  # fmt: skip
        return [for_task(named, task) for named in maps]

    @torch.inference_mode()
    def label(
        self, image: ImageLike, masks: MasksLike, vocabulary: Words, *, scores: Sequence[float] | None = None,
        front: str = "small", overlap: float = 0.0, top_k: int = 1, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, unknown: UnknownRule | None = None, path_margin: float = 0.1,
        task: str = "panoptic",
    ) -> NamedMap:  # fmt: skip
        """Names masks from elsewhere, such as SAM's, and merges them into a map without overlaps.

        They are named by CLIP's embeddings pooled inside each mask; by the network's own recognizer if its embedding
        head pools pixels too (FC-CLIP's). OPSNet has no query embeddings of masks that are not its own.

        Args:
            image: one image, see :meth:`__call__`.
            masks: masks at its size: bool (n, H, W); a map of ids (H, W); SAM's list of records; or the path of a file,
                see :mod:`opsnet.prediction.mask_files`. They may overlap.
            vocabulary: see :meth:`__call__`.
            scores: n scores in 0..1, such as SAM's predicted IoU, if the masks have none with them.
            front: which of two overlapping masks gets the pixels: "small": the smaller one, so that parts stay visible;
                "score": the one with the higher product of its name's probability and its score.
            overlap: masks that keep less of their pixels than this fraction are dropped.
            filtering: drops masks by score, see :meth:`__call__`; ``None`` keeps all.
            modulation: replaces the recognizer.
            top_k, unknown, path_margin, task: see :meth:`__call__`.

        Returns:
            A map whose segments have the masks' ids (``source_ids``), with the masks that are in no segment
            (``dropped``). Stuff masks of one name are one segment.

        Raises:
            InputError: a mask is invalid or of another size than the image, or an argument is invalid.
        """
        pixels, words = to_pixels(image), as_words(vocabulary)
        given = read_masks(masks, image, (pixels.shape[0], pixels.shape[1]), scores=scores)
        own = None if modulation is None else self._recognizer(modulation)
        recognizer = mask_recognizer(self.trained, own)
        target = words.word_vocabulary if isinstance(words, NameTree) else words
        with self._network:
            proposed = propose_masks(self.trained.model, to_batch([pixels], size=self.size).to(self.device), given)
        embeddings, names = proposed.output.embeddings(), self.prepared(target)
        logits, no_object = recognizer(embeddings, names, self.trained.model.no_object_embed)
        named = label_masks(
            proposed, logits, no_object, words,
            filtering=KEEP_ALL if filtering is None else self._filter(filtering), front=front, overlap=overlap,
            top_k=top_k, unknown=unknown, path_margin=path_margin,
        )  # fmt: skip
        return for_task(named, task)

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
        """A vocabulary's text bank on the network's device, cached."""
        return self.prepared(vocabulary).target

    def prepared(self, vocabulary: Vocabulary) -> PreparedNames:
        """A vocabulary prepared for a recognizer; cached, because preparing 21,843 names takes longer than an image."""
        with self._text:
            return self.trained.names.prepared(vocabulary)

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, *, include_clip: bool | None = None, **_: Any
    ) -> None:
        """Writes a folder that :func:`load` reads on any machine, also offline; ``push_to_hub`` uploads the same files.

        Args:
            save_directory: the folder.
            include_clip: include CLIP's weights; default: unless open_clip provides them by name.

        Raises:
            CheckpointError: the network was not trained.
            InputError: the recognizer cannot be described by a configuration.
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
            semantic=self.semantic,
        )
        save(self.trained, save_directory, settings=settings, recognizer=self.recognizer, include_clip=include_clip)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, device: str = "auto",
        clip_weights: str | Path | None = None, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, treat_label_names_as_seen: bool = False, **how: Any,
    ) -> Predictor:  # fmt: skip
        """Reads a folder of :meth:`save_pretrained`, local or on the Hub; other arguments as in :func:`load`.

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


def _network_size(inference: InferenceConfig, shortest: Pixels, longest: Pixels) -> NetworkSize:
    """The given size; "auto" edges are those of the network's evaluation.

    Raises:
        InputError: an edge is invalid.
    """
    for key, value in (("shortest", shortest), ("longest", longest)):
        if value != AUTO and value is not None and not (isinstance(value, int) and value >= 1):
            raise InputError(f"{key} must be at least 1 pixel, null for no limit, or {AUTO}, got {value}")
    return NetworkSize(
        inference.shortest if shortest == AUTO else shortest,  # type: ignore[arg-type]
        inference.longest if longest == AUTO else longest,  # type: ignore[arg-type]
    )
