"""The rotation angle from measured bandpowers of EB and TB, however weak.

EB follows sin 4b and TB sin 2b, which repeat: EB alone decides within 22.5 degrees of zero, with TB within 45. Beyond,
E and B trade places or TE changes sign, which no map shows. Where polarisation is mostly noise the likelihood is
neither narrow nor normal within this range: it is computed on a grid, and what is quoted is the shortest region
that holds a given share under a flat prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import special
from scipy.ndimage import gaussian_filter1d

from cmbfit.errors import LikelihoodError
from cmbfit.sky.maps import Array
from cmbfit.spectra.product import Bandpowers
from cmbfit.theory.birefringence.rotation import PUBLISHED, rotate_spectra

_STEPS = (1e-3, 0.05)  # finest and coarsest grid, degrees: an eighth of the error in between
_LIMIT = {"eb": 22.5, "tb": 45.0}  # degrees within which the sine of each determines the angle


@dataclass(frozen=True)
class AnglePosterior:
    """Density of an angle on a grid.

    Attributes
    ----------
    beta_deg : ndarray, shape (n,)
        Evenly spaced over the prior's range.
    density : ndarray, shape (n,)
        Per degree.
    """

    beta_deg: Array
    density: Array

    @property
    def step(self) -> float:
        """Spacing of the grid [deg]."""
        return float(self.beta_deg[1] - self.beta_deg[0])

    @property
    def best(self) -> float:
        """The likeliest angle [deg]."""
        return float(self.beta_deg[self.density.argmax()])

    def threshold(self, share: float) -> float:
        """Return the density above which `share` of the probability lies."""
        ordered = np.sort(self.density)[::-1]
        count = int(np.searchsorted(np.cumsum(ordered) / ordered.sum(), share))
        return float(ordered[min(count, len(ordered) - 1)])

    def region(self, share: float) -> list[tuple[float, float]]:
        """Return the intervals [deg] of highest density that hold `share`."""
        inside = np.concatenate([[False], self.density >= self.threshold(share), [False]])
        first, last = np.flatnonzero(inside[1:] & ~inside[:-1]), np.flatnonzero(inside[:-1] & ~inside[1:]) - 1
        return [(float(self.beta_deg[i]), float(self.beta_deg[j])) for i, j in zip(first, last, strict=True)]

    def width(self, share: float) -> float:
        """Return the total length of :meth:`region` [deg]; `share` of the range is what no data at all give."""
        return float((self.density >= self.threshold(share)).sum() * self.step)

    def blurred(self, sigma_deg: float) -> AnglePosterior:
        """Return the density after a Gaussian error of `sigma_deg` more, such as that of the detectors' angles."""
        if sigma_deg == 0:
            return self
        density = gaussian_filter1d(self.density, sigma_deg / self.step, mode="nearest")
        return AnglePosterior(self.beta_deg, density / (density.sum() * self.step))


class BandpowerRotation:
    """Likelihood of one angle from a spectrum product.

    Parameters
    ----------
    bandpowers : Bandpowers
    theory : mapping of str to ndarray
        te, ee and bb (absent: zero) without rotation, D_l from l = 0 [uK^2], lensed.
    pairs : sequence of str
        Among eb and tb. Each is the mean of both orders of the maps.

    Raises
    ------
    LikelihoodError
        If no pair or another pair is asked for, or the theory lacks te or ee.
    """

    def __init__(
        self, bandpowers: Bandpowers, theory: Mapping[str, Array], pairs: Sequence[str] = ("eb", "tb")
    ) -> None:
        if not pairs or set(pairs) - set(_LIMIT):
            raise LikelihoodError(f"rotation: expected pairs among eb and tb, found {list(pairs)}")
        if missing := [p for p in ("te", "ee") if p not in theory]:
            raise LikelihoodError(f"rotation: the theory lacks {', '.join(missing)}")
        data = bandpowers.combined()
        self.pairs = tuple(pairs)
        self.limit = max(_LIMIT[p] for p in pairs)
        index = np.concatenate([data.names.index(p) * data.n + np.arange(data.n) for p in pairs])
        self.data = np.concatenate([data.values[p] for p in pairs])
        self.covariance = data.covariance[np.ix_(index, index)]
        self.edges = data.edges
        # EB and TB follow sin 4b and sin 2b, with EB and TB themselves absent before the rotation: bin them once
        given = {p: torch.from_numpy(np.ascontiguousarray(theory[p]))[None] for p in ("te", "ee")}
        bb = theory.get("bb")
        given["bb"] = (
            torch.zeros_like(given["ee"]) if bb is None else torch.from_numpy(np.ascontiguousarray(bb))[None]
        )
        unit = {"eb": math.pi / 8, "tb": math.pi / 4}  # where the sines are one
        self._factor = np.array([4 if pair == "eb" else 2 for pair in pairs])
        self._shape = np.zeros((len(pairs), len(self.data)))
        for i, pair in enumerate(pairs):
            turned = rotate_spectra(given, torch.tensor([[unit[pair]]], dtype=torch.float64))
            here = slice(i * data.n, (i + 1) * data.n)
            self._shape[i, here] = data.theory({pair: turned[pair][0].numpy()})[pair]
        self._weighted = np.linalg.solve(self.covariance, self._shape.T)  # shape: (n_data, n_pairs)

    def _sines(self, beta_deg: Array) -> Array:  # shape: (n_angles, n_pairs)
        return np.sin(self._factor * np.deg2rad(np.atleast_1d(beta_deg))[:, None])

    def model(self, beta_deg: Array) -> Array:  # shape: (n_angles, n_data)
        """Return the expected bandpowers at angles, shape (n_angles,)."""
        return self._sines(beta_deg) @ self._shape

    def chi2(self, beta_deg: Array, data: Array | None = None) -> Array:  # shape: (n_angles,)
        """Return chi2 at angles; of other `data` (n_data,) if given."""
        d = self.data if data is None else data
        s = self._sines(beta_deg)
        gram = self._shape @ self._weighted
        constant = float(d @ np.linalg.solve(self.covariance, d))
        return constant - 2 * s @ (d @ self._weighted) + np.einsum("ai,ij,aj->a", s, gram, s)

    def posterior(self, data: Array | None = None) -> AnglePosterior:
        """Return the posterior of the angle under a flat prior within `limit` degrees."""
        slope = np.deg2rad(self._factor)  # of the sines at zero, per degree
        sigma = float(slope @ self._shape @ self._weighted @ slope) ** -0.5
        half = round(self.limit / min(max(sigma / 8, _STEPS[0]), _STEPS[1]))
        grid = np.linspace(-self.limit, self.limit, 2 * half + 1)
        step = self.limit / half
        chi2 = self.chi2(grid, data)
        density = np.exp(-0.5 * (chi2 - chi2.min()))
        return AnglePosterior(grid, density / (density.sum() * step))

    def coverage(self, share: float, n: int, rng: np.random.Generator) -> float:
        """Return how often the region of `share` holds the truth, for truths from the prior: `share` if all is right."""
        truths = rng.uniform(-self.limit, self.limit, n)
        noise = rng.standard_normal((n, len(self.data))) @ np.linalg.cholesky(self.covariance).T
        hits = 0
        for truth, data in zip(truths, self.model(truths) + noise, strict=True):
            found = self.posterior(data)
            nearest = int(np.abs(found.beta_deg - truth).argmin())
            hits += bool(found.density[nearest] >= found.threshold(share))
        return hits / n


def rotation_record(
    likelihood: BandpowerRotation, calibration_deg: float, n: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Measure the angle of a product and how well its regions hold; JSON-able, what only the figure needs under ``curves``.

    Parameters
    ----------
    likelihood : BandpowerRotation
    calibration_deg : float
        Error of the detectors' common angle: the CMB alone measures its sum with beta.
    n : int
        Simulated bandpowers for the coverage.
    rng : numpy.random.Generator
    """
    total = likelihood.posterior()
    beta = total.blurred(calibration_deg)
    chi2 = likelihood.chi2(np.array([0.0, total.best]))
    dof = len(likelihood.data)
    width = beta.width(0.68)
    mean = float((beta.beta_deg * beta.density).sum() * beta.step)
    return {
        "pairs": list(likelihood.pairs),
        "ell": [likelihood.edges[0], likelihood.edges[-1] - 1],
        "n_data": dof,
        "calibration_deg": calibration_deg,
        "best": beta.best,
        "region_68": beta.region(0.68),
        "region_95": beta.region(0.95),
        "width_68": width,
        "width_68_without_data": 0.68 * 2 * likelihood.limit,
        "limit_deg": likelihood.limit,
        "std": float(np.sqrt(((beta.beta_deg - mean) ** 2 * beta.density).sum() * beta.step)),
        "ln_b_none": float(np.log(beta.density[len(beta.density) // 2] * 2 * likelihood.limit)),
        "chi2_with": float(chi2[1]),
        "chi2_without": _least_without(likelihood, total.beta_deg, calibration_deg),
        "constrained": bool(beta.width(0.95) < likelihood.limit),
        "chi2_at_zero": float(chi2[0]),
        "pte_at_zero": float(special.chdtrc(dof, chi2[0])),
        "improvement": float(chi2[0] - chi2[1]),
        "coverage_68": {"share": likelihood.coverage(0.68, n, rng), "simulations": n},
        "published": [
            {"name": name, "value": value, "error": error, "source": source}
            for name, value, error, source in PUBLISHED
        ],
        "curves": {"beta_deg": beta.beta_deg.tolist(), "density": beta.density.tolist()},
    }


def _least_without(likelihood: BandpowerRotation, angles: Array, calibration_deg: float) -> float:
    """Return the least chi2 with the detectors' angles alone, their Gaussian prior included."""
    if calibration_deg == 0:
        return float(likelihood.chi2(np.zeros(1))[0])
    return float((likelihood.chi2(angles) + (angles / calibration_deg) ** 2).min())
