"""Messages of libraries are silenced, ours are not."""

from __future__ import annotations

import logging
import warnings

import pytest

from opsnet.commands.quiet import is_shown, quiet_libraries, quiet_logs


def record(name: str, level: int, path: str = "/site-packages/x.py") -> logging.LogRecord:
    return logging.LogRecord(name, level, path, 1, "message", None, None)


@pytest.mark.parametrize(
    ("name", "level", "path", "shown"),
    [
        ("opsnet.training.run", logging.INFO, "/a/opsnet/run.py", True),
        ("my_losses", logging.INFO, "/a/my_losses.py", True),
        ("root", logging.INFO, "/env/site-packages/open_clip/factory.py", False),
        ("root", logging.WARNING, "/env/site-packages/open_clip/factory.py", False),
        ("root", logging.INFO, "/a/mine.py", True),
        ("timm.models._builder", logging.WARNING, "/b.py", False),
        ("timm.models._builder", logging.ERROR, "/b.py", True),
        ("lightning.pytorch.utilities.rank_zero", logging.INFO, "/b.py", False),
        ("lightning.pytorch.utilities.rank_zero", logging.WARNING, "/b.py", True),
    ],
)
def test_the_level_depends_on_the_library(name: str, level: int, path: str, shown: bool) -> None:
    assert is_shown(record(name, level, path)) is shown


def test_the_handlers_of_the_log_drop_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.name)

    monkeypatch.setattr(logging.getLogger(), "handlers", [Handler()])
    quiet_logs()
    logging.getLogger("timm").warning("pretrained weights")
    logging.getLogger("opsnet.clip").warning("ours")
    assert seen == ["opsnet.clip"]


def test_warnings_are_silent_only_inside(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_libraries():
            warnings.warn("QuickGELU mismatch", stacklevel=1)
        assert not caught
        warnings.warn("after", stacklevel=1)
        assert len(caught) == 1


def test_pythons_own_option_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.warnoptions", ["default"])
    with pytest.warns(UserWarning, match="shown"), quiet_libraries():
        warnings.warn("shown", stacklevel=1)
