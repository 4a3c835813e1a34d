"""The reviewer's page: one file, nothing hidden, nothing executed."""

from __future__ import annotations

import base64
import copy
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbfit.errors import DataError
from cmbfit.figures.style import new_figure, save_figure
from cmbfit.provenance.graph import Graph, Origin
from cmbfit.report.costs import read_costs
from cmbfit.report.page import render

from .example import SUMMARY


class Tags(HTMLParser):
    """Opening and closing tags must match."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        del attrs
        if tag not in ("meta", "img", "br", "link"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        del attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


@pytest.fixture
def figure(tmp_path: Path) -> Path:
    fig = new_figure(2, 2)
    fig.subplots().plot([0, 1], [0, 1])
    save_figure(fig, tmp_path / "corner_lcdm", {"x": np.array([0, 1])})
    return tmp_path / "corner_lcdm.png"


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


def test_the_page_is_well_formed_and_holds_the_numbers(figure: Path) -> None:
    costs = [{"job": "fit", "file": "fit.jsonl", "wall_s": 1.5, "cpu_s": 2.5, "max_rss_mb": 100.0}]
    page = render(SUMMARY, [figure], costs)
    tags = Tags()
    tags.feed(page)
    assert tags.stack == []
    text = " ".join(text_of(page).split())
    for words in (
        "0.02236 ± 0.00015", "+0.01", "plik & co 613 584.23 0.793", "31.3", "33.0", "0.0021", "5432",
        "abc (with uncommitted", "two bins", "1 of 2 checks FAILED", "fit 1.5 2.5 100", "seed 7", "[0.019, 0.026]",
        "not evidence for any theory of quantum gravity", "effective fraction 0.9987", "ombh2 −0.012 0.002",
        "CAMB 2.0.5 spectra", "Foreman-Mackey",
    ):  # fmt: skip
        assert words in text, words


def test_figures_are_inside_the_page_byte_for_byte(figure: Path) -> None:
    page = render(SUMMARY, [figure], [])
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(data) == figure.read_bytes()
    assert figure.read_bytes().startswith(b"\x89PNG")
    # no address is loaded from elsewhere
    assert not re.search(r'(?:src|href)="https?:', page)


def test_what_the_user_wrote_is_escaped() -> None:
    page = render(SUMMARY, [], [])
    tags = Tags()
    tags.feed(page)
    assert tags.seen.count("script") == 1  # the page's own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "plik &amp; co" in page


HOSTILE = "<img/src=x/onerror=alert(1)>\"'>"


def hostile(value: Any) -> Any:
    """Put markup behind every text of a summary."""
    if isinstance(value, dict):
        return {k: hostile(x) for k, x in value.items()}
    if isinstance(value, list):
        return [hostile(x) for x in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_markup_in_any_text_stays_text() -> None:
    summary = hostile(copy.deepcopy(SUMMARY))
    fit = summary["fits"]["lcdm"]
    # names that users give, in keys: a data set's, and a nuisance parameter's, which is drawn as mathematics
    fit["chi2"][fit["data"][0]["name"]] = fit["chi2"]["plik"]
    for name in (HOSTILE, rf"\text{{{HOSTILE}}}", r"}\href{javascript:alert(1)}{x"):
        fit["parameters"][name] = fit["parameters"]["ombh2"]
        fit["priors"][name] = fit["priors"]["ombh2"]
        fit["reweighted"]["shifts"][name] = fit["reweighted"]["shifts"]["ombh2"]
    page = render(summary, [], [])
    tags = Tags()
    tags.feed(page)
    assert tags.stack == []
    assert "img" not in tags.seen  # the viewer makes its own when the page runs
    assert 'href="javascript' not in page
    assert page.count("&lt;img/src=x/onerror=alert(1)&gt;") > 40


def test_failures_come_first_and_are_marked() -> None:
    page = render(SUMMARY, [], [])
    assert page.index("<td>bad<") < page.index("<td>good<")
    assert re.search(r'<tr class="fail"><td><span class="mark bad">FAIL</span></td><td>bad<', page)
    good = copy.deepcopy(SUMMARY)
    good["checks"] = good["checks"][:1]
    assert "All 1 checks passed" in render(good, [], [])


def test_a_missing_figure_stops_the_page(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="figure is missing"):
        render(SUMMARY, [tmp_path / "maps_V.png"], [])
    (tmp_path / "unheard_of.png").touch()
    with pytest.raises(DataError, match="no caption"):
        render(SUMMARY, [tmp_path / "unheard_of.png"], [])


def test_numbers_link_to_their_product_and_its_log(figure: Path) -> None:
    page = render(SUMMARY, [figure], [])
    assert '<a class="num" href="../chains/lcdm.summary.json">0.02236 ± 0.00015</a>' in page
    assert '<a class="num" href="../checks/chains_lcdm.json">0.1</a>' in page
    # the log is that of the rule whose pattern the product matches
    assert re.search(r'href="../logs/publish_chains/lcdm.log" title="log of the rule publish_chains"', page)
    assert 'href="../logs/plot/corner_lcdm.log"' in page
    assert 'href="../figures/corner_lcdm.csv"' in page


def test_origins_follow_the_rules() -> None:
    rules = {
        "chain": {
            "output": ["c/{fit,a|b}.{n,\\d+}.h5"],
            "log": "l/{fit,a|b}.{n,\\d+}.log",
            "benchmark": None,
        },
        "folder": {"output": ["getdist/{fit,[a-z]+}"], "log": None, "benchmark": "b/{fit,[a-z]+}.jsonl"},
        "twice": {"output": ["t/{x}/{x}.txt"], "log": "l/{x}.log", "benchmark": None},
    }
    graph = Graph(rules)
    assert graph.origin("c/a.12.h5") == Origin("chain", "l/a.12.log", None)
    assert graph.origin("c/a.12.h5.json") == Origin("chain", "l/a.12.log", None)  # a product's record
    assert graph.origin("getdist/x/deep/file.txt") == Origin("folder", None, "b/x.jsonl")
    assert graph.origin("t/y/y.txt") == Origin("twice", "l/y.log", None)
    assert graph.origin("c/z.12.h5") is None
    assert graph.origin("t/y/z.txt") is None
    # of another configuration: a fit that is gone, in a folder too; not what no rule makes
    for name, gone in (("c/z.12.h5", True), ("c/z.12.h5.json", True), ("getdist/Z/deep/file.txt", True),
                       ("c/a.12.h5", False), ("c/notes.txt", False), ("README.md", False)):  # fmt: skip
        assert graph.left_over(name) == gone, name


def test_costs_are_read_and_unmeasured_ones_left_out(tmp_path: Path) -> None:
    (tmp_path / "fits").mkdir()
    rows = {"s": 12.5, "cpu_time": 20.0, "max_rss": 300.0}
    (tmp_path / "fits" / "sample.jsonl").write_text(json.dumps(rows) + "\n")
    (tmp_path / "short.jsonl").write_text(json.dumps({**rows, "max_rss": None}) + "\n")
    (tmp_path / "empty.jsonl").write_text("")
    ended = (tmp_path / "fits" / "sample.jsonl").stat().st_mtime
    row = {"wall_s": 12.5, "cpu_s": 20.0, "max_rss_mb": 300.0, "ended": ended}
    assert read_costs(tmp_path) == [{"job": "fits/sample", "file": "fits/sample.jsonl", **row}]
