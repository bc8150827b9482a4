"""Written in C, see ``_shared_pixels.c``."""

from typing import Any

from numpy.typing import NDArray

def add_shared_pixels(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    truth_ids: NDArray[Any],
    prediction_ids: NDArray[Any],
    table: NDArray[Any],
) -> tuple[int, int] | None:
    """Adds the number of pixels of each pair of segments to a table.

    All arrays are contiguous.

    Args:
        truth: (H, W, 3) uint8, the colours of the ground truth's ids.
        prediction: (H, W, 3) uint8.
        truth_ids: (G,) int64, all different; those that are no colour have no pixels.
        prediction_ids: (K,) int64.
        table: (1 + G, 1 + K) int64; row and column 0 are those of id 0, unless it is listed.

    Returns:
        ``None``; or 0 or 1 and an id that the truth or the prediction does not list, and the table is incomplete.

    Raises:
        ValueError: the sizes do not match.
        MemoryError: a list of ids is too long.
    """
