"""Prompt templates: predefined lists and user-defined ones."""

from __future__ import annotations

from collections.abc import Sequence

from opsnet.utils.errors import InputError
from opsnet.utils.paths import user_path

VILD = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    "a photo of a small {}.",
    "a photo of a medium {}.",
    "a photo of a large {}.",
    "This is a photo of a small {}.",
    "This is a photo of a medium {}.",
    "This is a photo of a large {}.",
    "There is a small {} in the scene.",
    "There is a medium {} in the scene.",
    "There is a large {} in the scene.",
)
"""The 14 templates of ViLD (Gu et al., ICLR 2022), with which FC-CLIP and its successors publish their results."""

NAMED = ("imagenet80", "imagenet7", "vild14")
"""The predefined lists of :func:`prompt_templates`."""


def prompt_templates(spec: Sequence[str] | str) -> tuple[str, ...]:
    """Prompt templates with ``{}`` as the placeholder for the name.

    Args:
        spec: the templates; or ``imagenet80``, ``imagenet7`` (the lists of CLIP's authors, from open_clip), ``vild14``
            (:data:`VILD`); or the path of a .txt file with one template per line.

    Raises:
        InputError: the list is unknown, the file is missing, there is no template, or one lacks ``{}``.
    """
    templates = _named(spec) if isinstance(spec, str) else spec
    if not templates or any("{}" not in t for t in templates):
        raise InputError(f"clip.templates must be texts that hold {{}} for the name, got {list(templates)}")
    return tuple(templates)


def _named(name: str) -> Sequence[str]:
    if name == "vild14":
        return VILD
    if name in ("imagenet80", "imagenet7"):
        from open_clip import zero_shot_metadata as lists

        functions = lists.OPENAI_IMAGENET_TEMPLATES if name == "imagenet80" else lists.SIMPLE_IMAGENET_TEMPLATES
        return [function("{}") for function in functions]
    path = user_path(name)
    if not path.is_file():
        raise InputError(
            f"clip.templates={name}: neither imagenet80, imagenet7 nor vild14 nor a file: give one, or a list"
        )
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
