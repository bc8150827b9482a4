"""The kinds of defects that ``opsnet-doctor`` reports, with their severity and fix.

An error makes training refuse the set, or means that json and PNG disagree; a warning does neither.

Segments of a panoptic PNG cannot overlap, so "overlapping crowds" means that an image has two crowd segments of one
category (:data:`REPEATED_CROWD`). Scoring indexes crowds by category and ignores only the pixels of the last one, as
panopticapi does. Crowds of different categories are unrestricted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Kind:
    """A kind of finding: its name, severity and fix."""

    name: str
    severity: Severity
    fix: str


@dataclass(frozen=True)
class Finding:
    """One defect.

    Attributes:
        kind: the kind of defect.
        where: the file, image or category that has it.
        message: what is wrong, with the values.
    """

    kind: Kind
    where: str
    message: str


# The json.
UNREADABLE_JSON = Kind("unreadable json", "error", "check `annotations`, or replace the file")
MALFORMED = Kind(
    "malformed entry",
    "error",
    "images need id and file_name, annotations image_id, file_name and segments_info[id, category_id], categories id, "
    "name and isthing; file names stay inside their folder",
)
REPEATED_IMAGE = Kind("image id twice", "error", "give each entry of `images` its own id")
UNKNOWN_IMAGE = Kind("annotation of an unknown image", "error", "add the image to `images`, or drop the annotation")
ANNOTATED_TWICE = Kind("image annotated twice", "error", "remove one of its annotations")
NOT_ANNOTATED = Kind("image without annotation", "warning", "it is left out; annotate it to use it")

# Files.
MISSING_FOLDER = Kind("missing folder", "error", "check `images` and `segments`")
MISSING_IMAGE = Kind("missing image", "error", "complete the folder, or check `images`")
MISSING_PNG = Kind("missing PNG", "error", "complete the folder, or check `segments`")
ORPHAN_IMAGE = Kind("orphan image", "warning", "remove it, unless another set uses it")
ORPHAN_PNG = Kind("orphan PNG", "warning", "remove it, unless another set uses it")
UNREADABLE_IMAGE = Kind("unreadable image", "error", "replace the file")
UNREADABLE_PNG = Kind("unreadable PNG", "error", "replace the file")
WRONG_MODE = Kind("PNG of a wrong mode", "error", "write ids as RGB: R + 256 G + 65536 B")
OTHER_SIZE = Kind("image and PNG of different sizes", "error", "give both the same size")
WRONG_SIZE = Kind("wrong width or height", "error", "write the size of the PNG into `images`")

# Image-level labels.
UNFIT_LABELS = Kind("labels that do not fit", "error", "give labels, folder and vocabulary of the same set")
UNLABELLED = Kind("images without a label", "warning", "they are left out")
UNKNOWN_LABELS = Kind("images with a label of another vocabulary", "warning", "they are left out")
DAMAGED_SAMPLE = Kind("unusable sample", "error", "repair the shard, or raise `max_damaged`, which leaves it out")

# Segments.
ID_RANGE = Kind("segment id out of range", "error", "ids must lie in 1..16777215 (0 is void)")
REPEATED_ID = Kind("segment id twice", "error", "give each segment of an image its own id")
UNLISTED_ID = Kind("id that the json does not list", "error", "list the segment, or paint it 0 (void)")
ABSENT_ID = Kind("segment without a pixel", "error", "drop the segment from segments_info, or replace the PNG")
WRONG_AREA = Kind("wrong area", "error", "write the segment's number of pixels; official scorers use it")
WRONG_BOX = Kind("wrong bbox", "warning", "write [left, top, width, height] in pixels; opsnet does not read it")
REPEATED_CROWD = Kind("overlapping crowds", "error", "give all crowd of a category in an image one segment")
STUFF_CROWD = Kind("crowd of stuff", "warning", "it is neither trained nor scored; clear iscrowd to use it")

# Categories.
REPEATED_CATEGORY = Kind("category id twice", "error", "give each entry of `categories` its own id")
UNKNOWN_CATEGORY = Kind("unknown category", "error", "add it to the vocabulary, or set `vocabulary` to this set's")
OTHER_KIND = Kind("thing here, stuff there", "error", "set `vocabulary` to the one of this set, or correct `isthing`")
ONLY_CROWD = Kind(
    "category of crowd alone", "warning", "it is neither trained nor scored; opsnet-prepare own coco --crowd instances"
)
UNUSED_CATEGORY = Kind("category that never occurs", "warning", "its scores will be meaningless")
