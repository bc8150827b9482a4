"""Runs a console command: Hydra with this project's configuration, and user errors as one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig

MULTIRUN = {"-m", "--multirun", "hydra.mode=MULTIRUN"}


def run_command(
    config_name: str, task: Callable[[DictConfig], Any], *, texts: Sequence[str] = (),
    extend: Callable[[list[str]], list[str]] | None = None, finish: Callable[[], int] | None = None,
    interrupted: str = "",
) -> None:  # fmt: skip
    """Runs ``task`` on ``conf/<config_name>.yaml`` and the overrides of the command line.

    Invalid input ends with one sentence and exit code 2, see :func:`user_errors`; Hydra names the log file after the
    task's module.

    Args:
        config_name: a yaml of conf/.
        task: takes the configuration; under ``-m`` it is called once per job.
        texts: keys whose values are texts, whose commas need no quotes, except under ``-m``, where they separate jobs.
        extend: takes the arguments of the command line and returns further ones.
        finish: called after the last task; returns the exit code.
        interrupted: hint added to the message after Ctrl-C, such as how to resume.
    """
    import hydra

    from opsnet.utils.configuration import config_dir, quoted, quoted_settings

    keys = () if MULTIRUN & set(sys.argv) else texts
    sys.argv[1:] = [quoted_settings(quoted(argument, *keys)) for argument in sys.argv[1:]]
    with user_errors(interrupted=interrupted):
        if extend is not None:
            sys.argv += extend(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(task)()
        code = 0 if finish is None else finish()
    if code:
        sys.exit(code)


@contextmanager
def user_errors(*, interrupted: str = "") -> Iterator[None]:
    """Exits with one sentence on errors that the user can fix; refuses old names and options.

    Args:
        interrupted: hint added to the message after Ctrl-C, such as how to resume.
    """
    from opsnet.paper.old_names import refuse_old_names
    from opsnet.training.old_options import refuse_old_options
    from opsnet.utils.errors import exit_on_user_error

    given = sys.argv[1:]
    with exit_on_user_error(interrupted=interrupted), refuse_old_names(given), refuse_old_options(given):
        yield
