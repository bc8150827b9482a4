"""``opsnet-doctor``: inspects a vocabulary or a dataset, or rehearses a training.

A command line that describes a training (``experiment=``, ``world=``, ``trainer=``, ...) is a rehearsal, see
:mod:`opsnet.doctor`; all others are inspections, configured by conf/doctor.yaml.
"""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from opsnet.commands.run_command import run_command, user_errors


def run(cfg: DictConfig) -> None:
    """Hydra's task; exit code 1 if the data has errors."""
    from opsnet.diagnosis.examine import examine

    if examine(cfg):
        raise SystemExit(1)


def main() -> None:
    """Console entry point; exit code 1 if the data has errors or the training would fail."""
    with user_errors():
        is_rehearsal = _rehearse_if_asked(sys.argv[1:])
    if not is_rehearsal:
        run_command("doctor", run, texts=("vocabulary", "train"))


def _rehearse_if_asked(arguments: list[str]) -> bool:
    """Rehearses the training that the arguments describe; returns whether they describe one."""
    from opsnet.diagnosis.command import compose_training, is_rehearsal

    if not is_rehearsal(arguments):
        return False
    training = compose_training(arguments)  # a mistyped key is reported before PyTorch is imported
    from opsnet.diagnosis.run import rehearse

    if rehearse(*training):
        sys.exit(1)
    return True


if __name__ == "__main__":
    main()
