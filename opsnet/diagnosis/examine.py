"""The doctor's examinations of a vocabulary and of a dataset."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.vocabulary_fit import VocabularyFit, vocabulary_fit
from opsnet.utils.errors import InputError
from opsnet.utils.option_values import COUNT, INFERENCE, POSITIVE, POSITIVE_OR_NULL, Number, Switch, check_values
from opsnet.vocabulary import Vocabulary
from opsnet.vocabulary.vocabulary import load_training_vocabulary

KEYS: dict[str, Number | Switch] = {
    "alpha": INFERENCE["modulation.alpha"], "beta": INFERENCE["modulation.beta"], "alike": Number(-1, 1),
    "examples": POSITIVE, "samples": COUNT, "limit": POSITIVE_OR_NULL, "seed": COUNT,
}  # fmt: skip


def examine_vocabulary(cfg: DictConfig) -> VocabularyFit:
    """Compares a vocabulary with the training vocabulary; prints tables, writes all rows as CSV and Figure 4 as PNG.

    Args:
        cfg: conf/doctor.yaml.

    Raises:
        VocabularyError: a vocabulary cannot be read.
        ClipWeightsError: CLIP's weights are missing.
    """
    from hydra.utils import instantiate

    from opsnet.diagnosis.vocabulary_report import report_vocabulary

    target, train = Vocabulary.load(cfg.vocabulary), load_training_vocabulary(cfg.train)
    encoder = instantiate(cfg.clip).text_encoder
    modulation = EmbeddingModulation(alpha=cfg.alpha, beta=cfg.beta)
    fit = vocabulary_fit(encoder(target), encoder(train), modulation, alike=cfg.alike)
    report_vocabulary(fit, target, train, encoder.truncated_names(target), Path(cfg.output))
    return fit


def examine_data(cfg: DictConfig) -> int:
    """Reads every file of every set in ``cfg.data``; prints and writes the defects, and a sheet of samples per set.

    Args:
        cfg: conf/doctor.yaml.

    Returns:
        The number of errors found, warnings not counted.

    Raises:
        InputError: a vocabulary cannot be read.
    """
    from hydra.utils import instantiate

    from opsnet.diagnosis.inspection_report import report_data

    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    return report_data(data.builders, Path(cfg.output), examples=cfg.examples, samples=cfg.samples, limit=cfg.limit)


def examine(cfg: DictConfig) -> int:
    """Examines the vocabulary and the data given in the configuration.

    Args:
        cfg: conf/doctor.yaml.

    Returns:
        The number of errors in the data.

    Raises:
        InputError: neither is given, or a number is out of range; and see :func:`examine_vocabulary` and
            :func:`examine_data`.
    """
    check_values(cfg, KEYS)
    has_data = cfg.get("data") is not None
    if cfg.vocabulary is None and not has_data:
        raise InputError(
            "nothing to examine: give data=coco (or another option of conf/data), vocabulary=my.txt, or both"
        )
    if cfg.vocabulary is not None:
        examine_vocabulary(cfg)
    return examine_data(cfg) if has_data else 0
