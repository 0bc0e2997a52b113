"""The page in a real browser: filters, keys, views, no errors, and nothing injected."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maskexp.reports import Report, render
from tests.reports.pages import hostile, ordinary

selenium = pytest.importorskip("selenium.webdriver", reason="selenium, which moves the browser, is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1200,900"),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium, as Debian has it."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip(
            "there is no chromium with its chromedriver here (Debian: apt-get install chromium chromium-driver)"
        )
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(DRIVER, env={**os.environ, "HOME": str(tmp_path_factory.mktemp("home"))})
    started = selenium.Chrome(options=options, service=service)
    yield started
    started.quit()


def _open(browser: Any, folder: Path, report: Report) -> None:
    file = folder / "report.html"
    file.write_text(render(report), encoding="utf-8")
    browser.get(file.as_uri())


def _set(browser: Any, field: str, value: str) -> None:
    browser.execute_script(
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('input', {bubbles: true}));",
        field,
        value,
    )


def _press(browser: Any, button: str) -> None:
    """Press a button; a real pointer would have to wait for the page to scroll smoothly to it."""
    browser.execute_script("document.getElementById(arguments[0]).click()", button)


def _cards(browser: Any) -> list[int]:
    """Numbers of the images that are shown, in their order, with all of them drawn."""
    browser.execute_script("while (!document.getElementById('more').hidden) document.getElementById('more').click()")
    ids = browser.execute_script("return [...document.querySelectorAll('.card')].map((card) => card.dataset.id)")
    return [int(identity.rpartition("-")[2]) for identity in ids]


def _key(browser: Any, key: str) -> None:
    selenium.ActionChains(browser).send_keys(getattr(selenium.Keys, key)).perform()


def _complaints(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] != "INFO"]


def test_filters_and_orders(browser: Any, tmp_path: Path) -> None:
    _open(browser, tmp_path, ordinary())
    wrong = [i for i in range(60) if i % 5 == 0]
    worst = _cards(browser)
    assert worst[: len(wrong)] == sorted(wrong, reverse=True)  # the surest are the last
    right = [i for i in range(60) if i % 5]
    assert worst[len(wrong) :] == [i for i in right if i % 7] + [i for i in right if i % 7 == 0]
    _set(browser, "decision", "wrong")
    assert sorted(_cards(browser)) == wrong
    assert browser.find_element("id", "count").text == "12 of 60 images, 0 right and 12 wrong"
    _set(browser, "group", "1")
    assert sorted(_cards(browser)) == [i for i in wrong if i % 2 == 0 and (i // 2) % 2 == 1]
    _press(browser, "clear")
    assert len(_cards(browser)) == 60
    _set(browser, "epg-low", "0.5")
    _set(browser, "epg-high", "0.7")
    assert sorted(_cards(browser)) == [i for i in range(60) if i % 7 and 0.5 <= i / 60 <= 0.7]
    _press(browser, "clear")
    _set(browser, "looks", "off")
    _set(browser, "order", "epg")
    assert _cards(browser) == [i for i in range(60) if i % 7 and i / 60 < 0.5]
    _press(browser, "clear")
    _set(browser, "model", "1")
    assert "0 wrong" in browser.find_element("id", "count").text
    assert _complaints(browser) == []


def test_views_and_keys(browser: Any, tmp_path: Path) -> None:
    _open(browser, tmp_path, ordinary())
    seen = "return [...document.querySelectorAll('.card')[5].querySelectorAll('img, .lit')]" + (
        ".filter((each) => getComputedStyle(each).display !== 'none').map((each) => each.className)"
    )
    assert browser.execute_script(seen) == ["base", "lit", "outline"]
    for view, expected in (("image", ["base"]), ("mask", ["mask"]), ("foreground", ["fore"])):
        browser.execute_script(f"document.querySelector('[name=view][value={view}]').click()")
        assert browser.execute_script(seen) == expected
    browser.execute_script("document.querySelectorAll('.card')[1].focus()")
    _key(browser, "ENTER")
    title = browser.find_element("id", "detail-title")
    assert title.text == "image-050"
    _key(browser, "ARROW_RIGHT")
    assert title.text == "image-045"
    _key(browser, "ARROW_LEFT")
    assert title.text == "image-050"
    assert "second: land 90 %" in browser.find_element("id", "detail-others").text
    assert len(browser.find_elements("css selector", "#detail-views figure")) == 4
    _key(browser, "ESCAPE")
    assert not browser.find_element("id", "detail").is_displayed()
    assert browser.execute_script("return document.activeElement.dataset.id") == "image-050"
    unnamed = "return [...document.images].filter((image) => image.alt === '' && image.className !== 'outline').length"
    assert browser.execute_script(unnamed) == 0
    assert _complaints(browser) == []


def test_every_image_is_one(browser: Any, tmp_path: Path) -> None:
    _open(browser, tmp_path, ordinary())
    _cards(browser)
    decoded = browser.execute_async_script(
        "const done = arguments[0]; Promise.all([...document.images].map((image) => image.decode()))"
        ".then((all) => done(all.length), (error) => done(String(error)))"
    )
    assert isinstance(decoded, int), decoded
    assert decoded >= 60 * 3


def test_a_phone_scrolls_down_and_not_aside(browser: Any, tmp_path: Path) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        _open(browser, tmp_path, ordinary())
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
        _open(browser, tmp_path, hostile())
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_mode_by_system_and_by_button(browser: Any, tmp_path: Path) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    _open(browser, tmp_path, ordinary())
    light = browser.execute_script(paper)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    by_system = browser.execute_script(paper)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert by_system != light == browser.execute_script(paper)
    _press(browser, "theme")
    assert browser.execute_script(paper) == by_system


def test_hostile_names_inject_nothing(browser: Any, tmp_path: Path) -> None:
    _open(browser, tmp_path, hostile())
    assert len(browser.find_elements("css selector", ".card")) == 12
    browser.execute_script("document.querySelector('.card').click()")
    browser.execute_script("document.getElementById('next').click()")
    assert browser.execute_script("return window.pwned") is None
    assert browser.execute_script("return document.scripts.length") == 2
    assert browser.execute_script("return document.querySelectorAll('img[onerror], [onclick]').length") == 0
    assert "<script>" in browser.find_element("id", "detail-title").text
    assert _complaints(browser) == []
