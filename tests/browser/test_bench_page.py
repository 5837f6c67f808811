"""The page that ``everwire bench --html`` writes, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from commands import everwire, serving
from playwright.sync_api import Page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a short run."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with serving() as (_, url):
        address = "ws" + url.removeprefix("http") + "/echo"
        with everwire("bench", address, "-c", "5", "-t", "0.5", "--warmup", "0.2", "--html", path) as program:
            assert program.wait() == 0, program.output
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_shows_plots_in_both_themes(report: Path, tab: Page, scheme: Literal["light", "dark"]) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.goto(report.as_uri())
    assert tab.locator("svg").count() == 3
    for plot in tab.locator("svg").all():
        box = plot.bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 100
    page, text = (
        tab.evaluate(f"getComputedStyle(document.body).{each}") for each in ("backgroundColor", "color")
    )
    light, dark = (text, page) if scheme == "dark" else (page, text)
    assert sum(map(int, light[4:-1].split(", "))) > 600
    assert sum(map(int, dark[4:-1].split(", "))) < 100
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_fits_a_narrow_window(report: Path, tab: Page) -> None:
    tab.set_viewport_size({"width": 360, "height": 800})
    tab.goto(report.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
