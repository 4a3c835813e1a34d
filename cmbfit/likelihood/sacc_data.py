"""Likelihoods of SACC files: our own spectra, and other people's, fitted like published ones."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sacc
import torch

from cmbfit.errors import LikelihoodError, SpectrumError
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.spectra.product import Bandpowers, read_spectra
from cmbfit.theory.spectra import Spectra

PAIR_OF_TYPE = {"cl_00": "tt", "cl_0e": "te", "cl_0b": "tb", "cl_ee": "ee", "cl_eb": "eb", "cl_bb": "bb"}
"""SACC's data types; "cl_be" is read as eb."""


class LeakyBandpowers(GaussianBandpowers):
    """Gaussian bandpowers whose windows also respond to other spectra: E leaks into B under a mask.

    Parameters
    ----------
    leakage : mapping (pair, source) -> numpy.ndarray, shape (n_bins of the pair, lmax + 1)
        Response of the pair's bandpowers to the source's D_l.
    others
        As for :class:`~cmbfit.likelihood.gaussian.GaussianBandpowers`, without calibration.
    """

    def __init__(
        self,
        info: DataSetInfo,
        windows: Mapping[str, np.ndarray],
        data: np.ndarray,
        covariance: np.ndarray,
        leakage: Mapping[tuple[str, str], np.ndarray],
        files: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(info, windows, data, covariance, files=files)
        for (pair, source), window in leakage.items():
            if pair not in windows or window.shape != windows[pair].shape:
                raise LikelihoodError(
                    f"{info.name}: leakage of {source} into {pair} has windows of shape {window.shape}, "
                    f"expected {windows[pair].shape if pair in windows else 'no such pair'}"
                )
        self._leakage = {key: torch.from_numpy(np.ascontiguousarray(w)) for key, w in leakage.items()}
        self.pairs = (*self.pairs, *dict.fromkeys(s for _, s in leakage if s not in windows))

    def to(self, device: torch.device | str) -> LeakyBandpowers:
        """Return a copy whose arrays live on `device`."""
        moved: LeakyBandpowers = super().to(device)  # type: ignore[assignment]
        moved._leakage = {key: w.to(device) for key, w in self._leakage.items()}
        return moved

    def bandpowers(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch, n_bins)
        """Return the model bandpowers, leakage included."""
        total = super().bandpowers(spectra, nuisance)
        parts, start = [], 0
        for pair, window in self._windows.items():
            part = total[:, start : start + len(window)]
            start += len(window)
            for (to, source), leak in self._leakage.items():
                if to == pair:
                    part = part + spectra.dl[source][:, : leak.shape[1]] @ leak.T
            parts.append(part)
        return torch.cat(parts, dim=1)

    def whitened(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return L^-1 W per source, leakage included; see :meth:`GaussianBandpowers.whitened`."""
        out, data = super().whitened()
        start = 0
        for pair, window in self._windows.items():
            for (to, source), leak in self._leakage.items():
                if to == pair:
                    rows = torch.zeros(len(self._data), leak.shape[1], dtype=leak.dtype, device=leak.device)
                    rows[start : start + len(leak)] = leak
                    term = torch.linalg.solve_triangular(self._cholesky, rows, upper=False)
                    out[source] = out[source] + term if source in out else term
            start += len(window)
        return out, data


def read_own_spectra(
    path: str | Path,
    name: str,
    *,
    survey: str,
    pairs: Sequence[str] = ("tt", "te", "ee"),
    ranges: Mapping[str, tuple[int, int]] | None = None,
    title: str = "",
) -> LeakyBandpowers:
    """Return the likelihood of a spectrum product of :mod:`cmbfit.spectra`.

    Parameters
    ----------
    survey : str
        The sky that is counted, so that a Posterior refuses to count it twice.
    pairs : sequence of str
        Of tt, ee, bb, te, eb, tb. Leakage of pairs that are not used is left out (of BB into EE,
        for example): it counts as zero theory.
    ranges : mapping pair -> (lmin, lmax), optional
        Bins that lie inside are kept; all of them when omitted.

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
        (to, source): w[keep[to]]
        for (to, source), w in data.windows.items()
        if to != source and to in pairs and source in pairs
    }
    info = DataSetInfo(
        name=name,
        title=title or f"{name}: bandpowers estimated by cmbfit",
        sky={survey: sky},
        n_data=index.size,
        citation="this work",
        approximation="Gaussian bandpowers; covariance fixed at a fiducial model",
    )
    return LeakyBandpowers(
        info,
        {p: data.windows[p, p][keep[p]] for p in pairs},
        np.concatenate([data.values[p][keep[p]] for p in pairs]),
        np.ascontiguousarray(data.covariance[np.ix_(index, index)]),
        leakage,
        _checksum(path),
    )


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
) -> GaussianBandpowers:
    """Return the Gaussian likelihood of any SACC file with bandpower windows.

    All combinations of tracers of a pair enter, one after the other, against one theory: right for
    CMB-only spectra, wrong for maps with foregrounds.

    Parameters
    ----------
    unit : {"dl", "cl"}
        What the file holds, in uK^2. SACC has no field for it. Windows of "cl" act on C_l and are
        turned into windows on D_l.
    ranges : mapping pair -> (lmin, lmax), optional
        Bandpowers whose mean multipole, weighted with the window, lies inside are kept.

    Raises
    ------
    LikelihoodError
        When the file cannot be read, has no covariance or no windows, or holds nothing of a pair.
    """
    if unit not in {"dl", "cl"}:
        raise LikelihoodError(f"{name}: unit {unit!r}, expected 'dl' or 'cl'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # astropy's remarks on units and long keywords
            file = sacc.Sacc.load_fits(str(path))
    except Exception as error:  # sacc raises many kinds for a damaged file
        raise LikelihoodError(f"{path}: expected a SACC file, found: {error}") from error
    if file.covariance is None:
        raise LikelihoodError(f"{path}: no covariance")
    present = set(file.get_data_types())
    types = {t: p for t, p in ({**PAIR_OF_TYPE, "cl_be": "eb"}).items() if t in present}
    windows: dict[str, np.ndarray] = {}
    index: list[int] = []
    sky = {}
    for pair in pairs:
        rows, kept = [], []
        for kind in (t for t, p in types.items() if p == pair):
            for tracers in file.get_tracer_combinations(kind):
                points = file.indices(kind, tracers)
                rows.append(_windows_from_zero(file, points, unit, f"{path}: {kind} {tracers}"))
                kept.append(points)
        if not rows:
            raise LikelihoodError(f"{path}: no spectrum {pair}; found {sorted(present)}")
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
    covariance = np.asarray(file.covariance.dense, dtype=np.float64)[np.ix_(index, index)]
    info = DataSetInfo(
        name=name,
        title=title or f"{name}: {Path(path).name}",
        sky={survey: sky},
        n_data=len(index),
        citation=citation,
        approximation="Gaussian bandpowers; one theory for all tracers",
    )
    mean = np.asarray(file.mean, dtype=np.float64)[index]
    return GaussianBandpowers(info, windows, mean, 0.5 * (covariance + covariance.T), files=_checksum(path))


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
