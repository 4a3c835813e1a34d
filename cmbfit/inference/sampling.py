"""From a completed fit to one independent chain, whichever sampler it names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit.checkpoint import own_folder
from cmbfit.fit.build import start_point
from cmbfit.fit.description import Fit
from cmbfit.inference.chain import Chain, defining
from cmbfit.inference.products import write_chain
from cmbfit.inference.samplers import SAMPLERS, Start, settings_of
from cmbfit.io import publish_record, sha256_file
from cmbfit.likelihood.posterior import Posterior


def sample(
    posterior: Posterior,
    fit: Fit,
    seed: Sequence[int],
    checkpoint: str | Path,
    code: str,
    *,
    progress: bool = True,
) -> tuple[Chain, dict[str, Any]]:
    """Run (or resume) one independent chain of a fit.

    Parameters
    ----------
    posterior : Posterior
        Of the fit.
    fit : Fit
    seed : sequence of int
        The run's seed and the number of the ensemble.
    checkpoint : path
        Folder under which checkpoints lie, a subfolder for each set of inputs.
    code : str
        Hash or version of the code, part of the checkpoint's identity.

    Returns
    -------
    chain : Chain
    record : dict
        What identifies the chain: posterior, start, code, seed and how ln L is computed.
    """
    kind = fit.sampler["kind"]
    settings = settings_of(fit.sampler, f"fits.{fit.name}.sampler", len(posterior.parameters))
    seeds = np.random.SeedSequence(list(seed))
    identity = chain_identity(posterior, fit, seed, code)
    # other inputs get another folder: a checkpoint is only ever resumed with the inputs that made it
    folder = own_folder(checkpoint, identity)
    of_chain = {k: x for k, x in identity.items() if k not in ("seed", "sampler")}  # the sampler adds its own
    start = Start(*start_point(fit, posterior))
    chain = SAMPLERS.get(kind).sample(posterior, start, settings, seeds, folder, of_chain, progress=progress)
    record = {
        **identity,
        "fold_difference": posterior.fold_difference,
        "not_folded": posterior.not_folded,
    }
    return chain, record


def chain_identity(posterior: Posterior, fit: Fit, seed: Sequence[int], code: str) -> dict[str, Any]:
    """Return everything that one chain of a fit is made of, JSON-able; arguments as of :func:`sample`."""
    kind = fit.sampler["kind"]
    settings = settings_of(fit.sampler, f"fits.{fit.name}.sampler", len(posterior.parameters))
    centre, scale = start_point(fit, posterior)
    identity = {
        "posterior": posterior.settings(),
        "fit": {"data": list(fit.data), "theory": dict(fit.theory)},
        "start": {p: [centre[p], scale[p]] for p in posterior.parameters},
        "sampler": {"kind": kind, **defining(settings)},
        "seed": int(np.random.SeedSequence(list(seed)).generate_state(1)[0]),
        "code": code,
    }
    if (file := SAMPLERS.where(kind)).endswith(".py"):  # the user's own sampler
        identity["sampler_code"] = sha256_file(file)
    return identity


def sample_and_publish(
    posterior: Posterior,
    fit: Fit,
    seed: Sequence[int],
    checkpoint: str | Path,
    code: str,
    output: str | Path,
) -> Chain:
    """Run one independent chain of a fit and publish it with its record.

    Its checkpoint stays: whoever joins the chains removes it. Snakemake counts a chain that was published after its driver
    had died as incomplete, and asks for it again; from the checkpoint that takes no steps.
    """
    chain, record = sample(posterior, fit, seed, checkpoint, code)
    write_chain(output, chain, record)
    publish_record(
        output,
        settings=record,
        device=str(posterior.device),
        seconds=chain.seconds,
        zero_probability=chain.counts,
    )
    return chain
