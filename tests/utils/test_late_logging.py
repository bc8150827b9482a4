"""A late warning is one of its module, and logging is not imported before it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from opsnet.utils.late_logging import warn


def test_it_is_a_warning_of_the_module_and_place(caplog: pytest.LogCaptureFixture) -> None:
    warn("opsnet.some.module", "%d of %s", 3, "these")
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("opsnet.some.module", "WARNING", "3 of these")
    assert record.filename == "test_late_logging.py"


def test_scoring_does_not_import_logging() -> None:
    code = "import sys, opsnet; opsnet.score; sys.exit('logging' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
