"""Samples as other programs read them: GetDist text, which anesthetic and Cobaya read too, and ArviZ netCDF."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cmbfit.folders import atomic_folder
from cmbfit.inference.products import Samples
from cmbfit.io import atomic_buffer, atomic_file, write_text
from cmbfit.theory.parameters import latex_label

_COBAYA = ("minuslogprior", "minuslogprior__0", "chi2", "chi2__cmbfit")
"""Columns that Cobaya wants beside the parameters: the sums, and one entry of each sum."""

_COBAYA_LABELS = {
    "minuslogprior": r"-\ln\pi",
    "minuslogprior__0": r"-\ln\pi_0",
    "chi2": r"\chi^2",
    "chi2__cmbfit": r"\chi^2_\mathrm{cmbfit}",
}


def getdist_files(name: str) -> Callable[[str], bool]:
    """Return what tells the files that are read for a GetDist root of this name from all others."""
    ends = r"(?:[._]\d+)?\.txt|\.(?:paramnames|ranges|updated\.yaml)"
    pattern = re.compile(rf"{re.escape(name)}(?:{ends})")
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

    Columns are weight, -ln posterior and the parameters; derived names carry a ``*``. Rows go walker by walker, as in
    `samples`. Where ln prior is known, -ln prior and chi2 = -2 ln L (up to the constants of the data sets) follow, and
    ``root.updated.yaml`` makes the root one that ``cobaya.load_samples`` reads.

    Parameters
    ----------
    root : path
        Folder and stem. Chains of the same stem that are there already stay: :func:`publish_getdist` exchanges them.
    samples : Samples
    weights : sequence of numpy.ndarray, shape (n_samples,) per ensemble
        Importance weights; 1 when omitted. Weighted files hold -ln (posterior x weight), and the likelihood x weight.

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
        minus_log = -log_prob - np.log(w)
        columns = [w, minus_log, values]
        if samples.log_prior:
            prior = -samples.log_prior[i - 1]
            chi2 = 2 * (minus_log - prior)
            columns += [prior, prior, chi2, chi2]
        with atomic_file(path) as f:
            np.savetxt(f, np.column_stack(columns), fmt="%.9e")
        written.append(path)
    texts = {"paramnames": _paramnames(samples), "ranges": _ranges(samples)}
    if samples.log_prior:
        texts["updated.yaml"] = yaml.safe_dump(_cobaya_info(samples), sort_keys=False)
    for end, text in texts.items():
        written.append(root.with_name(f"{root.name}.{end}"))
        write_text(written[-1], text)
    return written


def _paramnames(samples: Samples) -> str:
    lines = [
        f"{name}{'*' if i >= samples.n_sampled else ''}\t{latex_label(name)}"
        for i, name in enumerate(samples.names)
    ]
    if samples.log_prior:
        lines += [f"{name}*\t{_COBAYA_LABELS[name]}" for name in _COBAYA]
    return "\n".join(lines) + "\n"


def _ranges(samples: Samples) -> str:
    limits = [
        f"{name} {'N' if low is None else f'{low:.9g}'} {'N' if high is None else f'{high:.9g}'}"
        for name, (low, high) in samples.ranges.items()
    ]
    return "\n".join(limits) + "\n"


def _cobaya_info(samples: Samples) -> dict[str, Any]:
    """Return the description that Cobaya asks for beside a chain.

    One entry of the prior and one of the likelihood stand for all: the products hold their sums. The names are not those
    of Cobaya's own components, so that nothing there claims to be able to evaluate them.
    """
    sampled = {
        name: {"prior": _cobaya_prior(samples, name), "latex": latex_label(name)}
        for name in samples.names[: samples.n_sampled]
    }
    derived = {
        name: {"derived": True, "latex": latex_label(name)} for name in samples.names[samples.n_sampled :]
    }
    return {"params": sampled | derived, "likelihood": {"cmbfit": None}, "sampler": {"mcmc": None}}


def _cobaya_prior(samples: Samples, name: str) -> dict[str, Any]:
    """Return a prior in Cobaya's words; of one that has none there, its limits or the samples'."""
    own: Mapping[str, Any] = samples.priors.get(name, {})
    if "gaussian" in own:
        mean, std = own["gaussian"]
        return {"dist": "norm", "loc": float(mean), "scale": float(std)}
    low, high = own.get("uniform") or samples.ranges.get(name, (None, None))
    x = samples.column(name)
    return {
        "min": float(x.min() if low is None else low),
        "max": float(x.max() if high is None else high),
    }


def write_arviz(path: str | Path, samples: Samples) -> None:
    """Publish netCDF in ArviZ's schema, groups ``posterior`` and ``sample_stats``; ArviZ 0.23 and 1 read it.

    A chain is a walker, its draws those of the first ensemble, then those of the second, ...: ensembles of any lengths keep
    all their draws, ArviZ's effective sample sizes follow the walkers' autocorrelation, and its split R-hat compares the
    ensembles' halves. ``sample_stats.ensemble`` tells them apart. (Walkers of an ensemble
    depend on each other, so that R-hat compares less than it seems to; the fit's own R - 1 is between ensembles.)
    """
    import xarray as xr  # noqa: PLC0415 (slow to import; only this function needs it)

    steps = [len(v) // samples.walkers for v in samples.values]
    coordinates = {"chain": np.arange(samples.walkers), "draw": np.arange(sum(steps))}

    def group(columns: Mapping[str, list[np.ndarray]]) -> xr.Dataset:
        tables = {
            name: np.concatenate([x.reshape(samples.walkers, -1) for x in blocks], axis=1)
            for name, blocks in columns.items()
        }
        data = {name: (("chain", "draw"), table) for name, table in tables.items()}
        return xr.Dataset(data, coordinates, attrs={"inference_library": "cmbfit"})

    values = {name: [v[:, i] for v in samples.values] for i, name in enumerate(samples.names)}
    ensemble = [np.full(len(v), i, dtype=np.int16) for i, v in enumerate(samples.values)]
    stats = {"lp": samples.log_prob, "ensemble": ensemble}
    if samples.log_prior:
        stats["log_prior"] = samples.log_prior
    note = "chain = walker; draw = its steps, ensemble after ensemble (sample_stats.ensemble)"
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs={"note": note}), "/posterior": group(values), "/sample_stats": group(stats)}
    )
    packed = {f"/{g}": {v: {"zlib": True} for v in tree[g].data_vars} for g in tree.children}
    with atomic_buffer(path) as image:
        tree.to_netcdf(image, engine="h5netcdf", encoding=packed)
