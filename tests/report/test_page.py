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
from cmbfit.report.page import read_costs, render

ENTRY = {
    "mean": 0.022361, "std": 0.00015, "q16": 0.02221, "q50": 0.02236, "q84": 0.02251,
    "reference": 0.02236, "reference_std": 0.00015, "pull": 0.0067, "width_ratio": 1.0,
}  # fmt: skip
NOT_PUBLISHED = dict.fromkeys(("reference", "reference_std", "pull", "width_ratio"))
CAMB = {
    "version": "2.0.5", "recombination": "Recfast", "recfast_approximation": "planck",
    "halofit": "mead2016", "bbn_table": "table", "mnu": 0.06, "nnu": 3.044,
}  # fmt: skip
SUMMARY: dict[str, Any] = {
    "fits": {
        "lcdm": {
            "title": "LCDM <script>alert(1)</script>",
            "data": [{"title": "plik & co", "approximation": "two bins"}],
            "reference_source": "Planck 2018 VI",
            "parameters": {"ombh2": ENTRY, "zrei": {**ENTRY, **NOT_PUBLISHED}},
            "chi2": {"plik": 584.23, "total": 584.23},
            "convergence": {
                "ensembles": 2, "walkers": 128, "steps": [2000, 2500], "tau_max": [31.26, 33.0],
                "r_minus_1_max": 0.0021, "effective_samples_min": 5432.1, "seconds": [2.0, 3.0],
            },
            "priors": {"ombh2": {"uniform": [0.019, 0.026]}},
            "reweighted": {
                "n_points": 200, "ess_fraction": 0.9987, "log_weight": {"mean": 0.1, "std": 0.036},
                "shifts": {"ombh2": {"mean": -0.0123, "mean_error": 0.002, "width": 1.0, "width_error": 0.01}},
            },
        }
    },
    "checks": [
        {"name": "good", "value": 0.1, "tolerance": "< 0.3", "pass": True, "comment": "", "source": "chains"},
        {"name": "bad", "value": "nan", "tolerance": "< 0.3", "pass": False, "comment": "", "source": "x"},
    ],
    "provenance": {
        "settings": {"run": {"name": "default & tiny"}}, "created": "2026-01-01", "cmbfit": "0.1.0",
        "git": {"commit": "abc", "dirty": True}, "python": "3.11", "packages": {"numpy": "2.1"},
        "data": [{"name": "f", "description": "d", "bytes": 1, "sha256": "0" * 64, "licence": "l", "citation": ["c"]}],
        "emulator": {
            "settings": {"n_spectra": 9, "trained_on": {"camb": CAMB}},
            "accuracy": {"chi2": {"like": {"median": 0.5, "p95": 2.0, "median_chi2": 900.0}}, "overall": {"tt": [0.001, 0.004, 0.007, 0.02]}},
        },
    },
}  # fmt: skip


class Tags(HTMLParser):
    """Opening and closing tags must match."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        del attrs
        if tag not in ("meta", "img", "br"):
            self.stack.append(tag)

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
    page = render(SUMMARY, [figure], [{"job": "fit", "wall_s": 1.5, "cpu_s": 2.5, "max_rss_mb": 100.0}])
    tags = Tags()
    tags.feed(page)
    assert tags.stack == []
    text = " ".join(text_of(page).split())
    for words in (
        "0.02236 ± 0.00015", "+0.01", "χ²(plik) = 584.23", "31.3, 33.0", "0.0021", "5432", "abc (with uncommitted",
        "two bins", "1 of 2 checks FAILED", "not evidence for any theory of quantum gravity", "fit 1.5 2.5 100",
        "effective fraction 0.9987", "ombh2 -0.012 ± 0.002",
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
    assert "script" not in tags.seen
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "plik &amp; co" in page


def test_failures_come_first_and_are_marked() -> None:
    page = render(SUMMARY, [], [])
    assert page.index(">bad<") < page.index(">good<")
    assert re.search(r'<tr class="fail"><td>FAIL</td><td>bad<', page)
    good = copy.deepcopy(SUMMARY)
    good["checks"] = good["checks"][:1]
    assert "All 1 checks passed" in render(good, [], [])


def test_a_missing_figure_stops_the_page(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="figure is missing"):
        render(SUMMARY, [tmp_path / "maps_V.png"], [])


def test_costs_are_read_and_unmeasured_ones_left_out(tmp_path: Path) -> None:
    (tmp_path / "fits").mkdir()
    rows = {"s": 12.5, "cpu_time": 20.0, "max_rss": 300.0}
    (tmp_path / "fits" / "sample.jsonl").write_text(json.dumps(rows) + "\n")
    (tmp_path / "short.jsonl").write_text(json.dumps({**rows, "max_rss": None}) + "\n")
    (tmp_path / "empty.jsonl").write_text("")
    assert read_costs(tmp_path) == [
        {"job": "fits/sample", "wall_s": 12.5, "cpu_s": 20.0, "max_rss_mb": 300.0}
    ]
