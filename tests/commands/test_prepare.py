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
    assert groups | {"wordnet", "voc"} == {*PREPARATIONS, *LAYOUTS}  # voc writes voc_20 and voc_21


def test_help_lists_the_names(capsys) -> None:
    main(["--help"])
    out = capsys.readouterr().out
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
    assert error.startswith("error: there is no preparation 'cocoo': did you mean coco?; give own, ade20k, ade20k_847")
    assert "did you mean camvid?" in ended(capsys, "canvid")[2]
    assert "error: nothing to prepare" in ended(capsys)[2]


def test_arguments_are_read_by_key_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[dict] = []
    for name in ("prepare_masks", "prepare_coco"):
        monkeypatch.setattr(f"opsnet.preparation.own.{name}", lambda **given: read.append(given))
    by_place = ["own", "masks", "my images", "masks", "--vocabulary", "a=b.json", "--set", "train", "--connected"]
    by_key = ["own", "masks", "vocabulary=a=b.json", "set=train", "masks=masks", "images=my images", "connected=true"]
    for line in (by_place, by_key):
        main(line)
    assert read[0] == read[1]
    assert (read[0]["images"], read[0]["vocabulary"], read[0]["connected"]) == (Path("my images"), "a=b.json", True)
    main(["own", "coco", "images=a", "annotations=b.json", "set=val", "connected=false"][:5])
    assert (read[2]["annotations"], read[2]["to"].set) == (Path("b.json"), "val")


def test_sets_are_read_by_key(tmp_path: Path) -> None:
    camvid_tree(tmp_path / "src")
    main(["camvid", f"src={tmp_path / 'src'}", f"dst={tmp_path / 'dst'}", "sets=val,test", "workers=1"])
    assert sorted(p.name for p in (tmp_path / "dst").glob("*.json")) == ["camvid_test.json", "camvid_val.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["own", "masks", "a", "b", "vocabluary=c", "set=train", "vocabulary=c"], "did you mean vocabulary?"),
        (["own", "masks", "a", "b", "--set", "train"], "the following arguments are required: --vocabulary"),
        (["camvid"], "the following arguments are required: SRC"),
        (["camvid", "a", "sets=trian"], "invalid choice: 'trian'"),
        (["own", "detectron"], "invalid choice: 'detectron'"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: list[str], message: str, capsys) -> None:
    code, _, error = ended(capsys, *arguments)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("error: opsnet-prepare ")
    assert message in error


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
