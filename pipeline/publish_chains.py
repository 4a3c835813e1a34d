from __future__ import annotations

from pathlib import Path

from cmbfit.fit import Fit, build_posterior
from cmbfit.inference.products import read_chain
from cmbfit.inference.publish import publish_fit
from cmbfit.io import publish_record
from cmbfit.report.checks import write_checks
from cmbfit.report.fit_checks import fit_checks


def publish_chains(
    *,
    fit: Path,
    chains: list[Path],
    samples: Path,
    getdist_root: Path,
    arviz: Path,
    summary: Path,
    checks: Path,
) -> None:
    """Join a fit's ensembles: samples with derived parameters, GetDist and ArviZ files, summary, checks.

    Parameters
    ----------
    fit
        JSON: the fit, complete.
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
    """
    described = Fit.read(fit)
    posterior = build_posterior(described)
    ensembles = [read_chain(path)[0] for path in chains]
    fitted = publish_fit(
        posterior,
        described,
        ensembles,
        samples=samples,
        getdist_root=getdist_root,
        arviz=arviz,
        summary=summary,
    )
    write_checks(checks, fit_checks(described, fitted))
    publish_record(samples, inputs=chains, settings=posterior.settings())
