"""Made-up network output for an image of 64 x 64 pixels: three masks side by side."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from web_server import Handler

from opsnet.inference.network_output import NetworkOutput
from opsnet.inference.trained_model import TrainedModel
from opsnet.panoptic.mask_filtering import MaskFiltering
from opsnet.prediction.predictor import Predictor
from opsnet.structures import Proposals

STRIPES = ((0, 32), (32, 48), (48, 64))  # columns


@pytest.fixture
def proposed() -> Callable[..., NetworkOutput]:
    """Predicted IoU of the three masks -> the proposals of one image, at a quarter of its size."""

    def make(*iou: float) -> NetworkOutput:
        masks = torch.full((1, 3, 16, 16), -20.0)
        for k, (left, right) in enumerate(STRIPES):
            masks[0, k, :, left // 4 : right // 4] = 20
        proposals = Proposals(masks, torch.zeros(1, 3, 4), torch.tensor([iou]))
        size = (64, 64)
        return NetworkOutput(proposals, {"pooling": torch.zeros(1, 3, 4)}, size, (size,), (size,), (0,))

    return make


@pytest.fixture
def predictor(lenient_model: TrainedModel) -> Predictor:
    """A predictor with a hardly trained network that keeps every proposal."""
    return Predictor(lenient_model, filtering=MaskFiltering(kind="cls_iou", threshold=0))


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server of :mod:`web_server`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of four frames, 64 wide and 48 high, each of one grey; the upper left quarter is white."""
    av = pytest.importorskip("av", reason="PyAV, the extra video, is not installed")
    path = tmp_path / "my clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in (20, 90, 160, 230):
            pixels = np.full((48, 64, 3), level, np.uint8)
            pixels[:24, :32] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path
