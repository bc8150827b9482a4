"""metrics.csv across an interruption: which rows are merged, and that no kind of interruption loses any."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest

from opsnet.training.csv_logger import EARLIER, ResumableCSVLogger, merge_rows, read_rows, write_rows
from opsnet.utils.files import WriteError


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of a run in ``tmp_path/first`` that logged steps 0 to 4."""
    write_rows(tmp_path / "first" / "metrics.csv", [{"step": str(i), "loss": f"{i}.0"} for i in range(5)])
    return tmp_path / "first" / "checkpoints" / "last.ckpt"


def losses(folder: Path) -> list[tuple[str, str]]:
    return [(row["step"], row["loss"]) for row in read_rows(folder / "metrics.csv")]


def log(logger: ResumableCSVLogger, **values: float) -> None:
    for step, value in values.items():
        logger.log_metrics({"loss": value}, step=int(step.removeprefix("step")))
    logger.save()


def test_rows_after_the_resumed_step_are_replaced() -> None:
    earlier = [{"step": str(i), "loss": str(i)} for i in range(5)]
    merged = merge_rows(earlier, [{"step": "2", "loss": "20"}, {"step": "3", "loss": "30"}])
    assert [(r["step"], r["loss"]) for r in merged] == [("0", "0"), ("1", "1"), ("2", "20"), ("3", "30")]


def test_a_repeated_validation_keeps_the_losses_of_its_step() -> None:
    earlier = [{"step": "3", "loss": "1", "val": ""}, {"step": "3", "loss": "", "val": "40"}]
    assert merge_rows(earlier, [{"step": "3", "val": "50"}]) == [earlier[0], {"step": "3", "val": "50"}]


def test_columns_of_all_rows_are_written(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", [{"step": "0", "loss": "1"}, {"step": "0", "val": "2"}])
    assert read_rows(tmp_path / "a.csv") == [
        {"step": "0", "loss": "1", "val": ""}, {"step": "0", "loss": "", "val": "2"},
    ]  # fmt: skip


def test_a_new_run_writes_only_its_rows(tmp_path: Path) -> None:
    logger = ResumableCSVLogger(tmp_path)
    log(logger, step0=1.5)
    logger.finalize("success")
    assert losses(tmp_path) == [("0", "1.5")]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_resumed_run_has_the_earlier_rows(tmp_path: Path, checkpoint: Path) -> None:
    logger = ResumableCSVLogger(tmp_path / "first", resume=checkpoint)
    log(logger, step3=30, step4=40)
    logger.finalize("success")
    assert losses(tmp_path / "first") == [("0", "0.0"), ("1", "1.0"), ("2", "2.0"), ("3", "30"), ("4", "40")]
    assert not (tmp_path / "first" / EARLIER).exists()


def test_a_run_resumed_in_another_folder_has_the_earlier_rows(tmp_path: Path, checkpoint: Path) -> None:
    logger = ResumableCSVLogger(tmp_path / "second", resume=checkpoint)
    log(logger, step5=50)
    logger.finalize("success")
    assert [step for step, _ in losses(tmp_path / "second")] == ["0", "1", "2", "3", "4", "5"]
    assert len(losses(tmp_path / "first")) == 5


def test_a_process_that_is_killed_twice_loses_nothing(tmp_path: Path, checkpoint: Path) -> None:
    """Without ``finalize``, the earlier rows are stored next to metrics.csv, where the next resumption finds them."""
    for value in (20, 21):
        log(ResumableCSVLogger(tmp_path / "first", resume=checkpoint), step2=value)
        assert losses(tmp_path / "first") == [("2", str(value))]
    logger = ResumableCSVLogger(tmp_path / "first", resume=checkpoint)
    log(logger, step3=33)
    logger.finalize("success")
    assert losses(tmp_path / "first") == [("0", "0.0"), ("1", "1.0"), ("2", "21"), ("3", "33")]


@pytest.mark.parametrize("torn", ["5", "5,5.", "5,5.0,"])
def test_a_row_that_a_killed_process_has_begun_is_left_out(torn: str, tmp_path: Path, checkpoint: Path) -> None:
    path = tmp_path / "first" / "metrics.csv"
    path.write_text(path.read_text() + torn)
    assert [row["step"] for row in read_rows(path)] == ["0", "1", "2", "3", "4"]
    logger = ResumableCSVLogger(tmp_path / "first", resume=checkpoint)
    log(logger, step5=55)
    logger.finalize("success")
    assert losses(tmp_path / "first")[-2:] == [("4", "4.0"), ("5", "55")]


def test_a_process_that_is_killed_while_columns_are_added_loses_no_row(tmp_path: Path, monkeypatch) -> None:
    logger = ResumableCSVLogger(tmp_path)
    log(logger, step0=1, step1=2)

    def killed(*rest: object) -> None:
        raise SystemExit

    monkeypatch.setattr("csv.DictWriter.writeheader", killed)
    logger.log_metrics({"other": 3.0}, step=1)
    with pytest.raises(SystemExit):
        logger.save()
    assert losses(tmp_path) == [("0", "1"), ("1", "2")]


def test_an_error_finalizes_twice_and_merges_once(tmp_path: Path, checkpoint: Path) -> None:
    logger = ResumableCSVLogger(tmp_path / "first", resume=checkpoint)
    log(logger, step4=44)
    logger.finalize("failed")
    logger.finalize("success")
    assert losses(tmp_path / "first")[-2:] == [("3", "3.0"), ("4", "44")]


@pytest.mark.parametrize("folder", ["first", "second"])
def test_a_resumption_that_logs_nothing_loses_nothing(folder: str, tmp_path: Path, checkpoint: Path) -> None:
    ResumableCSVLogger(tmp_path / folder, resume=checkpoint).finalize("failed")
    assert len(losses(tmp_path / folder)) == 5


def test_a_removed_folder_is_a_sentence(tmp_path: Path) -> None:
    logger = ResumableCSVLogger(tmp_path / "run")
    log(logger, step0=1.0)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(WriteError, match=r"metrics\.csv cannot be written \(No such file or directory\)"):
        log(logger, step1=2.0)


def test_one_process_of_several_writes(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.utilities import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = ResumableCSVLogger(tmp_path / "second", resume=checkpoint)
    logger.log_metrics({"loss": 1.0}, step=5)
    logger.finalize("success")
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("column", ["loss", "new"])
def test_a_full_disk_leaves_whole_rows(tmp_path: Path, column: str) -> None:
    """Also where the file was rewritten for a new column just before."""
    logger = ResumableCSVLogger(tmp_path)
    log(logger, step0=1.0)
    logger.log_metrics({column: 1.23456789}, step=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len("loss,new,step\n1.0,,0\n") + 3, before[1]))
    try:
        with pytest.raises(WriteError, match=r"metrics\.csv cannot be written \(.*\): make room"):
            logger.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "metrics.csv").read_text().endswith("0\n")
    assert losses(tmp_path) == [("0", "1.0")]
    logger.save()  # with room again
    assert [row[column] for row in read_rows(tmp_path / "metrics.csv")][1:] == ["1.23456789"]


def test_columns_that_could_not_be_added_are_not_written_either(tmp_path: Path, monkeypatch) -> None:
    """After an error Lightning writes once more: rows of more columns than the file has would not be its rows."""
    logger = ResumableCSVLogger(tmp_path)
    log(logger, step0=1.0)
    logger.log_metrics({"loss": 2.0, "PQ": 40.0}, step=1)

    def full(*_: object) -> None:
        raise WriteError("metrics.csv cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr("opsnet.training.csv_logger.write_rows", full)
        for _ in range(2):
            with pytest.raises(WriteError):
                logger.save()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["loss,step", "1.0,0"]
    logger.save()  # with room again
    assert read_rows(tmp_path / "metrics.csv")[1] == {"loss": "2.0", "PQ": "40.0", "step": "1"}
