"""overlap_table_of_colours: the C module counts as numpy does with ids, and reads and writes nothing else."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.evaluation import shared_pixels
from opsnet.evaluation.shared_pixels import add_shared_pixels, overlap_table_of_colours
from opsnet.metrics.panoptic_arithmetic import SegmentTable, Side, UnlistedSegmentError, overlap_table

needs_module = pytest.mark.skipif(add_shared_pixels is None, reason="there was no C compiler at installation")


def segments(side: Side, ids: list[int]) -> SegmentTable:
    zeros = np.zeros(len(ids), np.int64)
    return SegmentTable(side, np.array(ids, np.int64), zeros, zeros.astype(bool))


def tables(truth: list[int], prediction: list[int]) -> tuple[SegmentTable, SegmentTable]:
    return segments("truth", truth), segments("prediction", prediction)


@pytest.fixture(params=[pytest.param("C", marks=needs_module), "numpy"], autouse=True)
def way(request, monkeypatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(shared_pixels, "add_shared_pixels", None)
    return request.param


def test_the_module_is_built_where_there_is_a_compiler() -> None:
    if shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("no C compiler, or no headers of Python")
    assert add_shared_pixels is not None


def test_by_hand() -> None:
    maps = [ids_to_rgb(np.array(ids)) for ids in ([[1, 1, 7], [7, 7, 0]], [[2, 2, 2], [2, 300, 300]])]
    assert overlap_table_of_colours(*maps, *tables([7, 1], [2, 300])).tolist() == [[0, 0, 1], [0, 2, 1], [0, 2, 0]]


@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 24, 25, 33, 640])
@pytest.mark.parametrize("number", [1, 2, 20, 300, 5000])
def test_as_numpy_counts_ids(width, number) -> None:
    rng = np.random.default_rng(width * number)
    for repeats in (1, 5, 40):
        maps, listed = [], []
        for _ in range(2):
            ids = np.unique(rng.integers(0, 256**3, number)).tolist()
            maps.append(rng.choice([0, *ids], (7, width)).repeat(repeats, axis=1))
            listed.append([i for i in rng.permutation(ids).tolist() if i])
        found = overlap_table_of_colours(*map(ids_to_rgb, maps), *tables(*listed))
        assert (found == overlap_table(*maps, *tables(*listed))).all()
        assert found.sum() == maps[0].size


@given(st.data())
def test_any_maps_of_few_ids(data) -> None:
    ids = st.lists(st.sampled_from([0, 1, 2, 256, 257, 65536, 65793, 256**3 - 1]), min_size=1, max_size=60)
    first = data.draw(ids)
    second = data.draw(st.lists(st.sampled_from(first), min_size=len(first), max_size=len(first)))
    maps = [np.array([row]) for row in (first, second)]
    listed = tables(*[sorted(set(row) - {0}) for row in (first, second)])
    assert (overlap_table_of_colours(*map(ids_to_rgb, maps), *listed) == overlap_table(*maps, *listed)).all()


@pytest.mark.parametrize("byte", range(3))
def test_a_change_of_one_byte_is_seen(byte) -> None:
    for pixel in range(1, 20):
        maps = np.zeros((2, 1, 20, 3), np.uint8)
        maps[1, 0, pixel:, byte] = 1
        assert overlap_table_of_colours(*maps, *tables([], [256**byte])).tolist() == [[pixel, 20 - pixel]]


def test_a_prediction_may_list_zero() -> None:
    maps = [ids_to_rgb(np.array([row])) for row in ([0, 1, 1], [0, 0, 5])]
    assert overlap_table_of_colours(*maps, *tables([1], [5, 0])).tolist() == [[0, 0, 1], [0, 1, 1]]


@pytest.mark.parametrize("place", [0, 5, 12, 19])
def test_an_id_that_is_not_listed(place) -> None:
    rows = np.ones((2, 20), np.int64)
    for side, name in enumerate(("truth", "prediction")):
        maps = rows.copy()
        maps[side, place] = 70_000
        with pytest.raises(UnlistedSegmentError, match=f"the {name}'s id map holds segment 70000") as caught:
            overlap_table_of_colours(*(ids_to_rgb(row[None]) for row in maps), *tables([1], [1]))
        assert (caught.value.side, caught.value.segment_id) == (name, 70_000)


def test_listed_ids_that_no_pixel_can_have() -> None:
    maps = [ids_to_rgb(np.array([[1, 1, 0]]))] * 2
    listed = [1, 256**3, 2**40 + 1, 2**32 + 1]
    assert overlap_table_of_colours(*maps, *tables(listed, listed)).diagonal().tolist() == [1, 2, 0, 0, 0]


def test_colours_of_an_image_with_alpha() -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (5, 6, 4), np.uint8)
    views = pixels[..., :3], pixels[::-1, :, :3]  # not contiguous
    ids = sorted(a + 256 * b + 65536 * c for a in (0, 1) for b in (0, 1) for c in (0, 1))[1:]
    found = overlap_table_of_colours(*views, *tables(ids, ids))
    assert (found == overlap_table_of_colours(*map(np.ascontiguousarray, views), *tables(ids, ids))).all()


def test_sizes_that_differ_are_refused() -> None:
    for first, second in (((2, 3, 3), (3, 2, 3)), ((0, 2, 3), (0, 2, 3))):
        with pytest.raises(ValueError, match="resize the prediction"):
            overlap_table_of_colours(np.zeros(first, np.uint8), np.zeros(second, np.uint8), *tables([], []))


def test_ids_that_were_chosen_to_fall_on_the_same_slots() -> None:
    # The slot is the top of the product with 0x9e3779b1, which is small for all of these.
    chosen = pow(0x9E3779B1, -1, 2**32) * np.arange(1, 2**20, dtype=np.uint64) % 2**32
    ids = chosen[chosen < 256**3].astype(np.int64)
    assert 3000 < ids.size < 5000
    maps = np.resize(ids, (100, 1000)), np.ones((100, 1000), np.int64)
    found = overlap_table_of_colours(*map(ids_to_rgb, maps), *tables(ids.tolist(), [1]))
    assert (found == overlap_table(*maps, *tables(ids.tolist(), [1]))).all()


@needs_module
class TestModule:
    """What it is given may be wrong in any way."""

    @pytest.fixture(autouse=True)
    def way(self) -> None:
        """These call the module itself, once."""

    maps = (np.zeros((2, 3, 3), np.uint8),) * 2
    ids = (np.arange(1, 3), np.arange(1, 5))

    @pytest.mark.parametrize(
        ("place", "wrong"),
        [
            (0, np.zeros(17, np.uint8)),
            (1, np.zeros(21, np.uint8)),
            (2, np.arange(3)),
            (3, np.arange(3)),
            (4, np.zeros((3, 4), np.int64)),
            (4, np.zeros(0, np.int64)),
        ],
    )
    def test_sizes_that_do_not_match(self, place, wrong) -> None:
        arguments = [*self.maps, *self.ids, np.zeros((3, 5), np.int64)]
        assert add_shared_pixels(*arguments) is None
        arguments[place] = wrong
        with pytest.raises(ValueError, match="do not match"):
            add_shared_pixels(*arguments)

    def test_maps_without_pixels(self) -> None:
        for size in (0, 1, 4):
            with pytest.raises(ValueError, match="do not match"):
                add_shared_pixels(*[np.zeros(size, np.uint8)] * 2, *self.ids, np.zeros((3, 5), np.int64))

    @pytest.mark.parametrize("place", range(5))
    def test_what_is_no_contiguous_array(self, place) -> None:
        for wrong in (None, "text", 5, np.zeros((40, 40), np.int64)[::2, ::2]):
            arguments: list[object] = [*self.maps, *self.ids, np.zeros((3, 5), np.int64)]
            arguments[place] = wrong
            with pytest.raises((TypeError, BufferError, ValueError)):
                add_shared_pixels(*arguments)  # type: ignore[arg-type]

    def test_a_table_that_cannot_be_written(self) -> None:
        table = np.zeros((3, 5), np.int64)
        table.flags.writeable = False
        with pytest.raises((TypeError, BufferError, ValueError)):
            add_shared_pixels(*self.maps, *self.ids, table)

    def test_it_adds(self) -> None:
        table = np.ones((3, 5), np.int64)
        for _ in range(3):
            assert add_shared_pixels(*self.maps, *self.ids, table) is None
        assert table.tolist() == [[1 + 6 * 3, 1, 1, 1, 1], [1] * 5, [1] * 5]

    @pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
    def test_it_keeps_no_memory(self) -> None:
        import resource

        ids, unlisted = np.arange(2, 100_002), np.ones((1, 1, 3), np.uint8)  # 4 MB of slots
        table = np.zeros((ids.size + 1, 2), np.int64)
        for pixels in (self.maps[0][:1, :1], unlisted):
            add_shared_pixels(pixels, pixels, ids, np.arange(1, 2), table)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(50):
            for pixels in (self.maps[0][:1, :1], unlisted):
                add_shared_pixels(pixels, pixels, ids, np.arange(1, 2), table)
        kilobytes = 1 if sys.platform == "linux" else 1024
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / kilobytes < 40_000
