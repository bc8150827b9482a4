"""The object behind ``opsnet-predict``, the Python API and the web page: images and class names -> labelled maps."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import torch
from omegaconf import OmegaConf

from opsnet.checkpoint.stored_network import text_cache
from opsnet.clip.loading import ClipWeightsError
from opsnet.inference.network_output import run_network
from opsnet.inference.trained_model import load_clip_alone
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction import arguments
from opsnet.prediction.batches import by_padded_size, in_batches
from opsnet.prediction.carriers import PanopticResult
from opsnet.prediction.cautions import issue, with_image_warnings
from opsnet.prediction.hub import SavedLabeller
from opsnet.prediction.images import ImageLike, to_batch
from opsnet.prediction.labelling import Labelling, Proposed
from opsnet.prediction.naming import UnknownRule
from opsnet.prediction.sources import ImageSource, image_source
from opsnet.prediction.words import Words
from opsnet.published.clips import clip_config
from opsnet.published.open_model import open_model
from opsnet.recognition.recognizer import Recognizer
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
            the usual one. In commands ``clip_model``, because there ``clip`` is the group conf/clip.
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
        clip: an option of conf/clip, or the path of an ``open_clip_config.json``; in commands ``clip_model``.
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


class Predictor(SavedLabeller):
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
        pixels, ready = [image.pixels for image in read], [image.resized for image in read]
        batch = to_batch(pixels, size=self.size, ready=ready)
        with self._network:
            output = run_network(self.trained.model, batch.to(self.device))
        output = with_image_warnings(output, self.trained, pixels)
        return Proposed.of_images(output, read)
