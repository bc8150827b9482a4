"""The settings of ``compare=recognizers``: the recognizers that make sense on a network, with its filter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate

from opsnet.evaluation.options import EvaluationOptions
from opsnet.inference.config import TRAINED, recognizer_of
from opsnet.inference.settings import own_recognition
from opsnet.recognition.recognizer import Recognizer
from opsnet.utils.configuration import options as configured
from opsnet.utils.errors import InputError

RECOGNIZERS = "recognizers"


def check_comparison(options: EvaluationOptions) -> None:
    """Checks ``compare`` before anything is loaded.

    Raises:
        InputError: its value is unknown, or other options give settings too.
    """
    if options.compare is None:
        return
    if options.compare != RECOGNIZERS:
        raise InputError(f"compare={options.compare} is unknown: give compare={RECOGNIZERS}, or null")
    if options.table is not None:
        raise InputError(f"give either compare={RECOGNIZERS} or table={options.table}: each has its own settings")
    if options.settings:
        raise InputError(
            f"give either compare={RECOGNIZERS}, which has its own settings, or settings=[...]; if they come from "
            "experiment=..., add settings=null"
        )


def compared_settings(config: Mapping[str, Any], recognizer: Recognizer, *, query_embeddings: bool = True) -> list[str]:
    """Names of the settings to compare, all with the network's own filter, its own recognizer first.

    The others are the options of conf/modulation, those of ``--config-dir`` among them. One with parameters would be
    untrained, so it takes part only as the checkpoint's own.

    Args:
        config: class and arguments of the checkpoint's recognizer.
        recognizer: the checkpoint's recognizer.
        query_embeddings: whether the network has trained query embeddings; if not, only recognizers that need none.
    """
    named = {name: instantiate(recognizer_of(name)) for name in configured("modulation") if name != TRAINED}
    fixed = {name: built for name, built in named.items() if not list(built.parameters())}
    every = {own_recognition(config, recognizer): recognizer, **fixed}
    return [f"{name}/{TRAINED}" for name, r in every.items() if query_embeddings or not r.needs_query_embeddings]
