"""The object behind ``opsnet-predict``, the Python API and the web page: images and class names -> labelled maps."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from huggingface_hub import ModelHubMixin
from omegaconf import OmegaConf
from torch import Tensor

from opsnet.checkpoint.folder import fetch, read, save
from opsnet.checkpoint.stored_network import text_cache
from opsnet.clip.loading import ClipWeightsError
from opsnet.inference.config import checked_semantic
from opsnet.inference.network_output import NetworkOutput, run_network
from opsnet.inference.settings import (
    parse_filtering,
    parse_recognizer,
    recognizer_config,
    require_query_embeddings,
)
from opsnet.inference.trained_model import TrainedModel, load_clip_alone
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction import arguments
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.cautions import issue, of_names, of_scope, with_image_warnings, with_warnings
from opsnet.prediction.cosines import with_cosines
from opsnet.prediction.given_masks import GivenMasks, MasksLike
from opsnet.prediction.images import AUTO, ImageLike, Pixels, SourceImage, network_size, to_batch
from opsnet.prediction.labelling import Labelling, Proposed
from opsnet.prediction.mask_files import read_masks
from opsnet.prediction.mask_labelling import KeepAll, checked_front, label_masks, mask_recognizer, propose_masks
from opsnet.prediction.naming import UnknownRule, label_segments
from opsnet.prediction.semantic_naming import is_from_proposals, label_pixels
from opsnet.prediction.sources import ImageSource, by_padded_size, image_source, in_batches
from opsnet.prediction.words import Words, as_words
from opsnet.published.clips import clip_config
from opsnet.published.open_model import open_model
from opsnet.recognition.recognizer import PreparedNames, Recognizer
from opsnet.structures import TextBank
from opsnet.utils.configuration import option
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary


@arguments.known_arguments
def load(
    path_or_hub_id: str | Path, *, device: str = "auto", clip: str | Path | None = None,
    clip_weights: str | Path | None = None, modulation: str | Recognizer | None = None,
    filtering: str | MaskFiltering | None = None, treat_label_names_as_seen: bool = False,
    train_vocabulary: str | Path | Vocabulary | None = None, ema: bool = True,
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
        ema: use the moving average of the weights if a checkpoint has one.

    Raises:
        InputError: ``path_or_hub_id`` is not text or a path.
        CheckpointError, WeightsError: it does not exist, is not a network, is damaged, or was trained with another
            CLIP.
        ClipWeightsError: CLIP's weights are missing.
    """
    if not isinstance(path_or_hub_id, (str, PathLike)) or not os.fspath(path_or_hub_id):
        raise InputError(
            f"path_or_hub_id must be a path (checkpoint, folder, weights) or owner/name, got {path_or_hub_id!r}"
        )
    trained = open_model(
        path_or_hub_id, clip=clip, clip_weights=clip_weights, device=device,
        treat_label_names_as_seen=treat_label_names_as_seen, train_vocabulary=train_vocabulary, ema=ema,
    )  # fmt: skip
    return Predictor(trained, modulation=modulation, filtering=filtering)


@arguments.known_arguments
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
        if not isinstance(trained, TrainedModel):
            raise InputError(f"trained must be a network, got {type(trained).__name__}: call opsnet.load(PATH)")
        self.trained, inference = trained, trained.inference
        self.size = network_size(inference, shortest, longest)
        self.overlap = inference.overlap if overlap is None else arguments.share("overlap", overlap)
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

    @arguments.known_arguments
    def __call__(
        self, images: ImageLike | Sequence[ImageLike], vocabulary: Words, *, top_k: int = 1, batch_size: int = 8,
        modulation: str | Recognizer | None = None, filtering: str | MaskFiltering | None = None,
        unknown: UnknownRule | None = None, path_margin: float = 0.1, task: str = "panoptic",
        semantic: str | None = None,
    ) -> PanopticResult | list[PanopticResult] | Iterator[PanopticResult]:  # fmt: skip
        """Segments images and labels the segments.

        Args:
            images: one image or a list; each is a path, an address (http, https), the bytes of a file, a PIL image, an
                array (H, W, 3) or a tensor (3, H, W). Or a folder, a pattern such as ``photos/*.jpg``, or a video file.
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
            One result for one image and a list for a list. For a folder, a pattern or a video an iterator, which reads
            images as it goes; those that cannot be read are skipped with a warning.

        Raises:
            InputError: an image or the vocabulary cannot be read, or an argument is invalid; raised before anything is
                computed.
            TypeError: there is no such argument.
        """
        labelling = self._labelling(
            vocabulary, modulation=modulation, filtering=filtering, top_k=top_k, unknown=unknown,
            path_margin=path_margin, task=task, semantic=semantic,
        )  # fmt: skip
        size, source = arguments.whole("batch_size", batch_size), image_source(images)
        if source.is_stream:
            return self._stream(source, labelling, size)
        read = source.read()
        results: dict[int, PanopticResult] = {}
        for chosen in by_padded_size(read, size, self.size):
            found = self._label(self.propose([read[i] for i in chosen]), labelling)
            results.update(zip(chosen, found, strict=True))
        issue(results.values(), stacklevel=4)  # past the check of the arguments
        return results[0] if source.is_one else [results[i] for i in range(len(read))]

    def _stream(self, source: ImageSource, labelling: Labelling, batch_size: int) -> Iterator[PanopticResult]:
        images = source.readable(lambda error: warnings.warn(f"skipped: {error}", stacklevel=5))
        for batch in in_batches(images, batch_size, self.size):
            results = self._label(self.propose(batch), labelling)
            issue(results)
            yield from results

    @torch.inference_mode()
    def propose(self, images: ImageLike | Sequence[ImageLike]) -> Proposed:
        """One forward pass over one image or a list of images.

        Raises:
            InputError: an image cannot be read, the list is empty, the images of a folder, a pattern or a video are
                given, which may be too many, or the predictor is a CLIP alone.
        """
        if not self.trained.has_segmenter:
            raise InputError("a CLIP alone finds no masks: give them to label(), or load a checkpoint")
        source = image_source(images)
        if source.is_stream:
            raise InputError("propose() takes an image or a list, because it keeps all in memory: list the images")
        read = tuple(source.read())
        if not read:
            raise InputError("there is no image to segment: give one or more")
        batch = to_batch([image.pixels for image in read], size=self.size)
        with self._network:
            output = run_network(self.trained.model, batch.to(self.device))
        output = with_image_warnings(output, self.trained, [image.pixels for image in read])
        return Proposed.of_images(output, read)

    @arguments.known_arguments
    def name(
        self, output: NetworkOutput, vocabulary: Words, *, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, top_k: int = 1, unknown: UnknownRule | None = None,
        path_margin: float = 0.1, task: str = "panoptic", semantic: str | None = None,
    ) -> list[PanopticResult]:  # fmt: skip
        """Labels the segments of network outputs; one result per image. Arguments as in :meth:`__call__`.

        The text embeddings of a new vocabulary are computed once and cached.

        Raises:
            InputError: the vocabulary, recognizer, filter or task is invalid; see also :func:`is_from_proposals`.
        """
        labelling = self._labelling(
            vocabulary, modulation=modulation, filtering=filtering, top_k=top_k, unknown=unknown,
            path_margin=path_margin, task=task, semantic=semantic,
        )  # fmt: skip
        return self._label(output, labelling)

    @arguments.known_arguments
    def label(
        self, image: ImageLike, masks: MasksLike, vocabulary: Words, *, scores: Sequence[float] | None = None,
        front: str = "small", overlap: float = 0.0, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, top_k: int = 1, unknown: UnknownRule | None = None,
        path_margin: float = 0.1, task: str = "panoptic",
    ) -> PanopticResult:  # fmt: skip
        """Names masks from elsewhere, such as SAM's, and merges them into a map without overlaps.

        They are named by CLIP's embeddings pooled inside each mask; by the predictor's own recognizer if the network's
        embedding head pools pixels too (FC-CLIP's). OPSNet has no query embeddings of masks that are not its own.

        Args:
            image: one image, see :meth:`__call__`.
            masks: masks at its size: bool (n, H, W); a map of ids (H, W); SAM's list of records; or the path of a file,
                see :mod:`opsnet.prediction.mask_files`. They may overlap.
            vocabulary: see :meth:`__call__`.
            scores: n scores in 0..1, such as SAM's predicted IoU, if the masks have none with them.
            front: which of two overlapping masks gets the pixels: "small": the smaller one, so that parts stay visible;
                "score": the one with the higher product of its name's probability and its score.
            overlap: masks that keep less of their pixels than this fraction are dropped.
            modulation: replaces the recognizer.
            filtering: drops masks by score, see :meth:`__call__`; ``None`` keeps all.
            top_k, unknown, path_margin, task: see :meth:`__call__`.

        Returns:
            A result whose segments have the masks' ids (``source_ids``), with the masks that are in no segment
            (``dropped``). Stuff masks of one name are one segment.

        Raises:
            InputError: the image or the masks cannot be read, a mask is invalid or of another size than the image, or
                an argument is invalid; raised before anything is computed.
            TypeError: there is no such argument.
        """
        chosen = None if modulation is None else self._recognizer(modulation)
        labelling = self._labelling(
            vocabulary, modulation=mask_recognizer(self.trained.model, self.recognizer, chosen),
            filtering=KeepAll() if filtering is None else filtering, top_k=top_k, unknown=unknown,
            path_margin=path_margin, task=task, semantic="panoptic" if task == "semantic" else None,
        )  # fmt: skip
        kept, front, source = arguments.share("overlap", overlap), checked_front(front), image_source(image)
        if not source.is_one:
            raise InputError("label() takes one image with its masks: call it for each image")
        (read,) = source.read()
        given = read_masks(masks, read.path, (read.pixels.shape[0], read.pixels.shape[1]), scores=scores)
        result = self._label_masks(read, given, labelling, front, kept)
        issue([result], stacklevel=4)
        return result

    @torch.inference_mode()
    def _label_masks(
        self, image: SourceImage, given: GivenMasks, how: Labelling, front: str, overlap: float
    ) -> PanopticResult:  # fmt: skip
        with self._network:
            proposed = propose_masks(self.trained.model, image, given, size=self.size)
        logits, no_object = self._logits(proposed.output, how)
        found = label_masks(proposed, logits, no_object, how, front=front, overlap=overlap)
        about = (*of_scope(self.trained, image.pixels), *of_names(self.trained, how.words))
        (named,) = self._with_cosines([dataclasses.replace(found, warnings=about)], proposed.output, how)
        return named

    def _labelling(
        self, vocabulary: Words, *, modulation: str | Recognizer | None, filtering: str | MaskFiltering | None,
        semantic: str | None, **rules: Any,
    ) -> Labelling:  # fmt: skip
        words, task = as_words(vocabulary), rules["task"]
        return Labelling(
            words=words,
            recognizer=self.recognizer if modulation is None else self._recognizer(modulation),
            filtering=self.filtering if filtering is None else self._filter(filtering),
            from_proposals=is_from_proposals(task, semantic, self.semantic, words, rules["unknown"]),
            **rules,
        )

    @torch.inference_mode()
    def _label(self, output: NetworkOutput, how: Labelling) -> list[PanopticResult]:
        require_query_embeddings(how.recognizer, self.trained.model.has_query_embeddings)
        logits, no_object = self._logits(output, how)
        if how.from_proposals:
            found = label_pixels(output, logits, no_object, how.target, top_k=how.top_k)
        else:
            found = label_segments(
                output, logits, no_object, how.words, filtering=how.filtering, overlap=self.overlap,
                top_k=how.top_k, unknown=how.unknown, path_margin=how.path_margin,
            )  # fmt: skip
        found = self._with_cosines(found, output, how)
        found = with_warnings(
            found, output, logits, no_object, how.words, trained=self.trained, filtering=how.filtering, task=how.task
        )
        return output.with_images(found) if isinstance(output, Proposed) else found

    def _logits(self, output: NetworkOutput, how: Labelling) -> tuple[Tensor, Tensor]:
        """Logits (B, K, M) of the names, and (B, K) of no-object."""
        return how.recognizer(output.embeddings(), self.prepared(how.target), self.trained.model.no_object_embed)

    def _with_cosines(
        self, found: Sequence[PanopticResult], output: NetworkOutput, how: Labelling
    ) -> list[PanopticResult]:
        return with_cosines(found, how.recognizer, output.embeddings(), self.prepared(how.target), how.words)

    def _filter(self, value: str | MaskFiltering) -> MaskFiltering:
        inference = self.trained.inference
        if isinstance(value, str):
            return parse_filtering(value, filters=inference.filters, trained=inference.mask_filtering)
        if not isinstance(value, MaskFiltering):
            raise InputError(
                f"filtering must be text such as 'cls_iou,threshold=0.1' or a MaskFiltering, got {value!r}"
            )
        return value

    def _recognizer(self, value: str | Recognizer) -> Recognizer:
        if not isinstance(value, str):
            if isinstance(value, type) or not callable(value):
                raise InputError(f"modulation must be text such as 'alpha=5,beta=0.25' or a Recognizer, got {value!r}")
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
