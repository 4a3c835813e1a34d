"""A figure of the report is three files: what draws it, its rule, its caption and place.

Figures are no plug-ins, so that this change edits a checkout: a copy, in which Snakemake then draws the figure for a fit.
Counted are all files that were written or edited. Drawing and stage are one file here; where the drawing is to be used
elsewhere too (`cmbfit fit` draws some), it goes to cmbfit/figures as a fourth.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import cmbfit

CHECKOUT = Path(cmbfit.__file__).parent.parent
STAGE = '''from __future__ import annotations

from pathlib import Path

import numpy as np

from cmbfit.figures.style import new_figure, save_figure, style
from cmbfit.fit import Fit


def plot_scales(*, fit: Path, output: Path) -> None:
    """Plot the scales at which a fit's walkers start, in units of their centres.

    Parameters
    ----------
    fit
        JSON: the fit, complete.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    start = Fit.read(fit).start
    table = {"parameter": np.array(list(start)), "scale": np.array([s / c for c, s in start.values()])}
    with style():
        fig = new_figure(4.0, 3.0)
        fig.subplots().plot(table["scale"], "o")
    save_figure(fig, output.with_suffix(""), table)
'''
RULE = """

rule plot_scales:
    output:
        **figure("scales_{fit}", "scales", "Fits", "starting scales"),
    log:
        "<logs>/plot_scales/{fit}.log",
    conda:
        ENVIRONMENT
    params:
        fit=lambda wc: FITS[wc.fit],
        code=code("plot_scales"),
    shell:
        "python -m pipeline plot_scales --fit={params.fit:q} --output={output.png:q} > {log:q} 2>&1"
"""
CAPTION = "Starting scales: a_b and *c* are no markup."
LOOK = """
import json
from cmbfit.report.figures import read_figure
from cmbfit.report.sections import SECTIONS
shown = read_figure("results/mine/figures/scales_mine.png")
places = [s.title for s in SECTIONS if shown.kind in s.figures]
print(json.dumps([shown.caption, shown.subject, places]))
"""


def contents(root: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    skip = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for package in ("cmbfit", "pipeline"):
        shutil.copytree(CHECKOUT / package, root / package, ignore=skip)
    for file in ("Snakefile", "environment.yml", "data/registry.yaml", "pyproject.toml"):
        (root / file).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / file, root / file)
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.workflow
@pytest.mark.slow
def test_three_files_add_a_figure_to_the_report(checkout: Path, tmp_path: Path) -> None:
    before = contents(checkout)
    (checkout / "pipeline/plot_scales.py").write_text(STAGE, encoding="utf-8")
    with (checkout / "pipeline/rules/figures.smk").open("a", encoding="utf-8") as f:
        f.write(RULE)
    known = checkout / "cmbfit/report/figures.py"
    edit(known, "CAPTIONS = {\n", f'CAPTIONS = {{\n    "scales": "{CAPTION}",\n')
    edit(known, '"fit": (\n        "corner",\n', '"fit": (\n        "corner",\n        "scales",\n')
    after = contents(checkout)
    changed = [p.relative_to(checkout).as_posix() for p in after if before.get(p) != after[p]]
    assert len(changed) == 3, changed

    work = tmp_path / "work"
    work.mkdir()
    config = {
        "run": {"name": "mine", "seed": 1},
        "device": "cpu",
        "fits": {"mine": {"data": ["planck2018_lowl_ee"]}},
    }
    (work / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def call(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=work, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    figure = "results/mine/figures/scales_mine.png"
    call(
        *("-m", "snakemake", "--snakefile", str(checkout / "Snakefile"), "--cores", "1"),
        *("--configfile", "run.yaml", "--", figure),
    )
    assert (work / figure).is_file()
    assert (work / figure).with_suffix(".csv").read_text(encoding="utf-8").startswith("parameter,scale")
    assert json.loads(call("-c", LOOK)) == [CAPTION, "mine", ["Fit"]]
    # what the report of the run is made of
    (page,) = (work / "results/mine/config").glob("figures.*.json")
    assert figure in json.loads(page.read_text(encoding="utf-8"))
    # Snakemake's own report has the same caption, its markup escaped
    (text,) = (work / "results/mine/config").glob("caption.scales.*.rst")
    assert text.read_text(encoding="utf-8") == r"Starting scales: a\_b and \*c\* are no markup."
