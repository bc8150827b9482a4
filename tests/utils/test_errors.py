"""Bad input ends a command with one sentence and exit code 2; a bug keeps its traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from opsnet.utils.errors import InputError, exit_on_user_error, reason_of


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``exit_on_user_error`` sets is taken back after each test."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


def end_with(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Exit code and what was printed when ``error`` is raised inside a command."""
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        raise error
    printed = capsys.readouterr()
    assert printed.out == ""
    return end.value.code, printed.err


def test_an_input_error_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = end_with(InputError("image a.png does not exist: give image=PATH"), capsys)
    assert code == 2
    assert text == "error: image a.png does not exist: give image=PATH\n"


def test_an_input_error_is_found_behind_other_errors(capsys: pytest.CaptureFixture[str]) -> None:
    outer = RuntimeError("Error in call to target")
    outer.__cause__ = OSError("wrapped twice")
    outer.__cause__.__cause__ = InputError("vocabulary is empty")
    assert end_with(outer, capsys) == (2, "error: vocabulary is empty\n")


def test_an_input_error_inside_of_hydras_instantiate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from hydra.utils import instantiate

    node = {"_target_": "opsnet.vocabulary.vocabulary.Vocabulary.load", "spec": str(tmp_path / "no.txt")}
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        instantiate(node)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: vocabulary file {tmp_path / 'no.txt'} does not exist: check the path\n"


def run_hydra(argument: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Exit code of a Hydra command with one key, ``batch_size``."""
    import hydra

    (folder / "config.yaml").write_text(f"batch_size: 2\nhydra: {{run: {{dir: {folder / 'run'}}}}}\n")

    @hydra.main(config_path=str(folder), config_name="config", version_base=None)
    def command(cfg) -> None:
        print(cfg.batch_size)

    monkeypatch.setattr(sys, "argv", ["command", argument, "hydra/job_logging=none", "hydra/hydra_logging=none"])
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        command()
    return end.value.code


def test_a_key_that_the_configuration_lacks_is_one_line(capsys, monkeypatch, tmp_path) -> None:
    assert run_hydra("bacth_size=4", tmp_path, monkeypatch) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert "bacth_size" in printed


def test_a_reference_that_leads_nowhere_has_no_traceback(capsys, monkeypatch, tmp_path) -> None:
    assert run_hydra("batch_size=${nowhere}", tmp_path, monkeypatch) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed[-1].startswith("error: ")
    assert "nowhere" in printed[-1]
    assert len(printed) <= 2  # Hydra itself prints the overrides of a job that failed


def test_a_command_that_succeeds_just_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with exit_on_user_error():
        print("done")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), ValueError("a plain one"), FileNotFoundError("lost")])
def test_other_errors_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), exit_on_user_error():
        raise error


@pytest.mark.parametrize(
    ("interrupted", "message"),
    [
        ("", "interrupted\n"),
        ("resume=auto goes on", "interrupted; resume=auto goes on\n"),
    ],
)
def test_ctrl_c_tells_how_to_go_on_where_something_goes_on(
    interrupted: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, exit_on_user_error(interrupted=interrupted):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err == message


def test_pytorchs_advice_to_run_the_code_is_left_out() -> None:
    advice = "Weights only load failed. Re-running with `weights_only` set to `False` will likely succeed."
    assert reason_of(ValueError(f"{advice} Trying to load unsupported GLOBAL posix.system whose")) == (
        "it holds posix.system, which weights do not need"
    )
    assert reason_of(ValueError(f"{advice} Unsupported operand 149")) == "it is not a file of tensors"
    assert reason_of(KeyError(105)) == "its content is damaged"  # of a text file that is no pickle
    assert reason_of(ValueError("failed\n  finding   it")) == "failed finding it"
    assert reason_of(ValueError("x" * 300)) == "x" * 197 + "..."


def test_a_value_that_a_class_refuses_is_named_with_its_part(capsys: pytest.CaptureFixture[str]) -> None:
    from hydra.utils import instantiate

    node = {"modulation": {"_target_": "opsnet.recognition.modulation.EmbeddingModulation", "beta": 1e6}}
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        instantiate(node)
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "error: modulation: modulation.alpha must lie in 0..1000 and modulation.beta in 0..10, got 10.0 and 1000000.0\n"
    )


def test_a_broken_pipe_to_another_program_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsnet.utils.errors._stdout_is_closed", lambda: False)
    with pytest.raises(BrokenPipeError), exit_on_user_error():
        raise BrokenPipeError
