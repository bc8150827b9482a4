"""Names from before conf/tables: commands tell the new ones, checkpoints may keep theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsnet.commands import doctor, evaluate, train
from opsnet.paper.old_names import current_name
from opsnet.paper.rows import all_rows
from scripts.published import score_mask2former

SCORED = "score it (Table {t}, row {r}) with opsnet-evaluate table={t} row={r} world=real checkpoint=PATH"
SENTENCES = {
    "table1_row7": "train it with experiment=opsnet_r50, " + SCORED.format(t=1, r=7),
    "table4_row3": "train it with experiment=opsnet_r50, " + SCORED.format(t=4, r=3),
    "table6_row08": "train it with experiment=opsnet_r50, " + SCORED.format(t=6, r=8),
    "table3_row2": "train it with experiment=opsnet_plus_r50_cls, " + SCORED.format(t=3, r=2),
    "table9_row7": "published weights (Table 9, row 7) are scored by python -m scripts.published.score_mask2former "
    "backbone=swin_l model.weights=PATH",
    "train_opsnet_plus": "experiment=opsnet_plus_r50",
}


@pytest.mark.parametrize("name", SENTENCES)
@pytest.mark.parametrize("main", [train.main, evaluate.main, doctor.main])
def test_a_command_tells_the_new_name(main, name, command) -> None:
    expected = f"error: experiment={name} was renamed: {SENTENCES[name]}\n"
    assert command(main, f"experiment={name}") == (2, expected)


def test_the_script_for_published_weights_does_so_too(capsys) -> None:
    with pytest.raises(SystemExit):
        score_mask2former.main(["experiment=table9_row7"])
    assert capsys.readouterr().err == f"error: experiment=table9_row7 was renamed: {SENTENCES['table9_row7']}\n"


def test_in_a_sweep(command, tmp_path: Path) -> None:
    code, error = command(train.main, "-m", "experiment=scenes,table2_row5", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert (code, error.count("\n")) == (2, 1)
    assert "experiment=table2_row5 was renamed: train it with experiment=opsnet_r101" in error


@pytest.mark.parametrize(("pattern", "table"), [("table4_*", "4"), ("table6_row*", "6"), ("table*", "T")])
def test_a_pattern_which_would_run_nothing(pattern, table, command) -> None:
    code, error = command(evaluate.main, "-m", f"experiment=glob({pattern})", "checkpoint=a")
    assert (code, error.count("\n")) == (2, 1)
    assert f"opsnet-evaluate -m table={table} row=1,2 one after the other" in error


def test_beneath_an_experiment_of_ones_own(command, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults: [table2_row5]\n")
    code, error = command(train.main, f"--config-dir={tmp_path}", "experiment=mine")
    assert code == 2
    assert error.startswith("error: experiment=table2_row5 was renamed: train it with experiment=opsnet_r101")


def test_an_experiment_of_ones_own_may_have_an_old_name(command, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "table2_row5.yaml").write_text("# @package _global_\nresume: no.ckpt\n")
    code, error = command(train.main, f"--config-dir={tmp_path}", "experiment=table2_row5")
    assert code == 2
    assert "no.ckpt" in error


def test_another_name_that_is_not_there_is_reported_with_those_that_are(command) -> None:
    code, error = command(train.main, "experiment=table12_row1")
    assert (code, error.count("\n")) == (2, 1)
    assert "there is no experiment=table12_row1" in error
    assert "opsnet_r50" in error


def test_every_row_had_a_name() -> None:
    for row in all_rows():
        assert current_name(f"table{row.table}_row{row.row:0{2 if row.table == 6 else 1}}") == row.training
    assert current_name("opsnet_r50") == "opsnet_r50"
    assert current_name("table12_row1") == "table12_row1"
