"""The pages in a real browser without a screen: what a user sees, clicks and hears. Needs Playwright and Chromium."""

import html
import io
import os
import shutil
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from report_cases import make_result
from test_predict import run

from metakd_monai.apps.simulation.toy import simulate_cohort

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
SOFTWARE = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
HOSTILE = "<img src=x onerror=alert(1)>'\"&"
READY = "html[data-ready]"

playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install -e '.[dev]': playwright")
if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it", allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(SOFTWARE))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The report on three cases of 3 mm, one with a hostile name."""
    folder = tmp_path_factory.mktemp("browser")
    simulate_cohort(folder / "in", cases=3, seed=3, shape=(48, 56, 48), spacing=3.0, progress=False)
    make_result(folder / "in" / "Simulated_000", folder / "out", "A", unsure=True)
    make_result(folder / "in" / "Simulated_001", folder / "out", "B", warnings=("look here",))
    make_result(folder / "in" / "Simulated_002", folder / "out", HOSTILE, warnings=(HOSTILE, "and here"))
    assert run("report", folder / "out").exit_code == 0
    return folder / "out"


@pytest.fixture
def heard():
    """What a page says to the console, asks for, or shows as a dialog; nothing, if all is well."""
    return []


@pytest.fixture
def tab(browser, heard):
    """An empty tab that notes what it should not have to."""
    tab = browser.new_page(viewport={"width": 760, "height": 500})
    tab.on("console", lambda message: heard.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.on("dialog", lambda dialog: (heard.append(dialog.message), dialog.dismiss()))
    tab.on("request", lambda request: heard.append(request.url) if request.url.startswith("http") else None)
    yield tab
    tab.close()


@pytest.fixture
def case(tab, out):
    """The page of a case, its images loaded."""
    tab.goto((out / "A.html").as_uri())
    tab.wait_for_selector(READY, state="attached", timeout=90_000)
    return tab


def look(tab, canvas=None):
    """Return the canvas of a page, or of a frame in it, as ``(rows, columns, 3)``, 0 to 255."""
    tab.wait_for_timeout(300)  # two frames of software rendering
    picture = Image.open(io.BytesIO((canvas or tab.locator("#canvas")).screenshot(timeout=90_000)))
    return np.asarray(picture.convert("RGB"), dtype=int)


def coloured(picture):
    """Count the pixels that have a colour: a mask or a map, not grey images."""
    return int((np.ptp(picture, axis=2) > 60).sum())


def move(tab, name, value):
    """Move a slider as its user does."""
    tab.locator(f"[name={name}]").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


def test_the_images_and_the_mask_are_there(case, heard):
    picture = look(case)
    assert (picture.max(axis=2) > 60).mean() > 0.05
    assert coloured(picture) > 300
    assert case.locator("#status").count() == 0
    assert "(ET)" in (place := case.locator("#place").inner_text()) or "TC" in place  # within the tumour
    assert heard == []


def test_a_notebook_shows_the_page_in_a_frame(tab, out, heard):
    """As the tutorial does; a frame of this kind has no address of its own."""
    page = html.escape((out / "A.html").read_text(encoding="utf-8"))
    tab.set_content(f'<div><iframe srcdoc="{page}" width="100%" height="450"></iframe></div>')
    frame = tab.frame_locator("iframe")
    frame.locator(READY).wait_for(state="attached", timeout=90_000)
    assert coloured(look(tab, frame.locator("#canvas"))) > 300
    assert heard == []


def test_toggles_and_sliders_change_what_is_shown(case, heard):
    case.locator("[name=planes]").select_option("0")  # of which outlines are less than half
    whole = coloured(look(case))
    for box in case.locator("[name=part]").all():
        box.uncheck()
    none = coloured(look(case))
    assert none < 0.5 * whole
    assert "no tumour" not in case.locator("#place").inner_text()  # the mask is hidden, not gone
    case.locator("[name=part]").first.check()
    assert none < coloured(look(case)) < whole
    case.get_by_role("button", name="Reset").click()
    case.locator("[name=planes]").select_option("0")
    assert abs(coloured(look(case)) - whole) < 0.1 * whole
    move(case, "opacity", 0)
    assert coloured(look(case)) < 0.5 * whole
    move(case, "opacity", 100)
    filled = coloured(look(case))
    case.get_by_label("Outline only").check()
    assert none < coloured(look(case)) < 0.95 * filled
    case.get_by_label("Show, dark red to white").check()
    assert coloured(look(case)) > 2 * whole
    assert heard == []


def test_each_sequence_and_view_is_another_picture(case, heard):
    seen = [look(case)]
    for name in ("T1", "T1ce", "T2"):
        case.get_by_label(name, exact=True).check()
        seen.append(look(case))
    for value in ("0", "1", "2", "4"):
        case.locator("[name=planes]").select_option(value)
        seen.append(look(case))
    move(case, "cut", 50)
    seen.append(look(case))
    assert all(np.abs(one - other).mean() > 0.2 for one, other in pairwise(seen))
    assert heard == []


def test_the_crosshair_moves_by_keyboard_and_mouse_in_all_planes(case, heard):
    slider = case.get_by_label("Bottom to top")
    place, before = case.locator("#place").inner_text(), float(slider.input_value())
    slider.focus()
    for _ in range(10):
        case.keyboard.press("ArrowRight")
    assert float(slider.input_value()) > before
    assert case.locator("#place").inner_text() != place
    corner = case.locator("#canvas").bounding_box()
    case.mouse.click(corner["x"] + 0.3 * corner["width"], corner["y"] + 0.3 * corner["height"])
    case.wait_for_timeout(300)
    assert abs(float(case.get_by_label("Left to right").input_value()) - 0.5) > 0.01
    assert heard == []


def test_every_control_has_a_name_and_can_be_reached_by_tab(case):
    controls = case.locator("#controls input, #controls select, #controls button")
    for control in controls.all():
        name = control.evaluate("one => one.labels?.[0]?.textContent.trim() || one.textContent.trim()")
        assert len(name) > 1
        assert control.evaluate("one => one.tabIndex") == 0
    assert case.get_by_role("img", name="Slices of the brain").count() == 1
    assert all(image.get_attribute("alt") is not None for image in case.locator("img").all())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast_in_light_and_dark(browser, out, scheme):
    tab = browser.new_page(color_scheme=scheme)
    tab.goto((out / "index.html").as_uri())
    colours = tab.evaluate(
        """() => [".warned", "a", "p.research"].map((one) => [getComputedStyle(document.querySelector(one)).color,
        getComputedStyle(document.body).backgroundColor].map((text) => text.match(/\\d+/g).map(Number)))"""
    )
    assert all(contrast(*pair) >= 4.5 for pair in colours)  # WCAG AA
    assert (sum(colours[0][1]) < 380) == (scheme == "dark")
    tab.close()


def contrast(colour, back):
    """Return WCAG's contrast of two colours."""

    def luminance(values):
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.array(values) / 255]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted((luminance(colour), luminance(back)))
    return (high + 0.05) / (low + 0.05)


def test_a_narrow_window_shows_everything_without_scrolling_sideways(case):
    case.set_viewport_size({"width": 360, "height": 740})
    assert case.evaluate("document.documentElement.scrollWidth") <= 360
    assert case.locator("#canvas").bounding_box()["width"] > 300


def test_the_table_is_sorted_and_searched(tab, out, heard):
    tab.goto((out / "index.html").as_uri())

    def shown():
        return [one.inner_text() for one in tab.locator("tbody tr:visible th").all()]

    assert shown() == [HOSTILE, "B", "A"]  # most warnings first
    tab.get_by_role("button", name="Case").click()
    ascending = shown()
    tab.get_by_role("button", name="Case").click()
    assert shown() == ascending[::-1]
    assert tab.locator("th[aria-sort=descending]").count() == 1
    tab.get_by_role("button", name="WT", exact=True).click()
    volumes = [float(one.inner_text()) for one in tab.locator("tbody tr td:nth-child(6)").all()]
    assert volumes == sorted(volumes)
    tab.get_by_label("Find").fill("LOOK HERE")
    assert shown() == ["B"]
    assert tab.get_by_role("status").inner_text() == "1 found"
    assert heard == []


def test_a_hostile_name_is_shown_and_nothing_else(tab, out, heard):
    tab.goto((out / "index.html").as_uri())
    tab.get_by_role("link", name=HOSTILE).click()
    tab.wait_for_selector(READY, state="attached", timeout=90_000)
    assert tab.locator("h1").inner_text() == HOSTILE
    assert heard == []


def test_printing_keeps_the_picture_and_leaves_the_controls_out(case):
    case.evaluate("dispatchEvent(new Event('beforeprint'))")
    case.emulate_media(media="print")
    assert case.locator("#controls").is_hidden()
    assert case.locator("#snapshot").evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    assert len(case.pdf()) > 20_000


def test_a_browser_without_webgl_says_so(browser, out):
    tab = browser.new_page()
    tab.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")
    tab.goto((out / "A.html").as_uri())
    tab.get_by_text("The images cannot be shown: this browser has no WebGL 2").wait_for(timeout=30_000)
    tab.close()
