"""The whole page in headless Chromium: every control, the keyboard, invalid and hostile input, two widths."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.web_demo.screenshots import SIZES, save
from scripts.web_demo.visitor import CHROMIUM, DRIVER, MISSING, Visitor, served, visiting, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(None in (CHROMIUM, DRIVER), reason=MISSING)]
FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
WORDS = "red circle, green stripes, blue square, sea"
WIDE, NARROW = SIZES.values()
HOSTILE = "<img src=x onerror=window.hit=1>"


@pytest.fixture(scope="module")
def address(lenient_checkpoint, tmp_path_factory) -> Iterator[str]:
    """The page of two models with one checkpoint, the second with the recognizer CLIP only."""
    import torch

    folder = tmp_path_factory.mktemp("demo")
    checkpoint = torch.load(lenient_checkpoint, map_location="cpu", weights_only=False)
    clip_only = {"_target_": "opsnet.recognition.modulation.ClipOnly"}
    checkpoint["opsnet"]["config"]["inference"]["recognizer"] = clip_only
    torch.save(checkpoint, folder / "clip.ckpt")
    models = f"models={{trained: {lenient_checkpoint}, CLIP: {folder / 'clip.ckpt'}}}"
    with served(folder, models, "device=cpu", "threshold=0") as address:
        yield address


@pytest.fixture
def visitors(address, tmp_path) -> Iterator[list[Visitor]]:
    """Two independent browsers on the same page, a wide and a narrow one."""
    with visiting(address, tmp_path, [WIDE, NARROW]) as opened:
        yield opened


@pytest.fixture
def visitor(address, tmp_path) -> Iterator[Visitor]:
    with visiting(address, tmp_path, [WIDE]) as opened:
        yield opened[0]


def draw(path: Path, size: tuple[int, int], seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    pixels[size[1] // 4 : size[1] // 2, : size[0] // 2] = (220, 30, 30)
    Image.fromarray(pixels).save(path)
    return path


def hosts(visitor: Visitor) -> set[str]:
    """Every host that the page made the browser contact."""
    messages = (json.loads(entry["message"])["message"] for entry in visitor.browser.get_log("performance"))
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return {url.split("/")[2] for url in urls if url.startswith(("http", "ws"))}


def examined(visitor: Visitor) -> list[str]:
    """The class names in the doctor's table."""
    script = "return [...document.querySelectorAll('#doctor td:first-child')].map(cell => cell.textContent)"
    return sorted(visitor.run(script))


def test_two_visitors_use_every_control(visitors, address, tmp_path) -> None:
    first, second = visitors
    first.upload(draw(tmp_path / "wide.png", (90, 60), 0))
    second.upload(draw(tmp_path / "high.png", (50, 80), 1))
    first.write(WORDS)
    second.write("blue waves, tree; moon")
    assert "; network 0." in first.segment()
    assert "; network 0." in second.segment()

    # Each has their own image and class names.
    assert set(first.names()) <= set(WORDS.split(", "))
    assert set(second.names()) <= {"blue waves", "tree", "moon"}
    for visitor in visitors:
        visitor.open_doctor()
    assert examined(first) == sorted(WORDS.split(", "))
    assert examined(second) == ["blue waves", "moon", "tree"]

    # The slider names again, without the network, for the one who moved it.
    before = second.attribute("#figure .figure", "data-segments")
    strength = first.text("#doctor .lead")
    assert "network not run again" in first.slide("alpha", 0)
    wait_until(lambda: "α (1 − s) = 0.00" in first.text("#doctor .lead") != strength)
    assert second.attribute("#figure .figure", "data-segments") == before

    hover_and_download(first)
    thresholds_and_opacity(first)
    assert hosts(first) == {address.removeprefix("http://")}


def hover_and_download(visitor: Visitor) -> None:
    """Hovering shows the names of the segment under the pointer, and the files have the same names."""
    from selenium.webdriver.common.action_chains import ActionChains

    described = visitor.segments()
    files = [visitor.download(*file) for file in (("panoptic", "wide.png"), ("json", "panoptic.json"))]
    ids = np.array(Image.open(files[0]).convert("RGB"), dtype=np.int64) @ (1, 256, 65_536)
    assert ids.shape == (60, 90)
    listed = json.loads(files[1].read_text())["annotations"][0]["segments_info"]
    assert {str(s["id"]): s["names"] for s in listed} == {key: s["top"] for key, s in described.items()}
    with Image.open(visitor.download("overlay", "wide_overlay.png")) as overlay_file:
        assert overlay_file.size[0] / overlay_file.size[1] == pytest.approx(1.5, abs=0.1)

    largest = max(listed, key=lambda s: s["area"])
    y, x = (int(middle) for middle in np.median(np.argwhere(ids == largest["id"]), axis=0))
    y, x = min(np.argwhere(ids == largest["id"]).tolist(), key=lambda place: abs(place[0] - y) + abs(place[1] - x))
    overlay = visitor.one("#figure .overlay")
    visitor.run("arguments[0].scrollIntoView({block: 'center'})", overlay)
    across, down = (x + 0.5) / 90 - 0.5, (y + 0.5) / 60 - 0.5
    offset = round(across * overlay.size["width"]), round(down * overlay.size["height"])
    ActionChains(visitor.browser).move_to_element(overlay).move_to_element_with_offset(overlay, *offset).perform()
    wait_until(lambda: visitor.all("#figure .tip:not([hidden])"))
    assert visitor.text("#figure .tip b") == described[str(largest["id"])]["name"]
    rows = [row.text.split("\n")[0] for row in visitor.all("#figure .tip .row")]
    assert rows == [name for name, _ in largest["names"]]


def thresholds_and_opacity(visitor: Visitor) -> None:
    """The threshold merges again without the network; the opacity asks the server nothing."""
    scores = sorted(s["score"] for s in visitor.segments().values())
    assert "network not run again" in visitor.slide("threshold", 0.99)
    wait_until(lambda: len(visitor.segments()) == sum(score > 0.99 for score in scores))
    assert "no segment: the best" in visitor.text("#warnings")
    visitor.slide("threshold", 0)
    wait_until(lambda: len(visitor.segments()) == len(scores))
    assert "no segment" not in visitor.text("#warnings")

    shown = "return getComputedStyle(document.querySelector('#figure .colours')).opacity"
    before, status = visitor.run(shown), visitor.attribute("#status .status", "data-time")
    script = "const s = document.querySelector('#opacity input[type=range]'); s.value = 25;"
    visitor.run(f"{script} s.dispatchEvent(new Event('input', {{bubbles: true}}))")
    wait_until(lambda: visitor.run(shown) == "0.25")
    assert before == "0.6"
    assert visitor.attribute("#status .status", "data-time") == status


def test_a_new_image_or_model_clears_the_result(visitor, tmp_path) -> None:
    assert "; network 0." in visitor.choose_example(0)
    result, words = visitor.segments(), visitor.run("return document.querySelector('#words textarea').value")
    assert {s["name"] for s in result.values()} <= set(words.split(", "))
    assert visitor.run("return document.querySelector('#overlay').disabled || null") is None

    visitor.upload(draw(tmp_path / "other.png", (60, 60), 2))
    assert visitor.segments() == {}
    assert visitor.text("#status .status") == "ready"
    assert "no image yet" in visitor.text("#segments")
    assert visitor.run("return document.querySelector('#overlay').disabled") is True

    assert "segment" in visitor.segment()
    visitor.acting(lambda: visitor.choose("model", "CLIP"))
    assert visitor.segments() == {}
    assert visitor.run("return document.querySelector('#recognizer input').value") == "CLIP only (default)"
    assert not visitor.run("return !!document.querySelector('#alpha')?.offsetParent")
    assert "; network 0." in visitor.segment()  # the other network has not seen the image yet
    visitor.choose("preset", "scenes_street")
    wait_until(lambda: "moon" in visitor.run("return document.querySelector('#words textarea').value"))
    visitor.acting(lambda: visitor.choose("recognizer", "Embedding Modulation"))
    wait_until(lambda: visitor.run("return !!document.querySelector('#alpha')?.offsetParent"))
    assert "network not run again" in visitor.text("#status .status")


def test_a_late_result_of_the_image_before_is_dropped(visitor, tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3000, 4000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "slow.png", compress_level=0)
    visitor.upload(tmp_path / "slow.png")
    visitor.write(WORDS)
    visitor.click("#go")
    visitor.upload(draw(tmp_path / "fast.png", (60, 60), 2))
    for _ in range(25):  # the result comes after 15 s on a slow machine
        time.sleep(1)
        assert not visitor.all("#figure .figure")
    visitor.segment()
    assert visitor.attribute("#figure .overlay", "alt").startswith("fast.png")


def test_everything_can_be_done_by_keyboard(visitor, tmp_path) -> None:
    from selenium.webdriver.common.keys import Keys

    visitor.upload(draw(tmp_path / "a.png", (60, 60), 2))
    words = visitor.one("#words textarea")
    words.send_keys("sea", Keys.SHIFT, Keys.ENTER, Keys.NULL, "tree")
    assert words.get_attribute("value") == "sea\ntree"
    assert "; network 0." in visitor.acting(lambda: words.send_keys(Keys.ENTER))
    assert {name for s in visitor.segments().values() for name, _ in s["top"]} == {"sea", "tree"}
    for css, keys in (
        ("#words textarea", (Keys.CONTROL, Keys.ENTER)),
        ("#threshold input[type=range]", (Keys.CONTROL, Keys.ENTER)),
        ("#threshold input[type=range]", (Keys.ARROW_RIGHT,)),
        ("#alpha input[type=number]", (Keys.CONTROL, "a", Keys.NULL, "3")),
        ("#go", (Keys.ENTER,)),
    ):
        assert "segment" in visitor.acting(lambda css=css, keys=keys: visitor.all(css)[0].send_keys(*keys)), css
    visitor.all("#examples button")[2].send_keys(Keys.ENTER)
    wait_until(lambda: visitor.attribute("#figure .overlay", "alt").startswith("scenes_street.png"))

    # Tab reaches the controls in the order of the page, and each is outlined.
    visitor.browser.refresh()  # Tab starts at the top again
    wait_until(lambda: visitor.all("#examples button"))
    visitor.choose_example(0)
    wait_until(lambda: not visitor.run("return document.querySelector('#json').disabled"))
    reached = tabbed(visitor)
    order = ["model", "image", "examples", "words", "go", "opacity", "overlay", "recognizer", "alpha", "threshold"]
    assert [name for name in reached if name in order] == order
    assert unlabelled(visitor) == []


def tabbed(visitor: Visitor) -> list[str]:
    """The ids that Tab reaches, each once, until it is at the first again; all are outlined."""
    from selenium.webdriver.common.keys import Keys

    script = """
        const e = document.activeElement, style = getComputedStyle(e);
        return [e.tagName, e.closest('[id]:not([id^=range_])')?.id, style.outlineStyle + style.outlineWidth];
    """
    reached: dict[str, None] = {}
    for _ in range(60):
        visitor.browser.switch_to.active_element.send_keys(Keys.TAB)
        tag, name, outline = visitor.run(script)
        if tag in ("BODY", "UL"):  # behind the last one, or gradio's open list of a dropdown
            continue
        assert outline == "solid3px", (tag, name)
        if name == "model" and len(reached) > 1:
            break
        reached.setdefault(name)
    return list(reached)


def unlabelled(visitor: Visitor) -> list[str]:
    """Visible controls without a name for screen readers, and images without an alternative text."""
    return list(
        visitor.run("""
        const name = e => e.getAttribute('aria-label') || e.title || e.textContent.trim()
          || [...(e.labels ?? [])].map(l => l.textContent.trim()).join('');
        const controls = [...document.querySelectorAll('button, input, textarea, select')];
        const silent = controls.filter(e => e.offsetParent && !name(e));
        const images = [...document.querySelectorAll('img')].filter(e => !e.hasAttribute('alt'));
        return [...silent, ...images].map(e => e.outerHTML.slice(0, 200));
    """)
    )


@pytest.mark.parametrize("size", SIZES.values(), ids=["wide", "narrow"])
def test_the_page_fits_the_screen(size, address, tmp_path) -> None:
    with visiting(address, tmp_path, [size]) as (visitor,):
        widths = []
        for act in (lambda: None, lambda: visitor.choose_example(1), visitor.open_doctor):
            act()
            widths.append(visitor.run("return document.documentElement.scrollWidth"))
            assert too_wide(visitor) == []
        assert max(widths) <= size[0]
        tops = {name: visitor.one(f"#{name}").rect for name in ("image", "words", "go", "figure", "recognizer")}
        order = sorted(tops, key=lambda name: tops[name]["y"])
        if size == NARROW:
            assert order == ["image", "words", "go", "figure", "recognizer"]
            assert all(rect["x"] >= 0 and rect["x"] + rect["width"] <= NARROW[0] for rect in tops.values())
        else:
            assert tops["figure"]["x"] > tops["image"]["x"] + tops["image"]["width"]
            assert tops["figure"]["y"] < 250
        shot = save(visitor.screenshot(), tmp_path / "shot.png")
        with Image.open(shot) as image:
            assert image.width == size[0] and image.mode == "P"


def too_wide(visitor: Visitor) -> list[str]:
    """Visible elements that end beyond the screen, and those with content to scroll to at the side."""
    return list(
        visitor.run("""
        const seen = [...document.querySelectorAll('body *')].filter(e => e.getClientRects().length);
        const overflow = e => getComputedStyle(e).overflowX;
        const scrolls = e => e.scrollWidth > e.clientWidth + 1 && ['auto', 'scroll'].includes(overflow(e));
        const wide = seen.filter(e => e.getBoundingClientRect().right > innerWidth + 1 || scrolls(e));
        return wide.map(e => e.outerHTML.slice(0, 200));
    """)
    )


@pytest.mark.parametrize(("file", "size"), SIZES.items())
def test_the_documentation_shows_both_widths(file, size) -> None:
    path = FIGURES / file
    with Image.open(path) as image:
        assert image.width == size[0] and image.mode == "P"
    assert path.stat().st_size < 300_000
    assert f"figures/{file}" in (FIGURES.parent / "demo.md").read_text(encoding="utf-8")


def test_names_and_file_names_are_never_html(visitor, tmp_path) -> None:
    visitor.upload(draw(tmp_path / f"{HOSTILE}.png", (90, 60), 0))
    visitor.write(f"{HOSTILE}, </div><script>window.hit=1</script>, ${{window.hit=1}}, {{{{value}}}}, @children")
    assert "segment" in visitor.segment()
    visitor.open_doctor()
    assert HOSTILE in visitor.text("#segments") + visitor.text("#doctor")
    assert HOSTILE in examined(visitor)
    overlay = visitor.one("#figure .overlay")
    visitor.run("arguments[0].scrollIntoView({block: 'center'})", overlay)
    overlay.click()
    (tmp_path / f"{HOSTILE}2.png").write_text("no image")
    visitor.upload(tmp_path / f"{HOSTILE}2.png")
    assert "cannot be read as an image" in visitor.segment()
    visitor.write(HOSTILE * 5)
    assert "is longer than 100 characters" in visitor.segment()
    assert visitor.run("return window.hit ?? null") is None
    assert visitor.run("return document.querySelectorAll('#page img[src=x], #page script').length") == 0


def test_invalid_input_is_a_message_and_the_page_still_works(visitor, tmp_path) -> None:
    visitor.write(WORDS)
    assert "there is no image: upload one" in visitor.segment()
    (tmp_path / "text.png").write_text("not an image")
    visitor.upload(tmp_path / "text.png")
    assert re.search(r"text.*\.png cannot be read as an image", visitor.segment())
    Image.new("RGB", (10_000, 6_000)).save(tmp_path / "large.png")
    visitor.upload(tmp_path / "large.png")
    assert "60 megapixels (10000 x 6000), more than the 25 that this page accepts" in visitor.segment()
    visitor.upload(draw(tmp_path / "good.png", (90, 60), 0))
    visitor.write(", ".join(f"word {i}" for i in range(5000)))
    assert "5,000 names are more than the 1,000 that this page accepts" in visitor.segment()
    visitor.write(WORDS)
    assert "; network" in visitor.segment()
    assert visitor.names()
