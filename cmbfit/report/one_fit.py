"""Figures, summary, page and citations of one fit that ran without the workflow."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import torch

from cmbfit.blinded import is_blinded
from cmbfit.data import load_registry
from cmbfit.figures.chains import plot_traces, trace_table
from cmbfit.figures.distances import distance_table, drawable, plot_distances
from cmbfit.figures.foregrounds import (
    amplitude_table,
    component_tables,
    plot_amplitudes,
    plot_components,
)
from cmbfit.figures.posterior import marginal_table, plot_corner
from cmbfit.figures.published import published_gaussian
from cmbfit.figures.residuals import bandpower_table, plot_residuals
from cmbfit.figures.style import save_figure
from cmbfit.fit.description import Fit
from cmbfit.fit.run import Run
from cmbfit.inference.products import Samples, read_chain, read_samples
from cmbfit.inference.samplers import settings_of
from cmbfit.io import provenance, read_json, sha256_json, write_json, write_text
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.selection import select
from cmbfit.provenance.citations import bibtex
from cmbfit.report.checks import read_checks
from cmbfit.report.latex import latex_table
from cmbfit.report.page import render
from cmbfit.theory.emulator.manifest import bundle_folder
from cmbfit.theory.primordial.model import PrimordialModel
from cmbfit.theory.primordial_theory import PrimordialTheory

if TYPE_CHECKING:
    from cmbfit.likelihood.posterior import Posterior

_DRAWS = 2000
"""Points of the chain in the band of P(k)."""


def draw_fit(fit: Fit, posterior: Posterior, chains: Sequence[Path], folder: Path) -> list[Path]:
    """Draw a fit's figures as PNG, PDF and CSV.

    Parameters
    ----------
    fit : Fit
    posterior : Posterior
        Of the fit.
    chains : sequence of path
        Its ensembles, beside which ``NAME.samples.h5`` and ``NAME.summary.json`` lie.
    folder : path
        Of the fit's products.

    Returns
    -------
    list of path
        The PNG files.
    """
    mpl.use("Agg")
    root, figures = folder / "chains" / fit.name, folder / "figures"
    read = [read_chain(path)[0] for path in chains]
    stems = {kind: figures / f"{kind}_{fit.name}" for kind in ("corner", "residuals", "traces")}
    multiple = getattr(settings_of(fit.sampler), "tau_multiple", None)
    save_figure(plot_traces(read, multiple), stems["traces"], trace_table(read))
    samples, summary = read_samples(f"{root}.samples.h5"), read_json(f"{root}.summary.json")
    label, reference = (
        (fit.reference.label, fit.reference.parameters) if fit.reference else ("", dict[str, Any]())
    )
    shown = [p for p in fit.show if p in samples.names]
    joint = published_gaussian(samples, fit.reference, shown)
    corner = plot_corner(samples, shown, reference, fit.title, label, joint)
    save_figure(corner, stems["corner"], marginal_table(samples, shown, reference))
    point = {n: torch.tensor([x], dtype=torch.float64) for n, x in summary["best_fit"]["point"].items()}
    cpu = posterior.to("cpu")
    gaussian = [like for like in cpu.likelihoods if isinstance(like, GaussianBandpowers)]
    seen = [
        like for like in cpu.likelihoods if isinstance(like, GaussianBandpowers | MultiFrequencyBandpowers)
    ]
    measured = drawable(cpu.likelihoods)
    with torch.no_grad():
        spectra = cpu.theory.spectra(torch.stack([point[n] for n in cpu.theory.parameters], dim=1))
    if measured:
        stems["distances"] = figures / f"distances_{fit.name}"
        table = distance_table(measured, spectra.parameters)
        save_figure(plot_distances(measured, table, summary["chi2"]), stems["distances"], table)
    if seen:
        table = bandpower_table(seen, spectra, point)
        titles = {d["name"]: d["title"] for d in summary["data"]}
        save_figure(plot_residuals(table, spectra, summary["chi2"], titles), stems["residuals"], table)
    else:
        del stems["residuals"]
    if several := [like for like in seen if isinstance(like, MultiFrequencyBandpowers)]:
        components, amplitudes = (
            component_tables(several, spectra, point),
            amplitude_table(several, samples),
        )
        stems |= {kind: figures / f"{kind}_{fit.name}" for kind in ("foregrounds", "amplitudes")}
        save_figure(plot_components(components), stems["foregrounds"], components)
        save_figure(plot_amplitudes(amplitudes), stems["amplitudes"], amplitudes)
    theory = getattr(cpu.theory, "theory", cpu.theory)  # of a continued one, the one that computes
    if isinstance(theory, PrimordialTheory):
        stems["primordial"] = figures / f"primordial_{fit.name}"
        _draw_primordial(fit, theory, gaussian, samples, point, stems["primordial"])
        if theory.model.trained is not None:
            stems["learned"] = figures / f"learned_{fit.name}"
            _draw_learned(fit, theory.model, samples, stems["learned"])
        if theory.model.history is not None:
            stems["bounce"] = figures / f"bounce_{fit.name}"
            _draw_bounce(fit, theory.model.history, theory.model.parameter_names, point, stems["bounce"])
    return [stem.with_name(stem.name + ".png") for stem in stems.values()]


def _draw_primordial(
    fit: Fit,
    theory: PrimordialTheory,
    likelihoods: Sequence[GaussianBandpowers],
    samples: Samples,
    point: Mapping[str, torch.Tensor],
    stem: Path,
) -> None:
    """Draw the band of P(k) and its imprint."""
    from cmbfit.figures.reconstruction import plot_reconstruction, reconstruction  # noqa: PLC0415

    theta = samples.joined[:, [samples.names.index(p) for p in theory.parameters]]
    theta = theta[np.linspace(0, len(theta) - 1, min(_DRAWS, len(theta))).astype(int)]
    best = np.array([point[p].item() for p in theory.parameters])
    table = reconstruction(theory, theta, best, likelihoods, point)
    save_figure(plot_reconstruction(table, fit.title), stem, table)


def _draw_learned(fit: Fit, model: PrimordialModel, samples: Samples, stem: Path) -> None:
    """Draw what a network learned beside what is evolved."""
    from cmbfit.figures import learned  # noqa: PLC0415

    found = learned.learned_and_evolved(model, learned.chain_points(model, samples.names, samples.joined))
    save_figure(learned.plot_learned(found, fit.title), stem, learned.learned_table(found))


def _draw_bounce(
    fit: Fit,
    history: Callable[[Mapping[str, float]], Any],
    model_parameters: Sequence[str],
    point: Mapping[str, torch.Tensor],
    stem: Path,
) -> None:
    """Draw the history behind the best fit of a model with a bounce."""
    from cmbfit.figures.bounce import bounce_table, plot_bounce  # noqa: PLC0415

    found = history({p: point[p].item() for p in model_parameters})
    save_figure(plot_bounce(found, fit.title), stem, bounce_table(found))


def report_fit(run: Run, fit: Fit, summary: Mapping[str, Any], figures: Sequence[Path], folder: Path) -> None:
    """Write summary.json, report/index.html and citations.bib of a fit.

    Parameters
    ----------
    run : Run
        Whose configuration the fit is of.
    fit : Fit
    summary : mapping
        From :func:`cmbfit.inference.publish.publish_fit`.
    figures : sequence of path
        From :func:`draw_fit`.
    folder : path
        With ``checks.json``.
    """
    checks = read_checks([folder / "checks.json"])
    for check in checks:
        check["file"] = "checks.json"
    groups = {s.registry_group for s in select(fit.data)} - {""}
    entries = [e for g in sorted(groups) for e in load_registry().select(g).values()]
    manifest = read_json(bundle_folder(fit.theory["emulator"]) / "manifest.json")
    record = provenance(
        inputs=[folder / "chains" / f"{fit.name}.summary.json", folder / "checks.json"],
        relative_to=folder,
        settings=run.config,
        config_sha256=sha256_json(run.config),
        data=[
            {
                "name": e.name,
                "sha256": e.sha256,
                "bytes": e.size,
                "licence": e.licence,
                "citation": list(e.citation),
                "description": e.description,
            }
            for e in entries
        ],
        emulator={k: manifest[k] for k in ("arrays_sha256", "box", "lmax", "settings", "accuracy")},
        machine={"system": platform.platform(), "cores": os.cpu_count()},
    )
    whole: dict[str, Any] = {
        "fits": {fit.name: dict(summary)},
        "checks": checks,
        "products": {},
        "rules": {},
        "provenance": record,
        **({} if run.blinding is None else {"blinding": dict(run.blinding)}),
    }
    write_json(folder / "summary.json", whole)
    write_text(folder / "report" / "index.html", render(whole, figures, []))
    write_text(folder / "report" / "parameters.tex", latex_table(whole["fits"], blinded=is_blinded(whole)))
    write_text(folder / "citations.bib", bibtex(whole))
