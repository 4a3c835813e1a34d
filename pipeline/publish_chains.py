from __future__ import annotations

from pathlib import Path

from cmbfit.checkpoint import discard, require_made_of
from cmbfit.fit import Fit, build_posterior
from cmbfit.inference.products import read_chain
from cmbfit.inference.publish import publish_fit
from cmbfit.inference.sampling import chain_identity
from cmbfit.io import publish_record
from cmbfit.report.checks import write_checks
from cmbfit.report.fit_checks import fit_checks


def publish_chains(
    *,
    fit: Path,
    chains: list[Path],
    seed: int,
    chain_code: str,
    checkpoints: list[Path],
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
    seed
        Of the run: which chains these must be.
    chain_code
        Hash of the code that samples: which chains these must be.
    checkpoints
        Folders of the chains' checkpoints, which have served when the products are there.
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
    ensembles = []
    for i, path in enumerate(chains):
        chain, made_of = read_chain(path)
        require_made_of(path, made_of, chain_identity(posterior, described, [seed, i], chain_code))
        ensembles.append(chain)
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
    for product in (samples, arviz, getdist_root.parent):
        publish_record(product, inputs=chains, settings=posterior.settings())
    discard(*checkpoints)
