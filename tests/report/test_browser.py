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
from cmbfit.theory.parameters import DERIVED, LCDM

from .browser import LAPTOP, PHONE, chromium, open_page
from .example import SUMMARY
from .test_models_section import PREDICTIVE, TABLE, TENSION


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    for stem in ("corner_lcdm", "traces_lcdm", "spectra"):
        fig = new_figure(8, 5)
        fig.subplots().plot(np.arange(50) ** 2)
        save_figure(fig, folder / "figures" / stem, {"x": np.arange(50)})
    summary: dict[str, Any] = copy.deepcopy(SUMMARY)
    fit = summary["fits"]["lcdm"]
    names = [*LCDM, *DERIVED, "A_planck"]
    fit["parameters"] = dict.fromkeys(names, fit["parameters"]["ombh2"])
    fit["correlations"] = {"names": names, "matrix": np.full((len(names), len(names)), -0.73).tolist()}
    remarks = [
        "the bispectrum excludes more of it than the power spectrum does, by a limit that stands elsewhere "
        * 3
    ]
    models = [{**m, "remarks": remarks, "published": "nothing of this width " * 6} for m in TABLE["models"]]
    summary["products"] = {
        "models": {"tables": [{**TABLE, "models": models}]}, "predictive": {"fits": [PREDICTIVE]}, "tension": {"pairs": {"x": TENSION}}
    }  # fmt: skip
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


WIDE = {"width": 1400, "height": 900}
PAPER = {"width": 695, "height": 1000}  # A4 less its margins, in CSS pixels
_BEYOND = """() => {
  const out = [], right = document.documentElement.clientWidth + 1;
  for (const e of document.querySelectorAll("body *")) {
    if (!e.checkVisibility() || e.closest("dialog, math, svg")) continue;
    let box = e.closest(".wide, pre");
    if (box && box !== e && getComputedStyle(box).overflowX !== "visible") continue;  // scrolls within itself
    const r = e.getBoundingClientRect();
    if (r.right > right || r.left < -1) out.push(e.tagName + "." + e.className + " " + e.textContent.slice(0, 40).trim());
  }
  return out;
}"""
_CONTRAST = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((s, x, i) => s + x * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    let colour = [255, 255, 255], layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    for (const [r, g, b, a = 1] of layers.reverse()) colour = colour.map((x, i) => a * [r, g, b][i] + (1 - a) * x);
    return colour;
  };
  const out = [];
  for (const e of document.querySelectorAll("body *")) {
    if (!e.checkVisibility() || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(e), [a, b] = [light(parse(style.color)), light(behind(e))].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) out.push(e.tagName + " " + e.textContent.slice(0, 30) + " " + style.color);
  }
  return out;
}"""


@pytest.mark.parametrize("size", [WIDE, {"width": 820, "height": 1100}, PHONE], ids=["1400", "820", "390"])
def test_nothing_reaches_beyond_the_window(browser: Any, page_file: Path, size: dict[str, int]) -> None:
    page = open_page(browser, page_file, size).page
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate(_BEYOND) == []


def test_nothing_is_cut_on_paper(browser: Any, page_file: Path) -> None:
    """Where nothing scrolls: every table, remark and figure lies within the sheet."""
    page = open_page(browser, page_file, PAPER).page
    page.emulate_media(media="print")
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate(_BEYOND) == []
    assert "the bispectrum excludes more of it" in page.inner_text("#models")


def test_text_is_seen_against_what_lies_behind_it(browser: Any, page_file: Path) -> None:
    """WCAG 2.1 AA, success criterion 1.4.3: 4.5 to 1, of large text 3 to 1."""
    page = open_page(browser, page_file, LAPTOP).page
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate(_CONTRAST) == []


def test_every_table_is_reached_by_keyboard(browser: Any, page_file: Path) -> None:
    page = open_page(browser, page_file, PHONE).page
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    boxes = "[...document.querySelectorAll('.wide, main pre')].filter((e) => e.checkVisibility())"
    wanted = page.evaluate(f"{boxes}.length")
    assert wanted > 10
    assert page.evaluate(f"{boxes}.every((e) => e.tabIndex === 0)")
    assert page.evaluate(
        f"{boxes}.filter((e) => e.matches('.wide')).every((e) => e.getAttribute('aria-label') !== 'table')"
    )
    # by the key itself
    page.evaluate(f"{boxes}[1].previousElementSibling?.scrollIntoView()")
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        if name := page.evaluate(
            "document.activeElement.matches('.wide') && document.activeElement.getAttribute('aria-label')"
        ):
            reached.add(name)
    assert len(reached) > 3


def test_what_a_paper_wants_is_copied(browser: Any, page_file: Path) -> None:
    page = open_page(browser, page_file, LAPTOP).page
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert r"\begin{tabular}" in page.inner_text("#latex-lcdm")
    page.click("#fit-lcdm .copy")
    page.wait_for_function("document.querySelector('#fit-lcdm .copy').textContent !== 'Copy'")
    assert "Copied" in page.inner_text("#fit-lcdm .copy") or "keyboard" in page.inner_text("#fit-lcdm .copy")
