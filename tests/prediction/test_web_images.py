"""Images from addresses, served by a server of this test; no other machine is asked."""

from __future__ import annotations

import numpy as np
import pytest
from web_server import PIXELS

from opsnet.prediction import web_images
from opsnet.prediction.images import to_pixels
from opsnet.prediction.sources import image_source
from opsnet.prediction.web_images import is_url
from opsnet.utils.errors import InputError


@pytest.mark.parametrize("path", ["/a.png", "/moved", "/some/photo%20one.png?size=3&b=/x#y"])
def test_an_image_from_an_address(path: str, server: str) -> None:
    assert np.array_equal(to_pixels(server + path), PIXELS)


def test_its_file_name(server: str) -> None:
    (image,) = image_source(server + "/some/photo%20one.png?size=3&b=/x").read()
    assert image.file_name == "photo one.png"
    (image,) = image_source(server).read()
    assert image.file_name == "image.png"


def test_what_an_address_is() -> None:
    assert is_url("https://a.b/c") and is_url("HTTP://a.b")
    assert not is_url("ftp://a.b") and not is_url("file:///etc/hostname") and not is_url("http:/a") and not is_url("a")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/missing.png", r"/missing\.png cannot be downloaded \(HTTP 404 Not Found\): check the address and the net"),
        ("/moved-to-a-file", "cannot be downloaded"),
        ("/page", "/page cannot be read as an image"),
    ],
)
def test_refusals(path: str, message: str, server: str) -> None:
    with pytest.raises(InputError, match=message):
        to_pixels(server + path)


def test_limits_of_size_and_time(server: str, monkeypatch) -> None:
    monkeypatch.setattr(web_images, "LARGEST", 20)
    with pytest.raises(InputError, match=r"/a\.png is larger than 0 MB: download the file and make it smaller"):
        to_pixels(f"{server}/a.png")
    monkeypatch.setattr(web_images, "LARGEST", 10**6)
    monkeypatch.setattr(web_images, "SECONDS", 0.3)
    with pytest.raises(InputError, match="/slow was not complete after 0 s"):
        to_pixels(f"{server}/slow")


def test_offline(server: str) -> None:
    with pytest.raises(InputError, match=r"cannot be downloaded \(.*\): check the address and the network, or"):
        to_pixels("http://127.0.0.1:9/a.png")
    with pytest.raises(InputError, match=r"cannot be downloaded \(.*\): check the address"):
        to_pixels("https://nowhere.invalid/a.png")
    with pytest.raises(InputError, match=r"cannot be downloaded \(.*\): check the address"):
        to_pixels("http://[bad/a.png")
