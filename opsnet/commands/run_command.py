"""Runs a console command: Hydra with this project's configuration, and user errors as one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opsnet.commands.arguments import asks_for_help, is_bare, read_arguments
from opsnet.utils.errors import exit_on_user_error

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from opsnet.commands.help import Help


def run_command(
    config_name: str, task: Callable[[DictConfig], Any], *, help: Help,
    extend: Callable[[list[str]], list[str]] | None = None, finish: Callable[[], int] | None = None,
    interrupted: str = "",
) -> None:  # fmt: skip
    """Runs ``task`` on ``conf/<config_name>.yaml`` and the overrides of the command line.

    Invalid input ends with one sentence and exit code 2, see :func:`user_errors`; Hydra names the log file after the
    task's module.

    Args:
        config_name: a yaml of conf/.
        task: takes the configuration; under ``-m`` it is called once per job.
        help: printed for ``--help``, and asked for by a command line without arguments.
        extend: takes the arguments of the command line and returns further ones.
        finish: called after the last task; returns the exit code.
        interrupted: hint added to the message after Ctrl-C, such as how to resume.
    """
    with exit_on_user_error(interrupted=interrupted):
        if asks_for_help(sys.argv[1:]):
            print(help.text())
            return
        arguments = read_arguments(sys.argv[1:], switches=_switches(config_name), keys=list(help.keys))
        if help.ask and is_bare(arguments):
            raise help.refuse_bare()
        with user_errors(config_name, arguments):
            _run(config_name, task, [*arguments, *(extend(arguments) if extend else [])])
            code = 0 if finish is None else finish()
    if code:
        sys.exit(code)


def _run(config_name: str, task: Callable[[DictConfig], Any], arguments: Sequence[str]) -> None:
    import functools

    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from opsnet.commands.keys import check_new_keys, suggestions
    from opsnet.commands.quiet import quiet_libraries, quiet_logs
    from opsnet.utils.configuration import config_dir

    failed: list[Exception] = []

    @functools.wraps(task)  # Hydra names the log after its module
    def quiet_task(cfg: DictConfig) -> Any:
        quiet_logs()
        try:
            with suggestions(config_name, arguments):
                return task(cfg)
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            failed.append(error)  # raised below, because Hydra would print its overrides in front of the message

    check_new_keys(config_name, arguments)
    sys.argv[1:] = arguments
    with quiet_libraries():
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(quiet_task)()
    for error in failed:
        raise error


@contextmanager
def user_errors(config_name: str, arguments: Sequence[str]) -> Iterator[None]:
    """Context in which old names and options, and mistyped ones, are input errors with a suggestion.

    Args:
        config_name: a yaml of conf/.
        arguments: those of the command line, in Hydra's grammar.
    """
    from opsnet.commands.keys import suggestions
    from opsnet.paper.old_names import refuse_old_names
    from opsnet.training.old_options import refuse_old_options

    with suggestions(config_name, arguments), refuse_old_names(arguments), refuse_old_options(arguments):
        yield


def _switches(config_name: str) -> set[str]:
    """The keys of a command that are true or false."""
    from omegaconf import OmegaConf

    from opsnet.utils.configuration import config_dir

    content = OmegaConf.to_container(OmegaConf.load(config_dir() / f"{config_name}.yaml"), resolve=False)
    return {str(key) for key, value in content.items() if isinstance(value, bool)}  # type: ignore[union-attr]
