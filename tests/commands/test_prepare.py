"""opsnet-prepare: its subcommands, messages and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from documented import ROOT
from official_trees import camvid_tree

import opsnet.preparation
from opsnet.commands.prepare import PREPARATIONS, main
from opsnet.preparation.as_distributed import LAYOUTS


def ended(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str, str]:
    """Exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code, *capsys.readouterr()


def test_every_preparation_is_named() -> None:
    folder = Path(opsnet.preparation.__file__).parent
    modules = {p.stem for p in folder.glob("*.py") if "\ndef add_arguments(" in p.read_text(encoding="utf-8")}
    assert modules - {"as_distributed"} == set(PREPARATIONS)


def test_every_dataset_of_the_configuration_has_a_preparation() -> None:
    """``data=NAME`` and ``opsnet-prepare NAME`` have the same names, whether or not there is something to convert."""
    groups = {path.stem for path in (ROOT / "conf" / "data").glob("*.yaml")}
    assert groups | {"wordnet"} == {*PREPARATIONS, *LAYOUTS}


def test_help_lists_the_names(capsys) -> None:
    code, out, _ = ended(capsys, "--help")
    assert code == 0
    assert all(name in out and about in out for name, about in PREPARATIONS.items())
    assert all(name in out and layout.about in out for name, layout in LAYOUTS.items())


@pytest.mark.parametrize("name", [*PREPARATIONS, *LAYOUTS])
def test_help_of_a_name_is_its_own(name: str, capsys) -> None:
    code, out, _ = ended(capsys, name, "--help")
    assert code == 0
    assert out.startswith(f"usage: opsnet-prepare {name} ")


def test_the_error_of_an_unknown_name_lists_the_known_ones(capsys) -> None:
    code, _, error = ended(capsys, "cocoo", "--help")
    assert code == 2
    assert "invalid choice: 'cocoo'" in error
    assert "camvid" in error


def test_options_reach_the_preparation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default destination is the folder that data=camvid reads."""
    camvid_tree(tmp_path / "src")
    monkeypatch.setenv("OPSNET_DATA", str(tmp_path / "data"))
    main(["camvid", str(tmp_path / "src"), "--sets", "val", "--workers", "1"])
    assert [path.name for path in (tmp_path / "data" / "camvid").glob("*.json")] == ["camvid_val.json"]


def test_bad_input_is_one_sentence(tmp_path: Path, capsys) -> None:
    code, _, error = ended(capsys, "camvid", tmp_path / "nowhere")
    assert code == 2
    fix = "give the folder into which you unpacked the dataset"
    assert error == f"error: folder {tmp_path / 'nowhere'} does not exist: {fix}\n"


def test_ctrl_c_says_how_to_resume(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    camvid_tree(tmp_path / "src")
    monkeypatch.setattr("opsnet.preparation.camvid.convert", interrupt)
    code, _, error = ended(capsys, "camvid", tmp_path / "src", tmp_path / "dst")
    assert (code, error) == (130, "interrupted; run the same command again to resume\n")
