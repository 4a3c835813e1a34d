"""The page before the judges of others: html-validate for its markup, axe for who cannot see or use a mouse."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest

from cmbfit.figures.style import new_figure, save_figure
from cmbfit.report.page import render

from .browser import LAPTOP, PHONE, chromium
from .example import SUMMARY


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both, from their registry."""
    if which("npm") is None:
        pytest.skip("no npm on this machine")
    folder = tmp_path_factory.mktemp("tools")
    wanted = ("html-validate@10", "axe-core@4")
    subprocess.run(
        ["npm", "install", "--silent", "--prefix", folder, *wanted], check=True, timeout=300, cwd=folder
    )
    return folder / "node_modules"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a figure that has the name of a section."""
    folder = tmp_path_factory.mktemp("run")
    for stem in ("corner_lcdm", "models"):
        fig = new_figure(4, 3)
        fig.subplots().plot(np.arange(5))
        save_figure(fig, folder / "figures" / stem, {"x": np.arange(5)})
    path = folder / "report" / "index.html"
    path.parent.mkdir()
    path.write_text(render(SUMMARY, sorted((folder / "figures").glob("*.png")), []), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.network
def test_html_validate_finds_nothing(tools: Path, page_file: Path) -> None:
    """Its recommended rules."""
    command = [tools / ".bin" / "html-validate", "--preset", "recommended", page_file]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout[-3000:]


@pytest.mark.slow
@pytest.mark.network
def test_axe_finds_nothing(tools: Path, page_file: Path) -> None:
    """All of its rules, at laptop and phone width."""
    with chromium() as browser:
        for size in (LAPTOP, PHONE):
            # the page forbids strangers' scripts
            context: Any = browser.new_context(bypass_csp=True, viewport=size)
            page = context.new_page()
            page.goto(page_file.as_uri())
            page.add_script_tag(path=tools / "axe-core" / "axe.min.js")
            found = page.evaluate("axe.run()")["violations"]
            assert [(x["id"], x["nodes"][0]["html"][:200]) for x in found] == []
            context.close()
