"""The documentation as a site: built without a warning, whole, and nothing in it from elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from browsers import need_browser
from conftest import ROOT

from benchmarks.browser import browser

DOCS = ROOT / "docs"
ROOMS = ["data", "figures", "functional", "metrics", "model", "objectives", "training"]
# Attributes by which a page loads something, rather than leads to it.
LOADS = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "srcset"}
_LONG = 60  # lines, two screens


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("material", "mkdocstrings"):
        if find_spec(package) is None:
            pytest.skip(f"needs the extra site: {package} is not installed")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(out),
         "--config-file", str(DOCS / "site" / "mkdocs.yml")],
        capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class _Page(HTMLParser):
    """What a page loads, and the ids of what stands on it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag in LOADS and given.get("rel") != "canonical":
            self.loads.append(given.get(LOADS[tag]) or "")


def test_every_page_is_in_it_and_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in DOCS.glob("*.md"):
        assert (site / "docs" / f"{page.stem}.html").is_file()
    pages = list(site.rglob("*.html"))
    loads = {load for page in pages for load in _Page(page).loads}
    assert any("mnist-fast-overview.png" in load for load in loads)
    assert [load for load in loads if load.startswith(("http:", "https:", "//"))] == []
    styles = "".join(style.read_text(encoding="utf-8") for style in site.rglob("*.css"))
    assert "url(http" not in styles


def test_every_public_name_is_in_it(site: Path) -> None:
    absent = []
    for room in ROOMS:
        module = f"fastjvae.{room}"
        ids = _Page(site / "docs" / "api" / f"{room}.html").ids
        # A function that has its file's name is found by that file.
        absent += [
            f"{module}.{name}"
            for name in import_module(module).__all__
            if ids.isdisjoint({f"{module}.{name}", f"{module}.{name}.{name}"})
        ]
    assert absent == []
    assert "fastjvae.errors.FastJVAEError" in _Page(site / "docs" / "api" / "errors.html").ids


def test_it_can_be_searched_from_the_disk(site: Path) -> None:
    need_browser()
    with browser() as driver:
        driver.implicitly_wait(20)
        driver.get((site / "docs" / "tuning.html").as_uri())
        box = driver.find_element("css selector", ".md-search__input")
        driver.execute_script("arguments[0].focus()", box)
        box.send_keys("collapse")
        found = driver.find_element("css selector", ".md-search-result__link")
        assert found.get_attribute("href").startswith(site.as_uri())
        assert driver.get_log("browser") == []
        events = [json.loads(each["message"])["message"] for each in driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if "request" in e["params"]]
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("page", [*DOCS.glob("*.md"), ROOT / "README.md"], ids=lambda p: p.stem)
def test_a_long_page_has_a_picture_or_a_table(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("\n") < _LONG or "![" in text or "\n|--" in text
