"""Videos, frame by frame: written with PyAV here, as a camera would."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from opsnet.prediction.sources import image_source
from opsnet.prediction.video import Video
from opsnet.utils.errors import InputError

av = pytest.importorskip("av", reason="PyAV, the extra video, is not installed")

LEVELS = (20, 90, 160, 230)  # of the fixture's frames


def test_every_frame_in_order(clip) -> None:
    source = image_source(clip)
    assert (source.count, source.is_stream) == (4, True)
    frames = source.read()
    assert [frame.file_name for frame in frames] == [f"my clip_{i:06d}.png" for i in range(4)]
    for frame, level in zip(frames, LEVELS, strict=True):
        assert frame.pixels.shape == (48, 64, 3)
        assert abs(frame.pixels[24:, 32:].mean() - level) < 4  # the codec is lossy
        assert frame.pixels[4:20, 4:28].mean() > 245


class Container:
    """An opened video whose frames are changed by a function of (number, frame)."""

    def __init__(self, opened: object, change: Callable[[int, object], object]) -> None:
        self.opened, self.change = opened, change

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()

    def decode(self, video: int) -> Iterator[object]:
        return itertools.starmap(self.change, enumerate(self.opened.decode(video=video)))


def test_frames_are_turned_upright(clip, monkeypatch) -> None:
    """PyAV writes no orientation; telephones do. FFmpeg's angle is counterclockwise, as numpy's."""
    video, opened = Video.open(clip), av.open
    turned = lambda number, frame: SimpleNamespace(rotation=90, to_ndarray=frame.to_ndarray)  # noqa: E731
    monkeypatch.setattr(av, "open", lambda path, **_: Container(opened(path), turned))
    frame = next(iter(video))
    assert frame.shape == (64, 48, 3)
    assert frame[36:60, 4:20].mean() > 245  # the white quarter is now at the lower left


def test_a_damaged_video_yields_what_can_be_read(clip, monkeypatch) -> None:
    source, opened, skipped = image_source(clip), av.open, []

    def damaged(number: int, frame: object) -> object:
        if number == 2:
            raise av.error.InvalidDataError(1, "Invalid data")
        return frame

    monkeypatch.setattr(av, "open", lambda path, **_: Container(opened(path), damaged))
    assert len(list(source.readable(skipped.append))) == 2
    assert len(skipped) == 1
    assert "my clip.mp4 cannot be read after 2 frames (Invalid data)" in str(skipped[0])


def test_what_is_no_video_is_refused_at_once(tmp_path) -> None:
    (tmp_path / "a.mp4").write_text("not a video")
    with pytest.raises(InputError, match=r"video .*a\.mp4 cannot be read \("):
        image_source(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=r"image .*no\.mp4 does not exist"):
        image_source(tmp_path / "no.mp4").read()


def test_the_extra_is_named(clip, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"is a video, which needs PyAV: pip install '\.\[video\]'"):
        image_source(clip)
