"""The number of parameters of what is evaluated."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from opsnet.model import OPSNet
from opsnet.recognition.recognizer import Recognizer


def count_parameters(model: OPSNet, recognizer: Recognizer) -> dict[str, int]:
    """Numbers of parameters, each counted once.

    Returns:
        ``total``: of the network with CLIP's image encoder and of the recognizer, all that runs on an image.
        ``trainable``: those of them that are not frozen. ``text_encoder``: CLIP's, which runs once per vocabulary.
    """
    text = {id(p): p for p in model.clip.text_encoder.parameters()}
    image = {id(p): p for p in model.clip.image_encoder.parameters()}
    only_text = {key: p for key, p in text.items() if key not in image}
    run = {id(p): p for p in (*model.parameters(), *recognizer.parameters()) if id(p) not in only_text}
    trainable = [p for p in run.values() if p.requires_grad]
    return {"total": _count(run.values()), "trainable": _count(trainable), "text_encoder": _count(only_text.values())}


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
