"""Folders of binary PNGs, as segment-anything's ``amg.py`` writes them for each image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsnet.prediction.mask_folders import is_mask_folder, read_mask_folder
from opsnet.utils.errors import InputError

SIZE = (4, 6)
HEADER = "id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,point_input_x,point_input_y,predicted_iou,stability_score"


def mask(row: int) -> np.ndarray:
    found = np.zeros(SIZE, bool)
    found[row, 1:4] = True
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Masks 0, 1 and 10: rows 0, 1 and 2 of the image."""
    path = tmp_path / "photo"
    path.mkdir()
    for row, number in enumerate((0, 1, 10)):
        Image.fromarray(mask(row).astype(np.uint8) * 255).save(path / f"{number}.png")
    return path


def test_masks_by_number_with_scores_of_the_table(folder: Path) -> None:
    found = read_mask_folder(folder, SIZE)
    assert (found.ids, found.scores.tolist()) == ((0, 1, 10), [1, 1, 1])
    assert np.array_equal(found.masks, [mask(0), mask(1), mask(2)])
    rows = [f"{i},3,1,{i},3,1,2.5,0.5,{iou},0.96" for i, iou in ((10, 0.75), (0, 0.5), (1, 1.01))]
    (folder / "metadata.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    assert read_mask_folder(folder, SIZE).scores.tolist() == [0.5, 1, 0.75]


def test_what_is_such_a_folder(folder: Path, tmp_path: Path) -> None:
    assert is_mask_folder(folder)
    assert not is_mask_folder(folder / "0.png")
    assert not is_mask_folder(tmp_path)  # has no PNG
    (folder / "photo.png").write_bytes(b"")
    assert not is_mask_folder(folder)  # maps of ids, by their images' names
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metadata.csv").write_text(HEADER + "\n")
    assert is_mask_folder(tmp_path / "empty")  # an image in which SAM found nothing
    assert len(read_mask_folder(tmp_path / "empty", SIZE)) == 0


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    (folder / "metadata.csv").write_text(f"{HEADER}\n0,3,1,0,3,1,2,0,0.9,0.9\n")
    with pytest.raises(InputError, match=r"metadata\.csv has no row for 1\.png: correct it, or delete it"):
        read_mask_folder(folder, SIZE)
    (folder / "metadata.csv").write_text("name,score\na,1\n")
    with pytest.raises(InputError, match=r"metadata\.csv is no table with columns id and predicted_iou"):
        read_mask_folder(folder, SIZE)
    (folder / "metadata.csv").write_text("id,predicted_iou\n0,nan\n")
    with pytest.raises(InputError, match=r"metadata\.csv: a mask has the score 'nan'"):
        read_mask_folder(folder, SIZE)
    (folder / "metadata.csv").unlink()
    with pytest.raises(InputError, match=r"\.png: the mask is 6 x 4 pixels, but the image is 4 x 6"):
        read_mask_folder(folder, SIZE[::-1])
    Image.fromarray(np.arange(24, dtype=np.uint8).reshape(SIZE)).save(folder / "1.png")
    with pytest.raises(InputError, match=r"1\.png is no binary mask"):
        read_mask_folder(folder, SIZE)
    (folder / "1.png").write_bytes(b"text")
    with pytest.raises(InputError, match=r"1\.png cannot be read as an image"):
        read_mask_folder(folder, SIZE)
