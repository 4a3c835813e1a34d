from __future__ import annotations

from pathlib import Path

from cmbfit.inference.products import read_chain
from cmbfit.inference.publish import publish_fit
from cmbfit.io import publish_record
from cmbfit.likelihood.build import posterior_from_config
from cmbfit.likelihood.compiled import compile_if_possible
from cmbfit.report.checks import write_checks
from cmbfit.report.fit_checks import fit_checks
from cmbfit.theory.select import theory_from_config
from pipeline.read import read_fit


def publish_chains(
    *,
    fit: Path,
    emulator: Path,
    chains: list[Path],
    samples: Path,
    getdist_root: Path,
    arviz: Path,
    summary: Path,
    checks: Path,
    transfer: Path | None = None,
) -> None:
    """Join a fit's ensembles: samples with derived parameters, GetDist and ArviZ files, summary, checks.

    Parameters
    ----------
    fit
        JSON: the fit, complete.
    emulator
        Manifest of the emulator's bundle.
    chains
        All ensembles (sample_posterior), in order.
    samples
        Where the joined chain goes (HDF5).
    getdist_root
        Where GetDist's files go: their common stem.
    arviz
        Where ArviZ's file goes (NetCDF).
    summary
        Where the summary goes (JSON).
    checks
        Where the checks go (JSON).
    transfer
        Manifest of the transfer expansion, which primordial models need.
    """
    section = read_fit(fit)
    theory = theory_from_config(section, emulator.parent, transfer and transfer.parent)
    posterior = compile_if_possible(posterior_from_config(section, theory))
    ensembles = [read_chain(path)[0] for path in chains]
    fitted = publish_fit(
        posterior,
        section,
        ensembles,
        samples=samples,
        getdist_root=getdist_root,
        arviz=arviz,
        summary=summary,
    )
    write_checks(checks, fit_checks(section, fitted))
    publish_record(samples, inputs=chains, settings=posterior.settings())
