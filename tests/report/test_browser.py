"""The page in a real browser: without network, without complaints, at laptop and phone width, and on paper."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbfit.figures.style import new_figure, save_figure
from cmbfit.report.page import render

from .browser import LAPTOP, PHONE, chromium, open_page
from .example import SUMMARY


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    for stem in ("corner_lcdm", "traces_lcdm", "spectra"):
        fig = new_figure(8, 5)
        fig.subplots().plot(np.arange(50) ** 2)
        save_figure(fig, folder / "figures" / stem, {"x": np.arange(50)})
    summary: dict[str, Any] = copy.deepcopy(SUMMARY)
    summary["checks"] += [
        {**summary["checks"][0], "name": f"n{i}", "value": x, "source": "many", "file": "checks/many.json"}
        for i, x in enumerate((10.0, -2.0, 9.0, 1e-3, 100.0))
    ]
    costs = [
        {"job": j, "file": f"{j}.jsonl", "wall_s": 9.5, "cpu_s": c, "max_rss_mb": 10.0}
        for j, c in (("b", 2.0), ("a", 10.0), ("c", 1.5))
    ]
    path = folder / "report" / "index.html"
    path.parent.mkdir()
    path.write_text(render(summary, sorted((folder / "figures").glob("*.png")), costs), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def _column(page: Any, table: str, n: int) -> list[str]:
    return page.eval_on_selector_all(
        f"{table} tbody tr", f"rows => rows.map(r => r.cells[{n}].innerText.trim())"
    )


def test_the_page_opens_alone_and_in_silence(browser: Any, page_file: Path) -> None:
    for size in (LAPTOP, PHONE):
        opened = open_page(browser, page_file, size)
        opened.page.wait_for_load_state("load")
        assert opened.complaints == []
        assert [r for r in opened.requests if not r.startswith(("file:", "data:"))] == []
        widths = opened.page.eval_on_selector_all("figure img", "all => all.map(i => i.naturalWidth)")
        assert len(widths) == 3
        assert min(widths) > 500
        # wide tables scroll within themselves: the page is never wider than the window
        assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # and no text is too small to read
        sizes = opened.page.eval_on_selector_all(
            "p, td, li, figcaption", "all => all.map(e => parseFloat(getComputedStyle(e).fontSize))"
        )
        assert min(sizes) >= 11


def test_tables_sort_by_their_heads(browser: Any, page_file: Path) -> None:
    page = open_page(browser, page_file, LAPTOP).page
    page.click("#cost th:nth-child(3) button")
    assert _column(page, "#cost", 0) == ["c", "b", "a"]
    page.click("#cost th:nth-child(3) button")
    assert _column(page, "#cost", 0) == ["a", "b", "c"]
    page.click("#cost th:nth-child(1) button")
    assert _column(page, "#cost", 0) == ["a", "b", "c"]
    many = "#checks details:last-of-type"
    page.click(f"{many} summary")
    page.click(f"{many} th:nth-child(3) button")
    # a printer's minus sign is a number's sign
    assert _column(page, many, 2) == ["\u22122", "0.001", "9", "10", "100"]
    assert page.get_attribute(f"{many} th:nth-child(3)", "aria-sort") == "ascending"
    page.click("#fit-lcdm th:nth-child(5) button")  # parameters without a published value stay last
    assert _column(page, "#fit-lcdm .wide:first-of-type", 4)[-1] == ""


def test_figures_open_enlarged_and_close(browser: Any, page_file: Path) -> None:
    page = open_page(browser, page_file, LAPTOP).page
    thumbnail = page.eval_on_selector("#figure-traces_lcdm img", "i => i.getBoundingClientRect().width")
    page.click("#figure-traces_lcdm .zoom")
    assert page.is_visible("#viewer")
    assert page.inner_text("#viewer p") == "Figure 2. Chains"
    image = page.eval_on_selector(
        "#viewer img", "i => [i.getBoundingClientRect().width, i.getBoundingClientRect().bottom]"
    )
    assert image[0] > 1.3 * thumbnail
    assert image[1] <= LAPTOP["height"]  # whole in the window ...
    page.click("#viewer img")  # ... and then pixel by pixel
    assert page.eval_on_selector("#viewer img", "i => i.width == i.naturalWidth")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#viewer p") == "Figure 3. Spectra of the maps"
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer")


def test_it_prints_with_everything_unfolded(browser: Any, page_file: Path, tmp_path: Path) -> None:
    opened = open_page(browser, page_file, LAPTOP)
    page = opened.page
    page.emulate_media(media="print")
    assert not page.is_visible("nav")
    page.pdf(path=str(tmp_path / "page.pdf"), prefer_css_page_size=True)
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    assert page.eval_on_selector_all("main details", "all => all.every(d => d.open)")
    assert opened.complaints == []


def test_failures_are_seen_without_a_click(browser: Any, page_file: Path) -> None:
    page = open_page(browser, page_file, LAPTOP).page
    assert "1 of 7 checks FAILED" in page.inner_text("header")
    assert page.is_visible("tr.fail")
    assert not page.is_visible("text=n4")
