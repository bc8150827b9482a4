"""Command lines: every form of an argument, and texts as they are typed."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given as drawn
from hypothesis import strategies as st

from opsnet.commands.arguments import is_bare, overrides_of, read_arguments, read_options
from opsnet.utils.errors import InputError


def values(*arguments: str) -> dict[str, object]:
    """The values that Hydra reads, by key."""
    overrides = OverridesParser.create().parse_overrides(read_arguments(list(arguments)))
    return {override.get_key_element(): override.value() for override in overrides}


TYPED = [
    "epoch=3-step=100.ckpt", "my photo (1).png", "red car, sky", "building, edifice; sky", "words with 'quotes'",
    "o'clock, pink flower", 'a "b" c', "[1].png", "{a}.png", "Größe.png", r"C:\photos\new folder\x.png",
    "C:\\photos\\", "~/photos/*.jpg", "https://host/a.jpg?x=1&y=2", "3", "1e5", "true", "a: b", "50% off",
    "café, naïve",
    "line\nbreak", "tv/monitor", "", "#1", "a\\'b",
]  # fmt: skip


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize(
    "key", ["checkpoint", "image", "vocabulary", "init_from", "model.weights", "data.root", "train"]
)
def test_texts_are_read_as_typed_in_every_form(key: str, text: str) -> None:
    read = {"3": 3, "1e5": 1e5, "true": True}.get(text, text) if "." in key else text
    assert values(f"{key}={text}") == {key: read}
    assert values(f"--{key}={text}") == {key: read}
    if text:
        assert values(f"--{key}", text) == {key: read}


@drawn(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_is_read_as_typed(text: str) -> None:
    escaped = "\\=" in text or "\\," in text
    quoted = text[:1] == text[-1:] and text[:1] in ("'", '"') and len(text) > 1
    if not (escaped or quoted or text in ("null", "???")):
        assert values(f"image={text}") == {"image": text}


@pytest.mark.parametrize("text", [*TYPED, "null", "[a, b]", "'quoted, text'"])
def test_what_is_read_can_be_read_again(text: str) -> None:
    once = read_arguments([f"vocabulary={text}", "--top-k", "3"])
    assert read_arguments(once) == once


def test_hydras_own_forms_are_read_too() -> None:
    assert values(r"checkpoint=epoch\=3.ckpt") == {"checkpoint": "epoch=3.ckpt"}
    assert values("checkpoint='epoch=3.ckpt'") == {"checkpoint": "epoch=3.ckpt"}
    assert values("checkpoint=null") == {"checkpoint": None}
    assert values("vocabulary=[cat, red car]") == {"vocabulary": ["cat", "red car"]}
    assert values('vocabulary=["a","b, c"]') == {"vocabulary": ["a", "b, c"]}
    assert read_arguments(["+losses.mine={_target_: a.B, weight: 1}", "~data.module.test.x"]) == [
        "+losses.mine={_target_: a.B, weight: 1}", "~data.module.test.x"
    ]  # fmt: skip


def test_in_a_sweep_commas_separate_texts_and_quotes_protect_them() -> None:
    assert read_arguments(["-m", "seed=0,1,2", "init_from=epoch=1.ckpt,my last.ckpt"]) == [
        "-m", "seed=0,1,2", "init_from='epoch=1.ckpt','my last.ckpt'"
    ]  # fmt: skip
    assert read_arguments(["-m", "vocabulary='cat, dog',sky"])[1] == "vocabulary='cat, dog',sky"
    assert read_arguments(["-m", "init_from=choice(a,b)"])[1] == "init_from=choice(a,b)"


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["--top-k", "5"], ["top_k=5"]),
        (["--top_k=5"], ["top_k=5"]),
        (["--experiment", "scenes", "-m", "--seed=0,1"], ["experiment=scenes", "-m", "seed=0,1"]),
        (["--details", "--checkpoint", "a"], ["details=true", "checkpoint=a"]),
        (["--details", "false"], ["details=false"]),
        (["--overlap", "-1"], ["overlap=-1"]),
        (["--cfg", "job", "--package", "data", "seed=1"], ["--cfg", "job", "--package", "data", "seed=1"]),
        (["--config-dir", "my=conf", "--info"], ["--config-dir", "my=conf", "--info"]),
        (["--info", "seed=1"], ["--info", "seed=1"]),
    ],
)
def test_keys_with_dashes_and_hydras_flags(typed: list[str], read: list[str]) -> None:
    assert read_arguments(typed, switches=["details"]) == read


def test_a_recognizers_strengths_are_read_as_in_settings() -> None:
    assert values("modulation=alpha=5,beta=0.25") == {
        "modulation": "full", "modulation.alpha": 5, "modulation.beta": 0.25
    }  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["photo.png"], 'image="photo.png"'),
        (["vocabulary=red", "car"], 'needs quotes: vocabulary="red car"'),
        (["--image"], "--image needs a value"),
        (["--image", "--top_k", "3"], "--image needs a value"),
        (["-x"], "there is no option -x"),
        (
            ["checkpoint=a", "top_k=3", "photo.png"],
            "^'photo.png' is not key=value: give for example image=\"photo.png\"$",
        ),
    ],
)
def test_what_is_no_argument_is_explained(typed: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_arguments(typed)


def test_the_keys_that_are_suggested_are_the_commands_own() -> None:
    keys = ["experiment", "seed", "shortest, longest", "init_from"]
    with pytest.raises(InputError, match='give for example experiment="photos" or init_from="photos"$'):
        read_arguments(["photos"], keys=keys)
    with pytest.raises(InputError, match='give for example gt="a.json" or pred="a.json"$'):
        read_options(["a.json", "b.json"], ["gt", "pred", "json"])
    with pytest.raises(InputError, match='give for example pred="b.json" or gt_dir="b.json"$'):
        read_options(["gt=a.json", "b.json"], ["gt", "pred", "gt_dir"])


def test_a_bare_command_line_says_only_how_to_run() -> None:
    assert is_bare([])
    assert is_bare(["-m", "hydra.run.dir=a"])
    assert not is_bare(["--cfg", "job"])
    assert not is_bare(["seed=1"])
    assert overrides_of(["--config-dir", "my=conf", "seed=1", "-m"]) == ["seed=1"]


def test_the_options_of_a_command_without_configuration() -> None:
    known, switches = ("gt", "gt_dir", "json"), ("json",)
    assert read_options(["gt=a=b.json", "--gt-dir", "c", "--json"], known, switches) == {
        "gt": "a=b.json", "gt_dir": "c", "json": True
    }  # fmt: skip
    assert read_options(["json=false"], known, switches) == {"json": False}
    with pytest.raises(InputError, match="there is no key 'gtdir': did you mean gt_dir"):
        read_options(["--gtdir", "c"], known)
    with pytest.raises(InputError, match="json must be true or false, got 'maybe'"):
        read_options(["json=maybe"], known, switches)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("settings=[alpha=8,beta=0.5/cls_iou]", ["alpha=8,beta=0.5/cls_iou"]),
        ("settings=[full/cls,alpha=8,beta=0.5/cls,alpha=2,beta=1/iou]",
         ["full/cls", "alpha=8,beta=0.5/cls", "alpha=2,beta=1/iou"]),
        ("settings=['alpha=8,beta=0.5/cls']", ["alpha=8,beta=0.5/cls"]),
        ("settings=alpha=8,beta=0.5/cls", "alpha=8,beta=0.5/cls"),
        ("settings=[full/cls_iou]", ["full/cls_iou"]),
        ("settings=full/cls,threshold=0.1,overlap=0.5", "full/cls,threshold=0.1,overlap=0.5"),
        ("settings=[full/cls,threshold=0.1, clip_only/iou,alpha=8,beta=0.5/cls,compete=iou]",
         ["full/cls,threshold=0.1", "clip_only/iou", "alpha=8,beta=0.5/cls,compete=iou"]),
        ("settings=[full/cls,drop_no_object=true,full/iou]", ["full/cls,drop_no_object=true", "full/iou"]),
        ("settings=['full/cls,threshold=0.1,overlap=0.5',\"full/iou,threshold=0,overlap=1\"]",
         ["full/cls,threshold=0.1,overlap=0.5", "full/iou,threshold=0,overlap=1"]),
    ],
)  # fmt: skip
def test_settings_need_no_quotes(given: str, read: object, compose) -> None:
    settings = compose("evaluate", *read_arguments([given])).settings
    assert (settings if isinstance(settings, str) else list(settings)) == read


@pytest.mark.parametrize("key", ["panel_setting", "detail_setting"])
def test_settings_of_other_keys_need_none_either(key: str, compose) -> None:
    assert compose("evaluate", *read_arguments([f"{key}=full/cls,threshold=0.1"]))[key] == "full/cls,threshold=0.1"
