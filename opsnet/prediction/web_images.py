"""Downloads an image from the web, within limits of time and size."""

from __future__ import annotations

import re
import time
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from opsnet.utils.errors import InputError

SECONDS = 30.0  # for the whole download
SILENCE = 10.0  # seconds without an answer
LARGEST = 100_000_000  # bytes
_PART = 1 << 16


def is_url(text: str) -> bool:
    """Whether a text is an address on the web rather than a path."""
    return re.match(r"https?://", text, re.IGNORECASE) is not None


def download(url: str) -> bytes:
    """The content of an address, http or https only; redirections to other schemes are not followed.

    Raises:
        InputError: the address is invalid or refuses, there is no network, or a limit is exceeded.
    """
    advice = "check the address and the network, or download the file and give its path"
    try:
        with _opener().open(Request(url, headers={"User-Agent": "opsnet"}), timeout=SILENCE) as answer:
            return _read(answer, url)
    except HTTPError as error:
        raise InputError(f"image {url} cannot be downloaded (HTTP {error.code} {error.reason}): {advice}") from error
    except InputError:
        raise
    except URLError as error:
        raise InputError(f"image {url} cannot be downloaded ({error.reason}): {advice}") from error
    except Exception as error:  # http.client's, socket's and the address parser's have no common base
        raise InputError(
            f"image {url} cannot be downloaded ({type(error).__name__}: {' '.join(str(error).split())}): {advice}"
        ) from error


def _opener() -> OpenerDirector:
    """urllib's usual opener also reads file: and ftp: addresses, to which a server could redirect."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler, HTTPHandler, HTTPSHandler, HTTPRedirectHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener


def _read(answer: object, url: str) -> bytes:
    start, parts, size = time.monotonic(), [], 0
    while part := answer.read1(_PART):  # type: ignore[attr-defined]
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise InputError(
                f"image {url} is larger than {LARGEST / 1e6:.0f} MB: download the file and make it smaller"
            )
        if time.monotonic() - start > SECONDS:
            raise InputError(f"image {url} was not complete after {SECONDS:.0f} s: download the file and give its path")
    return b"".join(parts)
