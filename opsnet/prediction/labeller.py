"""Names segments, the network's or given masks, with arbitrary class names: what a predictor does after the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from opsnet.inference.config import checked_semantic
from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.settings import parse_filtering, parse_recognizer, require_query_embeddings
from opsnet.inference.trained_model import TrainedModel
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction import arguments
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.cautions import issue, of_names, of_scope, with_warnings
from opsnet.prediction.cosines import with_cosines
from opsnet.prediction.given_masks import GivenMasks, MasksLike
from opsnet.prediction.images import AUTO, ImageLike, Pixels, SourceImage, network_size
from opsnet.prediction.labelling import Labelling, Proposed
from opsnet.prediction.mask_files import read_masks
from opsnet.prediction.mask_labelling import KeepAll, checked_front, label_masks, mask_recognizer, propose_masks
from opsnet.prediction.naming import UnknownRule, label_segments
from opsnet.prediction.semantic_naming import is_from_proposals, label_pixels
from opsnet.prediction.sources import image_source
from opsnet.prediction.words import Words, as_words
from opsnet.recognition.recognizer import PreparedNames, Recognizer
from opsnet.structures import TextBank
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary


class Labeller:
    """The part of a :class:`opsnet.Predictor` that names segments; its arguments are those of the predictor.

    Calls do not change it, so threads may share one; the network runs for one of them at a time.

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
    def name(
        self, output: NetworkOutput, vocabulary: Words, *, modulation: str | Recognizer | None = None,
        filtering: str | MaskFiltering | None = None, top_k: int = 1, unknown: UnknownRule | None = None,
        path_margin: float = 0.1, task: str = "panoptic", semantic: str | None = None,
    ) -> list[PanopticResult]:  # fmt: skip
        """Labels the segments of network outputs; one result per image. Arguments as in :meth:`Predictor.__call__`.

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
            image: one image, see :meth:`Predictor.__call__`.
            masks: masks at its size: bool (n, H, W); a map of ids (H, W); SAM's list of records; detections of
                supervision; or the path of a file, see :mod:`opsnet.prediction.mask_files`. They may overlap.
            vocabulary: see :meth:`Predictor.__call__`.
            scores: n scores in 0..1, such as SAM's predicted IoU, if the masks have none with them.
            front: which of two overlapping masks gets the pixels: "small": the smaller one, so that parts stay visible;
                "score": the one with the higher product of its name's probability and its score.
            overlap: masks that keep less of their pixels than this fraction are dropped.
            modulation: replaces the recognizer.
            filtering: drops masks by score, see :meth:`Predictor.__call__`; ``None`` keeps all.
            top_k, unknown, path_margin, task: see :meth:`Predictor.__call__`.

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
