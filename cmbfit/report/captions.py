"""What a figure's caption says of this run: computed from its configuration and its products, never assumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cmbfit.inference.goodness import excess
from cmbfit.report.figures import PageFigure

if TYPE_CHECKING:
    from cmbfit.report.run import Run


def caption_of(figure: PageFigure, run: Run) -> str:
    """Return the caption of a figure on a run's page: that of its kind, then what is true of this run."""
    more = _OF_THE_RUN.get(figure.kind)
    said = more(run, figure.subject) if more else ""
    return f"{figure.caption} {said}".strip()


def _settings(run: Run, *keys: str) -> Any:
    """Return a value of the configuration, None where the run has none."""
    value: Any = run.provenance["settings"]
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _maps(run: Run, _: str) -> str:
    bands = _settings(run, "maps", "bands")
    if not isinstance(bands, Mapping):
        return ""
    used = _settings(run, "spectra", "pair") or list(bands)
    beams = [f"{b} {bands[b]['fwhm_arcmin']:g}′" for b in used if "fwhm_arcmin" in bands.get(b, {})]
    return f"Beams (FWHM): {', '.join(beams)}." if beams else ""


def _mask(run: Run, _: str) -> str:
    apodised = _settings(run, "maps", "apodisation")
    if not apodised:
        return ""
    if not apodised.get("degrees"):
        return "It is not apodised."
    return f"Apodised over {apodised['degrees']:g}° ({apodised.get('type')})."


def _spectra(run: Run, _: str) -> str:
    signal, pair = _settings(run, "spectra", "signal"), _settings(run, "spectra", "pair")
    words = f"Here {' × '.join(pair)}. " if pair else ""
    return words + (
        f"Compared with theory: {', '.join(x.upper() for x in signal)}; the others with zero."
        if signal
        else ""
    )


def _residuals(run: Run, subject: str) -> str:
    fit = run.fits.get(subject)
    if fit is None:
        return ""
    said = []
    for data in fit["data"]:
        chi2 = fit["chi2"][data["name"]]
        n = data.get("n_data")
        said.append(
            f"{data['title']}: χ² = {chi2:.1f}"
            + (f" for {n}, PTE {excess(chi2, n):.2f}" if n else " (not Gaussian)")
        )
    return "; ".join(said) + "."


def _corner(run: Run, subject: str) -> str:
    fit = run.fits.get(subject, {})
    source, joint = fit.get("reference_source"), fit.get("reference_correlations")
    if not source:
        return "Nothing published is drawn."
    how = (
        f"as a Gaussian of the published means and errors, with the correlations of {joint}; derived parameters correlate "
        "with the others as in this chain"
        if joint
        else "as Gaussians of the published means and errors of single parameters; their correlations are not known here"
    )
    return f"Published ({source}) {how}."


def _traces(run: Run, subject: str) -> str:
    fit = run.fits.get(subject)
    if fit is None:
        return ""
    c = fit["convergence"]
    longest = ", ".join(f"{tau:.0f}" for tau in c["tau_max"])
    return f"Here {', '.join(map(str, c['steps']))} steps with a longest autocorrelation time of {longest} steps."


def _reweight(run: Run, subject: str) -> str:
    record = run.fits.get(subject, {}).get("reweighted")
    return (
        f"Here {record['n_points']} points; ln w scatters by {record['log_weight']['std']:.4f}."
        if record
        else ""
    )


def _predictive(run: Run, subject: str) -> str:
    for fit in run.products.get("predictive", {}).get("fits", ()):
        if fit["fit"] == subject and fit["tests"]:
            flagged = [f"{t['data_set']} {t['part']}" for t in fit["tests"] if t["flagged"]]
            draws = fit["tests"][0].get("draws")
            return (f"{draws} draws. " if draws else "") + (
                f"Flagged: {', '.join(flagged)}." if flagged else "None is flagged here."
            )
    return ""


def _models(run: Run, _: str) -> str:
    tables = run.products.get("models", {}).get("tables", ())
    n = sum(len(table["models"]) - 1 for table in tables)
    return (
        f"{n} {'model' if n == 1 else 'models'} against {' and '.join(t['models'][0]['title'] for t in tables)}."
        if n
        else ""
    )


_OF_THE_RUN: Mapping[str, Callable[[Run, str], str]] = {
    "maps": _maps,
    "mask": _mask,
    "spectra": _spectra,
    "residuals": _residuals,
    "corner": _corner,
    "traces": _traces,
    "reweight": _reweight,
    "predictive": _predictive,
    "models": _models,
}
