"""Who can open the page: what a host opens it to, and a password."""

from __future__ import annotations

import getpass
import ipaddress
import os
import sys

from opsnet.utils.errors import InputError

VARIABLE = "OPSNET_DEMO_PASSWORD"
SHORTEST = 8  # characters
LOCAL = "localhost"


def password_for(user: str | None) -> tuple[str, str] | None:
    """Name and password of the visitors; ``None``: no one is asked.

    The password comes from the environment or is asked for. On a command line all users of a machine can read it, and
    each run stores its own.

    Args:
        user: the name; ``None``: no password.

    Raises:
        InputError: the name has a colon, there is no password, or it is too short. The message does not contain it.
    """
    if user is None:
        return None
    if not isinstance(user, str) or not user.strip() or ":" in user:
        raise InputError(f"auth must be a user name only, for example auth=visitor: the password comes from {VARIABLE}")
    password = os.environ.get(VARIABLE)
    if password is None:
        if not sys.stdin.isatty():
            raise InputError(f"auth={user} needs a password: set {VARIABLE}, or start opsnet-demo in a terminal")
        password = getpass.getpass(f"password of {user}: ")
    if len(password) < SHORTEST:
        raise InputError(f"the password must have at least {SHORTEST} characters: change {VARIABLE}")
    return user.strip(), password


def is_local(host: str) -> bool:
    """Whether only this machine can reach a host."""
    try:
        return host == LOCAL or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name
        return False


def opened(host: str, port: int, *, has_password: bool) -> str:
    """What is printed when the page is served: its address, and to whom it is open."""
    address = f"http://{host}:{port}  (Ctrl-C ends it)"
    if is_local(host):
        return address
    to = "the password" if has_password else f"no password (auth=NAME and {VARIABLE} set one)"
    return (
        f"{address}\nreachable from every machine that can connect to port {port} of this one, with {to}; the "
        "connection is not encrypted: put a proxy with TLS in front of it"
    )
