"""Chains and samples on disk as HDF5: everything, exactly; for other programs see :mod:`~cmbfit.inference.exports`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cmbfit.errors import SamplerError
from cmbfit.inference.chain import Chain
from cmbfit.inference.diagnostics import kept_samples
from cmbfit.io import atomic_hdf5, reading


def write_chain(path: str | Path, chain: Chain, settings: Mapping[str, Any]) -> None:
    """Publish one ensemble's whole chain as HDF5."""
    with atomic_hdf5(path) as f:
        f.create_dataset("samples", data=chain.samples, compression="gzip", shuffle=True)
        f.create_dataset("log_prob", data=chain.log_prob, compression="gzip", shuffle=True)
        f.create_dataset("tau", data=chain.tau)
        f.create_dataset("tau_history_steps", data=[n for n, _ in chain.tau_history])
        f.create_dataset("tau_history", data=[tau for _, tau in chain.tau_history])
        f.attrs["parameters"] = json.dumps(chain.parameters)
        f.attrs["settings"] = json.dumps(dict(settings), sort_keys=True)
        f.attrs["counts"] = json.dumps(chain.counts)
        for name in ("acceptance", "converged", "seconds", "evaluations", "thin", "kind", "independent"):
            f.attrs[name] = getattr(chain, name)
        _write_log_z(f, None if chain.log_z is None else (chain.log_z, chain.log_z_error))


def read_chain(path: str | Path) -> tuple[Chain, dict[str, Any]]:
    """Read an ensemble's chain and the settings it was made with.

    Raises
    ------
    DataError
        If the file is missing, truncated or not a chain.
    """
    with reading(path, "a chain of cmbfit"):
        with h5py.File(path, "r") as f:
            history = [
                (int(n), t.tolist())
                for n, t in zip(f["tau_history_steps"][()], f["tau_history"][()], strict=True)
            ]
            chain = Chain(
                tuple(json.loads(f.attrs["parameters"])),
                f["samples"][()],
                f["log_prob"][()],
                f["tau"][()],
                history,
                float(f.attrs["acceptance"]),
                bool(f.attrs["converged"]),
                float(f.attrs["seconds"]),
                int(f.attrs["evaluations"]),
                json.loads(f.attrs["counts"]),
                int(f.attrs["thin"]),
                str(f.attrs["kind"]),
                bool(f.attrs["independent"]),
                *(_read_log_z(f) or (None, None)),
            )
            settings = json.loads(f.attrs["settings"])
        shape = chain.samples.shape
        if shape[1:] != (chain.log_prob.shape[1], len(chain.parameters)) or chain.log_prob.shape != shape[:2]:
            raise ValueError(f"{len(chain.parameters)} parameters, shapes {shape} and {chain.log_prob.shape}")
        return chain, settings


def _write_log_z(group: h5py.Group, value: tuple[float, float | None] | None) -> None:
    if value is not None:
        group.attrs["log_z"], group.attrs["log_z_error"] = value


def _read_log_z(group: h5py.Group) -> tuple[float, float] | None:
    if "log_z" not in group.attrs:
        return None
    return float(group.attrs["log_z"]), float(group.attrs["log_z_error"])


@dataclass(frozen=True)
class Samples:
    """Converged samples of a fit: sampled, nuisance and derived parameters.

    Attributes
    ----------
    names : tuple of str
    values : list of numpy.ndarray
        One array of shape (n_samples, n_names) per independent ensemble, walker by walker: all kept steps of the first, then
        those of the second, ... Programs that take the order of rows for time find each walker's own correlation.
    log_prob : list of numpy.ndarray
        ln (L prior), shape (n_samples,) per ensemble.
    n_sampled : int
        The first so many names were sampled; the rest is derived.
    ranges : dict
        Limits of the sampled parameters, by prior and theory (None where unbounded).
    log_z : tuple of (float, float)
        ln Z and its error of each ensemble, where the sampler measures them; else empty.
    walkers : int
        Walkers of each ensemble; 1 where rows are independent draws.
    log_prior : list of numpy.ndarray
        ln prior, shape (n_samples,) per ensemble; empty where it is not known.
    priors : dict
        Configuration of each sampled parameter's own prior, where it has one.
    """

    names: tuple[str, ...]
    values: list[np.ndarray]
    log_prob: list[np.ndarray]
    n_sampled: int
    ranges: dict[str, tuple[float | None, float | None]]
    log_z: tuple[tuple[float, float], ...] = ()
    walkers: int = 1
    log_prior: list[np.ndarray] = field(default_factory=list)
    priors: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def joined(self) -> np.ndarray:
        """All ensembles' samples, shape (n, n_names)."""
        return np.concatenate(self.values)

    @property
    def getdist_sampler(self) -> str:
        """What GetDist calls the kind of sampler: whether the order of rows says how far they depend on each other."""
        return "uncorrelated" if self.walkers == 1 else "mcmc"

    def column(self, name: str) -> np.ndarray:
        """One parameter's samples over all ensembles."""
        return self.joined[:, self.names.index(name)]


def collect_samples(
    chains: Sequence[Chain],
    derived: Sequence[Mapping[str, np.ndarray]],
    ranges: dict[str, tuple[float | None, float | None]],
    log_prior: Sequence[np.ndarray] = (),
    priors: Mapping[str, dict[str, Any]] | None = None,
) -> Samples:
    """Join independent ensembles after burn-in, with derived parameters and ln prior of the same rows."""
    names = (*chains[0].parameters, *derived[0])
    values, log_prob = [], []
    for chain, extra in zip(chains, derived, strict=True):
        samples, lp = kept_samples(chain)
        values.append(np.column_stack([samples, *extra.values()]))
        log_prob.append(lp)
    measured = [(c.log_z, c.log_z_error) for c in chains]
    log_z = tuple((z, e) for z, e in measured if z is not None and e is not None)
    n_walkers = {c.samples.shape[1] for c in chains}
    if len(n_walkers) > 1:
        raise SamplerError(
            f"expected ensembles of equally many walkers, found {sorted(n_walkers)}: sample them again alike"
        )
    return Samples(
        names,
        values,
        log_prob,
        len(chains[0].parameters),
        ranges,
        log_z,
        n_walkers.pop(),
        list(log_prior),
        dict(priors or {}),
    )


def write_samples(path: str | Path, samples: Samples) -> None:
    """Publish samples as HDF5: datasets `ensemble_<i>/values`, `ensemble_<i>/log_prob` and, where known, `.../log_prior`."""
    with atomic_hdf5(path) as f:
        f.attrs["names"] = json.dumps(samples.names)
        f.attrs["n_sampled"] = samples.n_sampled
        f.attrs["ranges"] = json.dumps(samples.ranges)
        f.attrs["walkers"] = samples.walkers
        f.attrs["priors"] = json.dumps(samples.priors)
        for i, (values, log_prob) in enumerate(zip(samples.values, samples.log_prob, strict=True)):
            group = f.create_group(f"ensemble_{i}")
            group.create_dataset("values", data=values, compression="gzip", shuffle=True)
            group.create_dataset("log_prob", data=log_prob, compression="gzip", shuffle=True)
            if samples.log_prior:
                group.create_dataset("log_prior", data=samples.log_prior[i], compression="gzip", shuffle=True)
            _write_log_z(group, samples.log_z[i] if samples.log_z else None)


def read_samples(path: str | Path) -> Samples:
    """Read what :func:`write_samples` wrote."""
    with reading(path, "samples of cmbfit"):
        with h5py.File(path, "r") as f:
            groups = [f[f"ensemble_{i}"] for i in range(len(f))]
            samples = Samples(
                tuple(json.loads(f.attrs["names"])),
                [g["values"][()] for g in groups],
                [g["log_prob"][()] for g in groups],
                int(f.attrs["n_sampled"]),
                {k: (v[0], v[1]) for k, v in json.loads(f.attrs["ranges"]).items()},
                tuple(z for z in map(_read_log_z, groups) if z is not None),
                int(f.attrs["walkers"]),
                [g["log_prior"][()] for g in groups if "log_prior" in g],
                json.loads(f.attrs["priors"]),
            )
        shapes = [(x.shape[0], len(samples.names)) for x in samples.log_prob]
        if [x.shape for x in samples.values] != shapes or not shapes:
            raise ValueError(f"{len(samples.names)} names, shapes {[x.shape for x in samples.values]}")
        if samples.walkers < 1 or any(len(x) % samples.walkers for x in samples.values):
            raise ValueError(f"{samples.walkers} walkers, shapes {[x.shape for x in samples.values]}")
        if samples.log_prior and [x.shape for x in samples.log_prior] != [x.shape for x in samples.log_prob]:
            raise ValueError(f"ln prior of shapes {[x.shape for x in samples.log_prior]}")
        return samples
