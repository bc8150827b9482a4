"""The network and the filter that a prediction's options ask for."""

from __future__ import annotations

from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from opsnet.inference.config import InferenceConfig
from opsnet.inference.settings import require_query_embeddings
from opsnet.inference.trained_model import TrainedModel, load_clip_alone, load_zero_shot
from opsnet.inference.trained_options import TrainedFilter, TrainedRecognizer
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.options import PredictionOptions
from opsnet.prediction.predictor import Predictor, load, load_clip
from opsnet.utils.errors import InputError


def open_predictor(options: PredictionOptions) -> Predictor:
    """The predictor of a checkpoint or of weights, or, for given masks, a CLIP alone.

    Raises:
        InputError: there is no network, or there are two; see also :func:`opsnet.prediction.predictor.load`.
    """
    if options.checkpoint is not None and options.network.model.weights is not None:
        raise InputError("checkpoint and model.weights exclude each other: give one of them")
    if options.checkpoint is not None:
        predictor = load(
            options.checkpoint,
            clip=options.clip_model,
            clip_weights=options.clip_weights,
            device=options.device,
            treat_label_names_as_seen=options.treat_label_names_as_seen,
            train_vocabulary=options.train_vocabulary,
        )
        return Predictor(predictor.trained, **options.sizes)
    if options.network.model.weights is None and options.masks is not None:
        return Predictor(_clip_alone(options), **options.sizes)
    if options.network.model.weights is None:
        raise InputError(
            "no network is given: give checkpoint=PATH of a .ckpt written by opsnet-train, or model.weights=PATH of a "
            "published Mask2Former"
        )
    chosen = instantiate(options.modulation)
    if options.masks is None and not isinstance(chosen, TrainedRecognizer):  # its own is CLIP alone
        require_query_embeddings(chosen, False)
    return Predictor(load_zero_shot(options.network, device=options.device), **options.sizes)


def _clip_alone(options: PredictionOptions) -> TrainedModel:
    """The CLIP of ``clip_model``, or else of the group ``clip``; with the weights of ``clip_weights``, if given."""
    if options.clip_model is not None:
        return load_clip(options.clip_model, clip_weights=options.clip_weights, device=options.device).trained
    network: Any = OmegaConf.create(OmegaConf.to_container(options.network))  # a copy that can be changed
    if options.clip_weights is not None:
        network.clip.model.weights = options.clip_weights
        network.clip.model.architecture.pop("pretrained", None)
    return load_clip_alone(network, device=options.device)


def chosen_filter(filtering: DictConfig, inference: InferenceConfig, own: MaskFiltering | None = None) -> MaskFiltering:
    """The configured filter; its defaults are those of the checkpoint's world.

    Args:
        filtering: conf/filtering.
        inference: of the checkpoint.
        own: takes the place of the checkpoint's filter.
    """
    whole = OmegaConf.create({"filters": dict(inference.filters), "filtering": filtering})
    chosen: MaskFiltering | TrainedFilter = instantiate(whole.filtering)
    return chosen.of(own or inference.mask_filtering) if isinstance(chosen, TrainedFilter) else chosen
