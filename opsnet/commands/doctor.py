"""``opsnet-doctor``: what a vocabulary will do, what is wrong with a data set, and whether a training would run.

A command line that describes a training (``experiment=``, ``world=``, ``trainer=``, ...) is rehearsed, see
:mod:`opsnet.doctor`; others are examinations, configured by conf/doctor.yaml.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from opsnet.recognition.modulation import EmbeddingModulation
from opsnet.recognition.vocabulary_fit import VocabularyFit, vocabulary_fit
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary


def examine_vocabulary(cfg: DictConfig) -> VocabularyFit:
    """Compares a vocabulary with the training's; prints tables, writes all rows as CSV and Figure 4 as PNG.

    Args:
        cfg: conf/doctor.yaml.

    Raises:
        VocabularyError: a vocabulary cannot be read.
        ClipWeightsError: CLIP's weights are not where they should be.
    """
    from hydra.utils import instantiate

    from opsnet.doctor.vocabulary_report import report_vocabulary

    target, train = Vocabulary.load(cfg.vocabulary), Vocabulary.load(cfg.train)
    encoder = instantiate(cfg.clip).text_encoder
    modulation = EmbeddingModulation(alpha=cfg.alpha, beta=cfg.beta)
    fit = vocabulary_fit(encoder(target), encoder(train), modulation, alike=cfg.alike)
    report_vocabulary(fit, target, train, encoder.truncated_names(target), Path(cfg.output))
    return fit


def examine_data(cfg: DictConfig) -> int:
    """Reads every file of every set of ``cfg.data``; prints and writes what is wrong, and a sheet of samples a set.

    Args:
        cfg: conf/doctor.yaml.

    Returns:
        The number of errors found, warnings not counted.

    Raises:
        InputError: a number of the configuration is out of range, or a vocabulary cannot be read.
    """
    from hydra.utils import instantiate

    from opsnet.doctor.inspection_report import report_data

    for key, least in (("examples", 1), ("samples", 0), ("limit", 1)):
        if cfg[key] is not None and cfg[key] < least:
            raise InputError(f"{key} must be at least {least}, got {cfg[key]}: change `{key}`")
    data = instantiate(cfg.data.module, _convert_="object")
    data.prepare_data()
    return report_data(data.builders, Path(cfg.output), examples=cfg.examples, samples=cfg.samples, limit=cfg.limit)


def run(cfg: DictConfig) -> None:
    """Hydra's task; it ends with exit code 1 where the data have errors."""
    has_data = cfg.get("data") is not None
    if cfg.vocabulary is None and not has_data:
        raise InputError(
            "nothing to examine: give data=coco (or another option of conf/data), vocabulary=my.txt, or both"
        )
    if cfg.vocabulary is not None:
        examine_vocabulary(cfg)
    if has_data and examine_data(cfg):
        raise SystemExit(1)


def main() -> None:
    """Console entry point; exit code 1 where data have errors or the training would fail."""
    import sys

    import hydra

    from opsnet.doctor.command import compose_training, is_rehearsal
    from opsnet.paper.old_names import refuse_old_names
    from opsnet.utils.configuration import config_dir, quoted
    from opsnet.utils.errors import exit_on_user_error

    with exit_on_user_error(), refuse_old_names(sys.argv[1:]):
        if is_rehearsal(sys.argv[1:]):
            from opsnet.doctor.run import rehearse

            if rehearse(*compose_training(sys.argv[1:])):
                sys.exit(1)
            return
    sys.argv[1:] = [quoted(argument, "vocabulary", "train") for argument in sys.argv[1:]]
    with exit_on_user_error():
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="doctor")(run)()


if __name__ == "__main__":
    main()
