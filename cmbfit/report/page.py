"""The reviewer's page: parameters against published values, checks, figures, data, cost; one file."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from cmbfit.errors import DataError

_CAPTIONS = {
    "maps": "Stokes maps in Galactic coordinates (Mollweide), monopole and dipole removed; blank: masked. "
    "Look for: the same CMB in I of both bands; Q and U of WMAP are noise and, in W, large-scale residuals.",
    "mask": "Apodised mask: weight of each pixel.",
    "spectra": "Cross-spectra of the two bands with the fiducial model. TT must follow the curve; EB and TB are nulls, "
    "and so are EE and BB where noise dominates. Maps are not foreground-cleaned.",
    "lowl": "Temperature power of single low multipoles by the pixel likelihood of the WMAP 7-year V map (V-W, csc|b|, "
    "monopole and dipole marginalised). Points must scatter about the line as their errors say.",
    "lowl_maps": "The averaged V map as used, what the fitted templates take off, and what is left: look for a Galactic "
    "pattern near the mask in the right panel.",
    "nulls": "Probability to exceed the chi2 of every null and consistency test, in order: points must lie along the "
    "diagonal.",
    "emulator": "Error of the emulator against CAMB in units of cosmic variance (full sky, per multipole).",
    "reweight": "What exact theory would change: shift of each mean, in sigma, and of each width, from CAMB spectra at "
    "points of the chain; grey: the mark. Right: ln of the exact over the emulated likelihood at these points.",
    "residuals": "Bandpowers of the fitted data with the best fit; residuals must scatter like unit normals.",
    "corner": "Marginal posteriors (68% and 95%); dashed: published means and widths.",
    "traces": "Mean and 68% band of the walkers by step, and the longest autocorrelation time against chain length.",
}


def _significant(value: float, error: float) -> str:
    """Format a value to two digits of its error."""
    if error <= 0:
        return f"{value:.6g}"
    digits = max(0, 1 - int(f"{error:e}".split("e")[1]))
    return f"{value:.{digits}f}"


def read_costs(folder: str | Path) -> list[dict[str, Any]]:
    """Return one row per job from Snakemake's benchmark files (JSON lines)."""
    rows = []
    for path in sorted(Path(folder).rglob("*.jsonl")):
        try:
            record = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
            rows.append(
                {
                    "job": str(path.relative_to(folder).with_suffix("")),
                    "wall_s": float(record["s"]),
                    "cpu_s": float(record["cpu_time"]),
                    "max_rss_mb": float(record["max_rss"]),
                }
            )
        except (IndexError, KeyError, ValueError, TypeError):
            continue  # a cost that Snakemake could not measure (jobs below its sampling interval) is no error
    return rows


def _figure(path: str | Path) -> dict[str, str]:
    path = Path(path)
    kind = path.stem if path.stem in _CAPTIONS else path.stem.split("_")[0]
    if not path.is_file():
        raise DataError(f"{path}: figure is missing")
    data = base64.b64encode(path.read_bytes()).decode()
    return {
        "stem": path.stem,
        "caption": _CAPTIONS[kind],
        "data": data,
        "csv": f"../figures/{path.stem}.csv",
        "pdf": f"../figures/{path.stem}.pdf",
    }


def render(
    summary: Mapping[str, Any], figures: Sequence[str | Path], costs: Sequence[Mapping[str, Any]]
) -> str:
    """Return the page as HTML text with all figures inside.

    Parameters
    ----------
    summary : mapping
        The run's summary.json.
    figures : sequence of paths
        PNG files, in the order of the page.
    costs : sequence of mapping
        From :func:`read_costs`.
    """
    template = resources.files("cmbfit.report").joinpath("page.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.globals["significant"] = _significant
    failed = [c for c in summary["checks"] if not c["pass"]]
    return environment.from_string(template).render(
        fits=summary["fits"],
        checks=sorted(summary["checks"], key=lambda c: c["pass"]),  # failures first
        n_failed=len(failed),
        provenance=summary["provenance"],
        figures=[_figure(path) for path in figures],
        costs=costs,
        config=json.dumps(summary["provenance"]["settings"], indent=2),
    )
