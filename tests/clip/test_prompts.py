"""Lists of prompt templates, by name and from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsnet.clip.prompts import prompt_templates
from opsnet.utils.errors import InputError


def test_lists_of_templates_have_names() -> None:
    many, few, vild = (prompt_templates(name) for name in ("imagenet80", "imagenet7", "vild14"))
    assert (len(set(many)), len(set(few)), len(set(vild))) == (80, 7, 14)
    assert "a bad photo of a {}." in many
    assert "itap of a {}." in few
    assert vild[0] == "a photo of a {}."


def test_templates_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "templates.txt"
    path.write_bytes("\ufeffa photo of a {}.\r\n\r\nthe {} 🎈\r\n".encode())
    assert prompt_templates(str(path)) == ("a photo of a {}.", "the {} 🎈")
    with pytest.raises(InputError, match="nowhere.txt: neither imagenet80, imagenet7 nor vild14 nor a file"):
        prompt_templates("nowhere.txt")


@pytest.mark.parametrize("templates", [[], ["a photo"], ["{}", "a photo of a"]])
def test_templates_need_a_place_for_the_name(templates: list[str]) -> None:
    with pytest.raises(InputError, match=r"clip.templates must be texts that hold {} for the name"):
        prompt_templates(templates)
