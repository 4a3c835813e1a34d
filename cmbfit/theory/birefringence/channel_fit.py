"""Rotation angles of several channels from the spectra of N maps: tables in, one record out.

The likelihood is :class:`~cmbfit.theory.birefringence.channels.ChannelLikelihood`; several maps (splits of one frequency) may
share a channel, and so an angle. What comes out is alpha_i + beta of each channel: the CMB alone never tells beta from the
detectors' angles, and without dust's own EB the sum holds that too.
"""

from __future__ import annotations

import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from cmbfit.errors import LikelihoodError, SpectrumError
from cmbfit.io import reading
from cmbfit.sky.maps import Array
from cmbfit.theory.birefringence.channels import ChannelLikelihood, beta_from_angles
from cmbfit.theory.birefringence.rotation import PUBLISHED

_SMOOTH = 50
"""Multipoles over which the covariance is smooth."""

_NEEDED = ("ee", "bb", "eb", "be")


@dataclass(frozen=True, eq=False)
class ChannelSpectra:
    """Polarisation spectra of all pairs of N maps, D_l or C_l, in any one unit and with any beams.

    Attributes
    ----------
    maps : tuple of str
    ells : ndarray, shape (n_l,)
        Consecutive, or centres of bins.
    modes : ndarray, shape (n_l,)
        Of the full sky.
    ee, bb, eb : ndarray, shape (n, n, n_l)
        `eb[i, j]` is E of map i times B of map j; those of one map hold its noise.
    """

    maps: tuple[str, ...]
    ells: Array
    modes: Array
    ee: Array
    bb: Array
    eb: Array

    def between(self, low: int, high: int) -> ChannelSpectra:
        """Return the multipoles low to high, both included."""
        keep = (self.ells >= low) & (self.ells <= high)
        if keep.sum() < 2 or low < self.ells[0] or high > self.ells[-1]:
            raise SpectrumError(
                f"rotation: expected two multipoles or more within {self.ells[0]:g} to {self.ells[-1]:g}, found "
                f"{low} to {high}"
            )
        return ChannelSpectra(
            self.maps, self.ells[keep], self.modes[keep], *(x[..., keep] for x in (self.ee, self.bb, self.eb))
        )

    def binned(self, width: int) -> ChannelSpectra:
        """Return plain means of `width` multipoles each; those left over at the end are dropped.

        The turning back is linear in the spectra, so that means obey it as single multipoles do; and of a masked sky
        neighbouring multipoles depend on each other, wide bins hardly.
        """
        n = len(self.ells) // width if width > 0 else 0
        if n < 2:
            raise SpectrumError(
                f"rotation: expected two bins or more, found {len(self.ells)} multipoles in {width}s"
            )

        def mean(x: Array) -> Array:
            return x[..., : n * width].reshape(*x.shape[:-1], n, width).mean(-1)

        return ChannelSpectra(
            self.maps,
            mean(self.ells),
            width / mean(1 / self.modes),
            *(mean(x) for x in (self.ee, self.bb, self.eb)),
        )


def read_channel_spectra(maps: Sequence[str], files: Mapping[tuple[str, str], Path]) -> ChannelSpectra:
    """Read the spectra of all pairs of maps, each pair (i, j) or (j, i) in a table of its own.

    Parameters
    ----------
    maps : sequence of str
    files : mapping
        Pair to a text table, plain or .xz: the first line names the columns, by commas or blanks: ell, EE, BB, EB (E of the
        first map, B of the second) and BE; others are left alone. One row a multipole.

    Raises
    ------
    SpectrumError
        If a pair or a column is missing, or multipoles differ or leave gaps.
    """
    n, tables = len(maps), {}
    for a, b in combinations_with_replacement(range(n), 2):
        pair = (maps[a], maps[b])
        given = [p for p in dict.fromkeys((pair, pair[::-1])) if p in files]
        if len(given) != 1:
            found = "none" if not given else "both orders"
            raise SpectrumError(f"rotation: expected one table of {pair[0]} x {pair[1]}, found {found}")
        table = _table(files[given[0]])
        if given[0] != pair:
            table["eb"], table["be"] = table["be"], table["eb"]
        tables[a, b] = table
    ells = tables[0, 0]["ell"]
    out = {pair: np.empty((n, n, len(ells))) for pair in ("ee", "bb", "eb")}
    for (a, b), table in tables.items():
        if not np.array_equal(table["ell"], ells):
            raise SpectrumError(
                f"rotation: {maps[a]} x {maps[b]} has other multipoles than {maps[0]} x {maps[0]}"
            )
        out["ee"][a, b] = out["ee"][b, a] = table["ee"]
        out["bb"][a, b] = out["bb"][b, a] = table["bb"]
        out["eb"][b, a], out["eb"][a, b] = table["be"], table["eb"]
    return ChannelSpectra(tuple(maps), ells, 2 * ells + 1, **out)


def _table(path: Path) -> dict[str, Array]:
    with reading(path, "a table of spectra with a line of names: ell EE BB EB BE", SpectrumError):
        raw = path.read_bytes()
        lines = (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode().splitlines()
        names = lines[0].lstrip("# ").replace(",", " ").lower().split()
        if missing := [name for name in ("ell", *_NEEDED) if names.count(name) != 1]:
            raise SpectrumError(f"{path}: expected one column {missing[0]}, found {', '.join(names)}")
        values = np.array([line.replace(",", " ").split() for line in lines[1:] if line.strip()], dtype=float)
        table = {name: values[:, names.index(name)] for name in ("ell", *_NEEDED)}
    if not np.isfinite(values).all() or not (np.diff(table["ell"]) == 1).all():
        raise SpectrumError(f"{path}: expected finite numbers, one row for each multipole in order")
    return table


@dataclass(frozen=True)
class ChannelSettings:
    """What the spectra do not say.

    Attributes
    ----------
    channels : mapping of str to str
        Map to the channel whose angle it has.
    f_sky : float
        Share of the sky that the number of modes is counted with.
    auto : bool
        Use spectra of a map with itself too: noise without EB.
    alpha_deg : float
        Error [deg] that all detectors' angles have in common.
    alpha_own_deg : float
        That of each channel alone.
    """

    channels: Mapping[str, str]
    f_sky: float
    auto: bool = False
    alpha_deg: float = 0.0
    alpha_own_deg: float = 0.0

    def __post_init__(self) -> None:
        if min(self.alpha_deg, self.alpha_own_deg) < 0:
            raise LikelihoodError("rotation: expected errors of the detectors' angles of at least 0")


def fit_channels(spectra: ChannelSpectra, settings: ChannelSettings) -> dict[str, Any]:
    """Fit an angle to each channel; JSON-able.

    Returns
    -------
    dict
        ``channels``: name to ``angle`` and ``error`` [deg] of alpha + beta; ``covariance`` [deg^2]; ``chi2``, ``n_data``,
        ``pte`` at the best angles and ``chi2_at_zero``; ``f_sky_of_scatter``, with which chi2 would be its expectation; ``common``: one angle for all, with ``chi2``, ``dof`` and ``pte`` of the
        channels' scatter about it; ``beta``: what is left of it under the errors of the detectors' angles; ``published``.

    Raises
    ------
    LikelihoodError
        If a map has no channel, or the data do not constrain the angles.
    """
    if set(settings.channels) != set(spectra.maps):
        raise LikelihoodError(
            f"rotation: expected a channel for each of {', '.join(spectra.maps)}, found {', '.join(settings.channels)}"
        )
    names = list(dict.fromkeys(settings.channels[m] for m in spectra.maps))
    ee, bb, eb = (torch.from_numpy(np.ascontiguousarray(x)) for x in (spectra.ee, spectra.bb, spectra.eb))
    likelihood = ChannelLikelihood(
        ee,
        bb,
        eb,
        torch.from_numpy(spectra.ells),
        settings.f_sky,
        auto=settings.auto,
        smooth=2 * round(_SMOOTH / 2 / (spectra.ells[1] - spectra.ells[0])) + 1,
        modes=torch.from_numpy(spectra.modes),
        channel=[names.index(settings.channels[m]) for m in spectra.maps],
    )
    angle, covariance = likelihood.fit()
    n, zero = len(names), torch.zeros(1, dtype=torch.float64)
    both = torch.stack([angle, torch.zeros_like(angle)])
    chi2, chi2_zero = (-2 * likelihood.log_prob(both, zero.expand(2))).tolist()
    alone, sigma = beta_from_angles(angle, covariance, torch.zeros_like(covariance))
    scatter = angle - alone
    spread = float(scatter @ torch.linalg.solve(covariance, scatter))
    prior = torch.full((n, n), settings.alpha_deg**2, dtype=torch.float64)
    prior += torch.eye(n, dtype=torch.float64) * settings.alpha_own_deg**2
    beta, error = beta_from_angles(angle, covariance, prior)
    size = likelihood.n_data
    return {
        "channels": {
            name: {"angle": a, "error": e}
            for name, a, e in zip(names, angle.tolist(), covariance.diagonal().sqrt().tolist(), strict=True)
        },
        "covariance": covariance.tolist(),
        "ell": [float(spectra.ells[0]), float(spectra.ells[-1])],
        "f_sky": settings.f_sky,
        "n_data": size,
        "chi2": chi2,
        "pte": float(stats.chi2.sf(chi2, size - n)),
        "chi2_at_zero": chi2_zero,
        "f_sky_of_scatter": settings.f_sky * (size - n) / chi2,
        "common": {
            "angle": alone,
            "error": sigma,
            "chi2": spread,
            "dof": n - 1,
            "pte": float(stats.chi2.sf(spread, n - 1)) if n > 1 else None,
        },
        "beta": {
            "value": beta,
            "error": error,
            "alpha_deg": settings.alpha_deg,
            "alpha_own_deg": settings.alpha_own_deg,
        },
        "published": [
            {"name": name, "value": value, "error": e, "source": source}
            for name, value, e, source in PUBLISHED
        ],
        "note": "each angle is that of the detectors plus beta, and holds what EB foregrounds have",
    }
