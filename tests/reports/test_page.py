"""The page holds everything it shows, and nothing that data call themselves becomes markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from maskexp.reports import Gallery, Report, render
from tests.reports.pages import HOSTILE, hostile, ordinary, pictured, record


class Elements(HTMLParser):
    """Collects elements with their attributes, and the texts of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._within: str | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._within = tag if tag in ("script", "style") else self._within
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._within = None if tag == self._within else self._within

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts[-1] += data
        elif self._within is None:
            self.text += data


def _gallery(page: Elements) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(page.scripts[0])
    return content


def test_all_sections_are_there() -> None:
    page = Elements(render(ordinary()))
    sections = [attrs["id"] for tag, attrs in page.found if tag == "section"]
    assert sections == ["study", "numbers", "audit", "gallery", "curves", "provenance"]
    for text in (
        "Two rows",
        "0123abcd",
        "n = 160",
        "constant map 0.250",
        "What the mask hides decides.",
        "A note.",
    ):
        assert text in page.text
    # Wilson's interval of 0.8 of 160 images.
    assert "[0.731, 0.855]" in page.text


def test_differences_of_rows_are_a_table_of_their_own_that_praises_and_blames_none() -> None:
    page = Elements(render(ordinary()))
    labels = [attrs["aria-label"] for _, attrs in page.found if str(attrs.get("aria-label", "")).endswith("of rows")]
    assert labels == ["Differences of rows"]
    chips = [attrs["class"] for tag, attrs in page.found if tag == "span" and "chip" in str(attrs.get("class"))]
    assert chips[:2] == ["chip good", "chip"], "agrees with what was published; differs from another row"


def test_a_page_without_gallery_or_study_has_no_empty_sections() -> None:
    page = Elements(render(Report("bare", (record("one", audit=None, curves={}),))))
    assert [attrs["id"] for tag, attrs in page.found if tag == "section"] == ["numbers", "provenance"]
    assert len(page.scripts) == 1


def test_nothing_is_loaded_from_anywhere() -> None:
    text = render(ordinary())
    page = Elements(text)
    for tag, attrs in page.found:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "action", "srcset"):
            assert (attrs.get(name) or "#").startswith("#"), (tag, attrs)
        assert not [name for name in attrs if name.startswith("on") or name == "style"]
    assert not re.search(r"https?://|@import|url\(\s*[^$)]", text)


@pytest.mark.parametrize("make", [ordinary, hostile])
def test_only_our_script_and_style_are_allowed(make: Any) -> None:
    page = Elements(render(make()))
    policy = next(attrs["content"] for tag, attrs in page.found if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    scripts = [attrs for tag, attrs in page.found if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "gallery-data"}, {}]


def test_hostile_names_are_text_and_nothing_else() -> None:
    page, plain = Elements(render(hostile())), Elements(render(ordinary()))
    assert {tag for tag, _ in page.found} <= {tag for tag, _ in plain.found}
    assert not [attrs for tag, attrs in page.found if tag == "img"]
    assert all(name in page.text for name in HOSTILE[:5])
    content = _gallery(page)
    assert content["sets"][0]["classes"] == list(HOSTILE[:2])
    assert content["sets"][0]["pictures"][0][0] == f"{HOSTILE[1]}000"
    assert page.scripts[-1] == plain.scripts[-1]


def test_the_gallery_holds_what_models_say() -> None:
    content = _gallery(Elements(render(ordinary())))
    expected = pictured()
    assert [model["name"] for model in content["models"]] == ["first", "second"]
    first = content["models"][0]["judged"]
    assert len(first) == len(content["sets"][0]["pictures"]) == 60
    assert first[0][0] == 1
    assert first[0][3] is None
    assert first[6][1] == pytest.approx(expected.models[0].judged[6].probability, abs=1e-4)


def test_notes_of_an_empty_gallery_are_not_the_gallery() -> None:
    page = Elements(render(Report("none", gallery=Gallery(notes=("left out",)))))
    assert not [attrs for tag, attrs in page.found if attrs.get("id") == "gallery"]
