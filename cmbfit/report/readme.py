"""The README of a run's folder: what each file is, by what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmbfit.blinded import MARK, is_blinded
from cmbfit.errors import one_line
from cmbfit.io import write_text
from cmbfit.report.finding import run_title

_NAME = r"([^/]+)"
FILES: tuple[tuple[str, str], ...] = (
    (r"summary\.json", "all numbers of the report: fits, checks, products, provenance"),
    (MARK, "says that the results are blinded"),
    (r"unblinding\.json", "when, why and by which criteria the run was unblinded, and the secret"),
    (r"citations\.bib", "the papers that this run owes, BibTeX"),
    (r"ro-crate-metadata\.json", "the record of the run as a Workflow Run RO-Crate"),
    (r"report/index\.html", "the report: open it in a browser, no network needed"),
    (r"report/parameters\.tex", "the table of parameters, LaTeX"),
    (r"report/snakemake\.html", "Snakemake's own report: rules, run times, figures"),
    (rf"maps/{_NAME}\.fits", "map or mask {0}, HEALPix"),
    (rf"spectra/{_NAME}\.sacc\.fits", "bandpowers {0} with windows and covariance, SACC"),
    (rf"spectra/{_NAME}\.leakage\.fits", "leakage between spectra in the bandpowers {0}"),
    (r"spectra/lowl\.json", "single low multipoles from the pixel likelihood"),
    (r"theory/fiducial\.txt", "the fiducial model's D_l in uK^2, columns ell tt te ee bb pp"),
    (
        rf"theory/emulator_errors_{_NAME}\.json",
        "error of the emulator by multipole over the posterior of {0}",
    ),
    (rf"theory/exact/{_NAME}\.(?:part\d+|further)\.npz", "exact CAMB spectra at points of the chain {0}"),
    (
        rf"theory/exact/{_NAME}\.decision\.json",
        "how many exact spectra decided the check of {0}, and by what margins",
    ),
    (rf"chains/{_NAME}\.ensemble\d+\.h5", "one independent chain of {0}, all steps (HDF5)"),
    (
        rf"chains/{_NAME}\.samples\.h5",
        "the joined chain of {0} after burn-in, with derived parameters (HDF5)",
    ),
    (rf"chains/{_NAME}\.nc", "the chain of {0} for ArviZ (netCDF)"),
    (rf"chains/{_NAME}\.summary\.json", "means, errors, best fit, chi2 and convergence of {0}"),
    (rf"chains/{_NAME}\.reweight\.json", "what exact theory would change in {0}"),
    (rf"chains/getdist/{_NAME}\.json", "provenance of the GetDist files of {0}"),
    (rf"chains/getdist/{_NAME}/.*", "the chain {0} for GetDist and Cobaya"),
    (rf"evidence/{_NAME}\.json", "ln Z of {0}"),
    (r"comparison/models\.json", "models of the same data against each other"),
    (r"comparison/predictive\.json", "posterior predictive checks of all fits"),
    (rf"comparison/subsets_{_NAME}\.json", "parts of the data against the whole, {0}"),
    (r"comparison/subsets\.json", "parts of the data of all fits"),
    (rf"comparison/predictive_{_NAME}\.json", "posterior predictive checks of {0}"),
    (rf"checks/{_NAME}\.json", "checks of {0}: value, tolerance, verdict"),
    (r"checks/PASSED", "written when every check passed"),
    (rf"figures/{_NAME}\.(?:png|pdf)", "figure {0}"),
    (rf"figures/{_NAME}\.csv", "the numbers plotted in the figure {0}"),
)
"""Pattern of a path in the run's folder to what the file is; what the pattern's group found stands in the braces."""

FOLDERS = {
    "config": "parts of the configuration as the stages read them",
    "data": "copies of the registered input files",
    "logs": "what each job said, by rule",
    "benchmarks": "time and memory of each job, JSON lines",
    "checkpoints": "unfinished work, from which a stopped run goes on",
    "workflow": "the Snakefile, configuration and code hashes that made this",
}
"""Folders described as a whole."""


def describe(path: str) -> str:
    """Return what a file of a run's folder is; empty where nobody said.

    Examples
    --------
    >>> describe("chains/lcdm.samples.h5")
    'the joined chain of lcdm after burn-in, with derived parameters (HDF5)'
    >>> describe("chains/lcdm.nc.json")
    'provenance of lcdm.nc'
    """
    for pattern, words in FILES:
        if found := re.fullmatch(pattern, path):
            return words.format(*found.groups())
    beside = path.removesuffix(".json")
    if beside != path and any(re.fullmatch(pattern, beside) for pattern, _ in FILES):
        return f"provenance of {Path(beside).name}"
    if path.endswith(".record.json"):
        return f"provenance of {Path(path).name.removesuffix('.record.json')}.json"
    return ""


def readme(folder: Path, run: Mapping[str, Any]) -> str:
    """Return the README of a run's folder (Markdown)."""
    name = str(run["provenance"]["settings"]["run"]["name"])
    lines = [f"# {one_line(run_title(run['fits'], name))}", "", "Start with `report/index.html`.", ""]
    if is_blinded(run):
        lines[2:2] = ["**BLINDED**: parameters are shifted by a hidden amount.", ""]
    paths = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    for place in dict.fromkeys(p.rpartition("/")[0].split("/")[0] for p in paths):
        own = [
            p
            for p in paths
            if p.rpartition("/")[0].split("/")[0] == place and not Path(p).name.startswith(".")
        ]
        lines.append(f"## {place}/" if place else "## Here")
        if place in FOLDERS:
            lines += ["", f"{FOLDERS[place][0].upper()}{FOLDERS[place][1:]}.", ""]
            continue
        said: dict[str, list[str]] = {}
        for path in own:
            if path not in ("README.md",):
                said.setdefault(describe(path), []).append(path.removeprefix(f"{place}/"))
        lines.append("")
        for words, files in said.items():
            shown = ", ".join(f"`{one_line(f)}`" for f in files[:4]) + (
                f" and {len(files) - 4} more" if len(files) > 4 else ""
            )
            lines.append(f"- {shown}" + (f": {words}" if words else ""))
        lines.append("")
    return "\n".join(lines)


def write_readme(folder: str | Path, run: Mapping[str, Any]) -> None:
    """Write ``README.md`` into a run's folder.

    Parameters
    ----------
    folder : path
        ``results/<run>``.
    run : mapping
        Its summary.json.
    """
    write_text(Path(folder) / "README.md", readme(Path(folder), run))
