"""Likelihoods of SACC files: our own spectra, and other people's, fitted like published ones."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sacc

from cmbfit.errors import LikelihoodError, MapError, SpectrumError
from cmbfit.likelihood.bandpower_model import pair_blocks
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.priors import Prior
from cmbfit.sky.units import factor_to_uk_cmb
from cmbfit.spectra.product import Bandpowers, leakage_path, read_spectra
from cmbfit.spectra.reach import window_reach
from cmbfit.spectra.sacc_file import load_sacc

PAIR_OF_TYPE = {
    "cl_00": "tt", "cl_0e": "te", "cl_e0": "te", "cl_0b": "tb", "cl_b0": "tb",
    "cl_ee": "ee", "cl_eb": "eb", "cl_be": "eb", "cl_bb": "bb",
    "cmb_temperature_cl": "tt", "cmb_temperaturePolarization_cl_e": "te", "cmb_temperaturePolarization_cl_b": "tb",
    "cmb_polarization_cl_ee": "ee", "cmb_polarization_cl_eb": "eb", "cmb_polarization_cl_be": "eb",
    "cmb_polarization_cl_bb": "bb",
}  # fmt: skip
"""SACC's data types of temperature and polarisation; a pair in either order is the same spectrum of the sky."""

_QUANTITIES = {"cmb_temperature", "cmb_polarization", "generic"}
"""Quantities of tracers that are the CMB's T, E or B; "generic" is what sacc writes when it was not told."""

_NO_UNIT = {"", "none", "unknown"}

_SOURCES = ("tt", "te", "ee")
"""Spectra that every theory has, so that what leaks from them is kept whether or not they are fitted."""


def read_own_spectra(
    path: str | Path,
    name: str,
    *,
    survey: str,
    pairs: Sequence[str] = ("tt", "te", "ee"),
    ranges: Mapping[str, tuple[int, int]] | None = None,
    title: str = "",
    nuisance: Mapping[str, Prior] | None = None,
    calibration: Mapping[str, Mapping[str, float]] | None = None,
) -> GaussianBandpowers:
    """Return the likelihood of a spectrum product of :mod:`cmbfit.spectra`.

    Parameters
    ----------
    survey : str
        The sky that is counted, so that a Posterior refuses to count it twice.
    pairs : sequence of str
        Of tt, ee, bb, te, eb, tb. Leakage of TT, TE and EE is always kept (EE into BB); that of other pairs that
        are not used is left out (BB into EE) and counts as zero theory.
    ranges : mapping pair -> (lmin, lmax), optional
        Bins that lie inside are kept; all of them when omitted.
    nuisance, calibration : mapping, optional
        Priors and powers as for :class:`~cmbfit.likelihood.gaussian.GaussianBandpowers`.

    Raises
    ------
    LikelihoodError
        For unknown pairs, or a range without a bin.
    SpectrumError
        When the file cannot be read.
    """
    data: Bandpowers = read_spectra(path).combined()
    if unknown := [p for p in pairs if p not in data.names] or (["none"] if not pairs else []):
        raise LikelihoodError(f"{name}: pairs {unknown}, the product has {data.names}")
    low, high = np.array(data.edges[:-1]), np.array(data.edges[1:]) - 1
    keep, sky = {}, {}
    for pair in pairs:
        lmin, lmax = (ranges or {}).get(pair, (0, int(high[-1])))
        keep[pair] = np.flatnonzero((low >= lmin) & (high <= lmax))
        if keep[pair].size == 0:
            raise LikelihoodError(f"{name}: no bin of {pair} lies inside l = {lmin}-{lmax}")
        sky[pair] = int(low[keep[pair][0]]), int(high[keep[pair][-1]])
    index = np.concatenate([data.names.index(p) * data.n + keep[p] for p in pairs])
    leakage = {
        (to, source): _trimmed(w[keep[to]])
        for (to, source), w in data.windows.items()
        if to != source and to in pairs and source in (*pairs, *_SOURCES)
    }
    info = DataSetInfo(
        name=name,
        title=title or f"{name}: bandpowers estimated by cmbfit",
        sky={survey: sky},
        n_data=index.size,
        citation="this work",
        approximation="Gaussian bandpowers; covariance fixed at a fiducial model",
        nuisance=dict(nuisance or {}),
    )
    return GaussianBandpowers(
        info,
        pair_blocks({p: _trimmed(data.windows[p, p][keep[p]]) for p in pairs}, leakage),
        np.concatenate([data.values[p][keep[p]] for p in pairs]),
        np.ascontiguousarray(data.covariance[np.ix_(index, index)]),
        calibration,
        _checksum(path) | _checksum(leakage_path(path)),
    )


def _trimmed(window: np.ndarray) -> np.ndarray:
    """Return windows up to where they weigh anything, so that theory needs to go no further."""
    return np.ascontiguousarray(window[:, : window_reach(window) + 1])


def read_sacc(
    path: str | Path,
    name: str,
    *,
    survey: str,
    unit: str,
    pairs: Sequence[str] = ("tt", "te", "ee"),
    ranges: Mapping[str, tuple[int, int]] | None = None,
    title: str = "",
    citation: str = "",
    nuisance: Mapping[str, Prior] | None = None,
    calibration: Mapping[str, Mapping[str, float]] | None = None,
) -> GaussianBandpowers:
    """Return the Gaussian likelihood of any SACC file with bandpower windows.

    All combinations of tracers of a pair, in either order of its letters, enter one after the other against one theory:
    right for CMB-only spectra, wrong for maps with foregrounds. Those with a tracer of another quantity (lensing,
    galaxies) are no T, E or B; the likelihood's `info.approximation` names them as left out.

    Parameters
    ----------
    unit : {"dl", "cl"}
        What the file holds, in uK^2, or in the unit of its tracers squared (K_CMB). SACC has no field for it. Windows of "cl" act on C_l and are
        turned into windows on D_l.
    ranges : mapping pair -> (lmin, lmax), optional
        Bandpowers whose mean multipole, weighted with the window, lies inside are kept.
    nuisance, calibration : mapping, optional
        Priors and powers as for :class:`~cmbfit.likelihood.gaussian.GaussianBandpowers`.

    Raises
    ------
    LikelihoodError
        When the file cannot be read, has no covariance or no windows, or holds nothing of a pair.
    """
    if unit not in {"dl", "cl"}:
        raise LikelihoodError(f"{name}: unit {unit!r}, expected 'dl' or 'cl'")
    file = load_sacc(path, LikelihoodError)
    if file.covariance is None:
        raise LikelihoodError(f"{path}: no covariance")
    scale, left_out = np.ones(len(file.mean)), []
    windows: dict[str, np.ndarray] = {}
    index: list[int] = []
    sky = {}
    for pair in pairs:
        rows, kept = [], []
        for kind, tracers in _combinations(file, pair):
            if other := _other_quantity(file, tracers):
                left_out.append(f"{kind} of {tracers[0]} x {tracers[1]} ({other})")
                continue
            points = file.indices(kind, tracers)
            rows.append(_windows_from_zero(file, points, unit, f"{path}: {kind} {tracers}"))
            kept.append(points)
            scale[points] = _scale(file, tracers, f"{path}: {kind}")
        if not rows:
            found = ", ".join(left_out) or sorted(file.get_data_types())
            raise LikelihoodError(f"{path}: no spectrum {pair} of the CMB; found {found}")
        size = max(r.shape[1] for r in rows)
        stacked = np.concatenate([np.pad(r, ((0, 0), (0, size - r.shape[1]))) for r in rows])
        points = np.concatenate(kept)
        weight = np.abs(stacked)
        centre = weight @ np.arange(size) / weight.sum(axis=1)
        lmin, lmax = (ranges or {}).get(pair, (0, size))
        inside = np.flatnonzero((centre >= lmin) & (centre <= lmax))
        if inside.size == 0:
            raise LikelihoodError(f"{name}: no bandpower of {pair} lies inside l = {lmin}-{lmax}")
        windows[pair] = stacked[inside]
        index += [int(i) for i in points[inside]]
        # the multipoles that count: where any window reaches a twentieth of its maximum
        reach = np.flatnonzero(
            (weight[inside] > 0.05 * weight[inside].max(axis=1, keepdims=True)).any(axis=0)
        )
        sky[pair] = int(reach[0]), int(reach[-1])
    covariance = np.asarray(file.covariance.dense, dtype=np.float64) * np.outer(scale, scale)
    covariance = covariance[np.ix_(index, index)]
    without = f"; left out: {', '.join(left_out)}" if left_out else ""
    info = DataSetInfo(
        name=name,
        title=title or f"{name}: {Path(path).name}",
        sky={survey: sky},
        n_data=len(index),
        citation=citation,
        approximation=f"Gaussian bandpowers; one theory for all tracers{without}",
        nuisance=dict(nuisance or {}),
    )
    mean = (scale * np.asarray(file.mean, dtype=np.float64))[index]
    covariance = 0.5 * (covariance + covariance.T)
    return GaussianBandpowers(info, windows, mean, covariance, calibration, _checksum(path))


def _combinations(file: sacc.Sacc, pair: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return data types and tracers of a pair, in the order of the file's types."""
    kinds = [t for t in file.get_data_types() if PAIR_OF_TYPE.get(t) == pair]
    return [(t, tracers) for t in kinds for tracers in file.get_tracer_combinations(t)]


def _other_quantity(file: sacc.Sacc, tracers: Sequence[str]) -> str:
    """Return what tracers are, if that is not the CMB's temperature or polarisation."""
    found = [str(file.get_tracer(t).quantity) for t in tracers]
    return " x ".join(found) if set(found) - _QUANTITIES else ""


def _scale(file: sacc.Sacc, tracers: Sequence[str], where: str) -> float:
    """Return what turns a spectrum into uK^2 by the units that its tracers say."""
    units = [str(getattr(file.get_tracer(t), "map_unit", "none")) for t in tracers]
    try:
        return float(np.prod([1.0 if u.lower() in _NO_UNIT else factor_to_uk_cmb(u) for u in units]))
    except MapError as error:
        raise LikelihoodError(f"{where}: {error}") from error


def _windows_from_zero(file: Any, points: np.ndarray, unit: str, where: str) -> np.ndarray:
    """Return the windows of some points on D_l, from l = 0, shape (n, lmax + 1)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a missing window is an error below
            window = file.get_bandpower_windows(points)
    except (ValueError, KeyError, AttributeError) as error:
        raise LikelihoodError(f"{where}: the bandpower windows cannot be read: {error}") from error
    if window is None:
        raise LikelihoodError(f"{where}: no bandpower windows; a likelihood cannot be made without them")
    ell = np.asarray(window.values)
    whole = np.rint(ell).astype(int)
    if not np.allclose(ell, whole) or whole.min() < 0 or len(set(whole.tolist())) != whole.size:
        raise LikelihoodError(f"{where}: the windows' multipoles are not distinct whole numbers")
    if missing := sorted(set(range(int(whole.min()), int(whole.max()) + 1)) - set(whole.tolist())):
        raise LikelihoodError(
            f"{where}: the windows miss l = {missing[0]}; expected every multipole from {whole.min()} to {whole.max()} "
            "(theory between them would not be counted)"
        )
    weight = np.asarray(window.weight, dtype=np.float64)
    if unit == "cl":
        factor = np.where(whole > 1, 2 * np.pi / np.maximum(whole * (whole + 1.0), 1), 0)
        weight = weight * factor[:, None]
    out = np.zeros((weight.shape[1], whole.max() + 1))
    out[:, whole] = weight.T
    return out


def _checksum(path: str | Path) -> dict[str, str]:
    path = Path(path)
    try:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    except OSError as error:
        raise SpectrumError(f"{path}: {error}") from error
