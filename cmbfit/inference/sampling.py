"""From a fit's configuration to one independent chain, whichever sampler it names."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit.errors import ConfigError
from cmbfit.inference.chain import Chain
from cmbfit.inference.ensemble import EnsembleSettings, draw_starts, initial_walkers, run_ensemble
from cmbfit.inference.hmc import HmcSettings, run_hmc
from cmbfit.inference.maximum import find_maximum, laplace_factor
from cmbfit.inference.products import write_chain
from cmbfit.io import publish_record, sha256_json
from cmbfit.likelihood.build import start_from_config
from cmbfit.likelihood.posterior import Posterior

log = logging.getLogger(__name__)

_ONLY_HMC = ("leapfrog", "target_acceptance", "warmup_steps", "block_trajectories")
_ONLY_EMCEE = ("moves", "block_steps")


def settings_from_config(spec: Mapping[str, Any]) -> EnsembleSettings | HmcSettings:
    """Return a fit's sampler settings.

    Parameters
    ----------
    spec : mapping
        ``kind``: emcee (default) or hmc, and the fields of that sampler's settings, where HMC's
        block_steps is called ``block_trajectories``. Fields of the other sampler are passed over, so that
        a configuration merged into another may change the kind alone.
    """
    kind = spec.get("kind", "emcee")
    if kind not in ("emcee", "hmc"):
        raise ConfigError(f"sampler kind: expected emcee or hmc, found {kind!r}")
    skip = ("kind", *(_ONLY_EMCEE if kind == "hmc" else _ONLY_HMC))
    fields = {k: v for k, v in spec.items() if k not in skip}
    if "block_trajectories" in fields:
        fields["block_steps"] = fields.pop("block_trajectories")
    return HmcSettings(**fields) if kind == "hmc" else EnsembleSettings(**fields)


def settings_of(spec: Mapping[str, Any], where: str = "sampler") -> EnsembleSettings | HmcSettings:
    """Return the settings of a sampler's section, refusing what is not that sampler's by its place."""
    try:
        return settings_from_config(spec)
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"{where}: {error}") from error


def sample(
    posterior: Posterior,
    fit: Mapping[str, Any],
    seed: Sequence[int],
    checkpoint: str | Path,
    code: str,
    *,
    progress: bool = True,
) -> tuple[Chain, dict[str, Any]]:
    """Run (or resume) one independent chain of a fit.

    emcee starts from the configuration's centre and scale; HMC from the Laplace approximation around the
    maximum, twice as wide, so that independent sets start wider than the posterior.

    Parameters
    ----------
    posterior : Posterior
    fit : mapping
        A fit's section of the configuration: ``start`` and ``sampler``.
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
    settings = settings_from_config(fit["sampler"])
    seeds = np.random.SeedSequence(list(seed))
    rng = np.random.default_rng(seeds)
    number = int(seeds.generate_state(1)[0])
    # the JSON round trip makes the identity comparable with the one on disk
    identity = json.loads(
        json.dumps({"posterior": posterior.settings(), "start": fit["start"], "code": code})
    )
    # other inputs get another folder: a checkpoint is only ever resumed with the inputs that made it
    # (max_steps only says when to give up: raising it goes on from where the run stopped)
    spec = {k: v for k, v in fit["sampler"].items() if k != "max_steps"}
    folder = Path(checkpoint) / sha256_json([identity, number, spec])[:16]
    centre, scale = start_from_config(fit, posterior)
    if isinstance(settings, HmcSettings):
        best = find_maximum(posterior, centre, scale, starts=3, rng=rng)
        factor = laplace_factor(posterior, best.point, scale)
        mean = np.array([best.point[p] for p in posterior.parameters])
        start = draw_starts(posterior, mean, 2 * factor, settings.walkers, rng)
        chain = run_hmc(posterior, start, factor, settings, number, folder, identity, progress=progress)
    else:
        start = initial_walkers(posterior, centre, scale, settings.walkers, rng)
        chain = run_ensemble(posterior, start, settings, number, folder, identity, progress=progress)
    record = {
        **identity,
        "seed": number,
        "fold_difference": posterior.fold_difference,
        "not_folded": posterior.not_folded,
    }
    return chain, record


def sample_and_publish(
    posterior: Posterior,
    fit: Mapping[str, Any],
    seed: Sequence[int],
    checkpoint: str | Path,
    code: str,
    output: str | Path,
) -> Chain:
    """Run one independent chain of a fit, publish it with its record and remove its checkpoint."""
    chain, record = sample(posterior, fit, seed, checkpoint, code)
    write_chain(output, chain, record)
    publish_record(
        output,
        settings=record,
        device=str(posterior.device),
        seconds=chain.seconds,
        zero_probability=chain.counts,
    )
    # the chain is published: this and abandoned checkpoints have served; another driver's job may still write there
    shutil.rmtree(checkpoint, ignore_errors=True)
    return chain
