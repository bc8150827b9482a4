"""Passwords, and to whom the page is said to be open."""

from __future__ import annotations

import pytest

from opsnet.utils.errors import InputError
from opsnet.web_demo import access
from opsnet.web_demo.access import VARIABLE, is_local, opened, password_for

SECRET = "correct horse"


def test_the_password_comes_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    assert password_for(None) is None
    assert password_for("visitor") == ("visitor", SECRET)


def test_the_password_is_asked_for_in_a_terminal(monkeypatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(access.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(access.getpass, "getpass", lambda prompt: SECRET)
    assert password_for("visitor") == ("visitor", SECRET)
    monkeypatch.setattr(access.sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(InputError, match=f"auth=visitor needs a password: set {VARIABLE}"):
        password_for("visitor")


@pytest.mark.parametrize("user", [f"visitor:{SECRET}", "", " ", 5])
def test_a_password_on_the_command_line_is_refused_and_not_repeated(user) -> None:
    with pytest.raises(InputError, match="must be a user name only") as error:
        password_for(user)
    assert SECRET not in str(error.value)


def test_a_short_password_is_refused_and_not_repeated(monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, "abc4567")
    with pytest.raises(InputError, match="at least 8 characters") as error:
        password_for("visitor")
    assert "abc4567" not in str(error.value)


def test_what_a_host_opens_is_said() -> None:
    assert [is_local(h) for h in ("127.0.0.1", "localhost", "::1", "[::1]", "127.1.2.3")] == [True] * 5
    assert [is_local(h) for h in ("0.0.0.0", "::", "192.168.1.5", "example.com", "")] == [False] * 5
    assert opened("127.0.0.1", 7860, has_password=False) == "http://127.0.0.1:7860  (Ctrl-C ends it)"
    text = opened("0.0.0.0", 80, has_password=False)
    assert "reachable from every machine that can connect to port 80" in text and "no password (auth=NAME" in text
    assert "not encrypted" in text
    assert "with the password" in opened("0.0.0.0", 80, has_password=True)
