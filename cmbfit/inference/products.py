"""Chains on disk: HDF5 (everything), GetDist text (what cosmologists plot) and ArviZ netCDF."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cmbfit.folders import atomic_folder
from cmbfit.inference.chain import Chain
from cmbfit.inference.diagnostics import kept_samples
from cmbfit.io import atomic_buffer, atomic_file, atomic_hdf5, reading, write_text
from cmbfit.theory.parameters import latex_label


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
        One array of shape (n_samples, n_names) per independent ensemble.
    log_prob : list of numpy.ndarray
        ln (L prior), shape (n_samples,) per ensemble.
    n_sampled : int
        The first so many names were sampled; the rest is derived.
    ranges : dict
        Limits of the sampled parameters, by prior and theory (None where unbounded).
    log_z : tuple of (float, float)
        ln Z and its error of each ensemble, where the sampler measures them; else empty.
    """

    names: tuple[str, ...]
    values: list[np.ndarray]
    log_prob: list[np.ndarray]
    n_sampled: int
    ranges: dict[str, tuple[float | None, float | None]]
    log_z: tuple[tuple[float, float], ...] = ()

    @property
    def joined(self) -> np.ndarray:
        """All ensembles' samples, shape (n, n_names)."""
        return np.concatenate(self.values)

    def column(self, name: str) -> np.ndarray:
        """One parameter's samples over all ensembles."""
        return self.joined[:, self.names.index(name)]


def collect_samples(
    chains: Sequence[Chain],
    derived: Sequence[Mapping[str, np.ndarray]],
    ranges: dict[str, tuple[float | None, float | None]],
) -> Samples:
    """Join independent ensembles after burn-in, with derived parameters of the same rows."""
    names = (*chains[0].parameters, *derived[0])
    values, log_prob = [], []
    for chain, extra in zip(chains, derived, strict=True):
        samples, lp = kept_samples(chain)
        values.append(np.column_stack([samples, *extra.values()]))
        log_prob.append(lp)
    measured = [(c.log_z, c.log_z_error) for c in chains]
    log_z = tuple((z, e) for z, e in measured if z is not None and e is not None)
    return Samples(names, values, log_prob, len(chains[0].parameters), ranges, log_z)


def write_samples(path: str | Path, samples: Samples) -> None:
    """Publish samples as HDF5: datasets `ensemble_<i>/values` and `ensemble_<i>/log_prob`."""
    with atomic_hdf5(path) as f:
        f.attrs["names"] = json.dumps(samples.names)
        f.attrs["n_sampled"] = samples.n_sampled
        f.attrs["ranges"] = json.dumps(samples.ranges)
        for i, (values, log_prob) in enumerate(zip(samples.values, samples.log_prob, strict=True)):
            group = f.create_group(f"ensemble_{i}")
            group.create_dataset("values", data=values, compression="gzip", shuffle=True)
            group.create_dataset("log_prob", data=log_prob, compression="gzip", shuffle=True)
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
            )
        shapes = [(x.shape[0], len(samples.names)) for x in samples.log_prob]
        if [x.shape for x in samples.values] != shapes or not shapes:
            raise ValueError(f"{len(samples.names)} names, shapes {[x.shape for x in samples.values]}")
        return samples


def getdist_files(name: str) -> Callable[[str], bool]:
    """Return what tells the files that GetDist reads for a root of this name from all others."""
    pattern = re.compile(rf"{re.escape(name)}(?:[._]\d+)?\.txt|{re.escape(name)}\.(?:paramnames|ranges)")
    return lambda file: pattern.fullmatch(file) is not None


def publish_getdist(root: str | Path, samples: Samples, weights: Sequence[np.ndarray] | None = None) -> None:
    """Publish GetDist chains in a folder of their own, exchanged as a whole; arguments as of :func:`write_getdist`.

    GetDist reads every file ``root.<number>.txt`` as one of the same fit's chains: none of an earlier, larger run may stay.
    """
    root = Path(root)
    with atomic_folder(root.parent, getdist_files(root.name)) as tmp:
        write_getdist(tmp / root.name, samples, weights)


def write_getdist(
    root: str | Path, samples: Samples, weights: Sequence[np.ndarray] | None = None
) -> list[Path]:
    """Publish GetDist chains: ``root.<i>.txt``, ``root.paramnames`` and ``root.ranges``.

    Columns are weight, -ln posterior and the parameters; derived names carry a ``*``.

    Parameters
    ----------
    root : path
        Folder and stem. Chains of the same stem that are there already stay: :func:`publish_getdist` exchanges them.
    samples : Samples
    weights : sequence of numpy.ndarray, shape (n_samples,) per ensemble
        Importance weights; 1 when omitted. Weighted files hold -ln (posterior x weight).

    Returns
    -------
    list of Path
        The files written.
    """
    root = Path(root)
    written = []
    if weights is None:
        weights = [np.ones(len(values)) for values in samples.values]
    for i, (values, log_prob, w) in enumerate(
        zip(samples.values, samples.log_prob, weights, strict=True), start=1
    ):
        path = root.with_name(f"{root.name}.{i}.txt")
        with atomic_file(path) as f:
            np.savetxt(f, np.column_stack([w, -log_prob - np.log(w), values]), fmt="%.9e")
        written.append(path)
    lines = [
        f"{name}{'*' if i >= samples.n_sampled else ''}\t{latex_label(name)}"
        for i, name in enumerate(samples.names)
    ]
    write_text(root.with_name(root.name + ".paramnames"), "\n".join(lines) + "\n")
    limits = [
        f"{name} {'N' if low is None else f'{low:.9g}'} {'N' if high is None else f'{high:.9g}'}"
        for name, (low, high) in samples.ranges.items()
    ]
    write_text(root.with_name(root.name + ".ranges"), "\n".join(limits) + "\n")
    return [*written, root.with_name(root.name + ".paramnames"), root.with_name(root.name + ".ranges")]


def write_arviz(path: str | Path, samples: Samples) -> None:
    """Publish an ArviZ InferenceData netCDF with groups `posterior` and `sample_stats`.

    ArviZ's `chain` is an independent ensemble. Its own ESS and R-hat do not apply: draws of one
    ensemble are ordered by step, then walker, and walkers depend on each other; use the fit's
    recorded tau and R - 1.
    """
    with warnings.catch_warnings():
        # arviz 0.23 announces its own refactoring at import
        warnings.filterwarnings("ignore", category=FutureWarning, module="arviz")
        import arviz as az  # noqa: PLC0415 (slow to import; only this function needs it)

    n = min(len(v) for v in samples.values)
    posterior = {name: np.array([v[:n, i] for v in samples.values]) for i, name in enumerate(samples.names)}
    data = az.from_dict(
        posterior=posterior,
        sample_stats={"lp": np.array([lp[:n] for lp in samples.log_prob])},
        attrs={"note": "chain = independent ensemble; draws are ordered by step, then walker"},
    )
    tree = data.to_datatree()  # an InferenceData writes to names only
    packed = {f"/{g}": {v: {"zlib": True} for v in tree[g].data_vars} for g in tree.children}
    with atomic_buffer(path) as image:
        tree.to_netcdf(image, engine="h5netcdf", encoding=packed)
