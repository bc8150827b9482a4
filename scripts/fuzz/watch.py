"""Notices what a case does outside its folder: files written or removed, watched files read, programs, connections.

Python's audit events are used: they cover ``open``, ``os`` and ``shutil``, whoever calls them. A hook cannot be
removed, so it is only installed in worker processes.
"""

from __future__ import annotations

import os
import sys
from typing import Any

SECRETS = ("opsnet_canary", "/etc/passwd")
"""Parts of the paths that hostile inputs name; no reader may open them."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ONE_PATH = {"os.mkdir": 2, "os.remove": 1, "os.rmdir": 1, "os.truncate": -1, "os.chmod": 2}
"""Events with the path first, and where the descriptor of its folder is."""
_FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile", "socket.connect", "os.fork")


class Watch:
    """What happened since :meth:`begin`.

    Attributes:
        findings: one sentence each.
    """

    def __init__(self) -> None:
        self._folder, self._secrets, self.findings = "", SECRETS, list[str]()
        self._is_on = False

    def install(self) -> None:
        """Watches this process until it ends."""
        sys.dont_write_bytecode = True  # modules that are imported during a case would write their bytecode
        sys.addaudithook(self._hook)

    def begin(self, folder: str, secrets: tuple[str, ...] = SECRETS) -> None:
        """Starts to watch.

        Args:
            folder: where files may be written, without links.
            secrets: files whose path has one of them must not be opened.
        """
        self._folder, self._secrets, self.findings, self._is_on = folder, secrets, [], True

    def end(self) -> list[str]:
        """Stops to watch and returns what was found."""
        self._is_on = False
        return self.findings

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_on:
            return
        self._is_on = False  # what follows raises events of its own
        try:
            self._look(event, arguments)
        finally:
            self._is_on = True

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._opened(*arguments)
        elif event in _ONE_PATH:
            place = _ONE_PATH[event]
            self._changed(event, arguments[0], arguments[place] if place > 0 else None)
        elif event == "os.rename":
            self._changed(event, arguments[0], arguments[2])
            self._changed(event, arguments[1], arguments[3])
        elif event == "os.symlink":
            name = self._changed(event, arguments[1], arguments[2])
            self._changed("os.symlink to", os.path.join(os.path.dirname(name), os.fspath(arguments[0])))
        elif event == "os.link":
            self._changed(event, arguments[1], arguments[3])
        elif event in _FORBIDDEN:
            self.findings.append(f"{event} {str(arguments[0])[:200]}")

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        if flags & _WRITES:
            self._changed("writes", path)
        elif any(secret in os.fsdecode(path) for secret in self._secrets):
            self.findings.append(f"reads {os.fsdecode(path)}")

    def _changed(self, event: str, path: Any, folder: Any = None) -> str:
        """Notes a change outside the folder; returns the path, absolute."""
        if isinstance(path, int):
            return ""
        text = os.fsdecode(path)
        if isinstance(folder, int) and folder >= 0:
            text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
        full = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(text))), os.path.basename(text))
        if not (full + os.sep).startswith(self._folder + os.sep) and full != os.devnull:
            self.findings.append(f"{event} {full}")
        return full
