"""What -2 Delta ln L means, measured: intervals of Feldman & Cousins (1998, Phys. Rev. D 57, 3873) with profiled parameters.

At each value of a parameter data are simulated around the best fit there (the profile construction), and
t = -2 ln [L(value, others refitted)/L(best fit)] is computed of each as of the real data. The value belongs to an interval of
confidence 1 - alpha if more than alpha of the skies have a larger t. Wilks's theorem, t < 1 and < 3.84, holds far from walls;
where a wall or a weak signal bends it, this does not care. What is simulated is what is folded: whitened bandpowers of unit
noise, measurements of parameters, and the measurements that normal priors stand for. A table of ln L (SimAll's) is of the
observed sky alone, and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cmbfit.errors import LikelihoodError, ParameterError
from cmbfit.inference.ascent import Function, maximise
from cmbfit.inference.profile import Profile
from cmbfit.likelihood.few_log_likelihood import FewFolded
from cmbfit.likelihood.few_points import MOST, FewPoints, few_points
from cmbfit.likelihood.posterior import Posterior

ALPHA = {"68": 0.3173, "95": 0.05}


class Repeatable(Protocol):
    """An experiment that can be done again."""

    def repeat(
        self,
        points: np.ndarray,  # shape: (n, n_parameters)
        rng: np.random.Generator,
    ) -> Function:
        """Return ln (L prior) and its gradient of n data sets, one simulated at each point."""
        ...


class Skies:
    """A folded posterior whose data can be simulated; see :class:`Repeatable`.

    Raises
    ------
    LikelihoodError
        If it is not folded, or has data that are no numbers with a known noise.
    """

    def __init__(self, posterior: Posterior) -> None:
        few = few_points(posterior)
        log_like = None if few is None else few.log_likelihood
        if few is None or not isinstance(log_like, FewFolded):
            raise LikelihoodError(
                "Feldman-Cousins intervals: expected a folded posterior of Gaussian bandpowers and measured parameters; "
                f"found one that is not ({posterior.not_folded or 'other data sets or theories'})"
            )
        if log_like.tables:
            raise LikelihoodError(
                f"{log_like.tables[0]}: a table of ln L is of the observed sky alone, and no other can be simulated; take a "
                "Gaussian data set in its place (tau_lowe for low-l EE)"
            )
        if log_like.with_distances:
            raise LikelihoodError(
                "Feldman-Cousins intervals: no other skies of galaxies and supernovae are simulated"
            )
        self._prior, self._log_like = few.prior, log_like

    def repeat(self, points: np.ndarray, rng: np.random.Generator) -> Function:  # noqa: D102 (the protocol's)
        theta = np.ascontiguousarray(points.T)
        parts, direct = self._log_like.model(theta)
        targets = [x + rng.standard_normal(x.shape) for x in parts]
        measured = [
            x + std * rng.standard_normal(x.shape)
            for x, (_, _, std) in zip(direct, self._log_like._direct, strict=True)
        ]
        prior = self._prior.around(theta, rng)

        def function(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            value, gradient = np.empty(len(x)), np.empty_like(x)
            for start in range(0, len(x), MOST):  # what stays in a core's cache
                some = slice(start, start + MOST)
                data = self._log_like.with_data(
                    [t[:, rows[some]] for t in targets], [m[rows[some]] for m in measured]
                )
                here = FewPoints(prior.of_rows(rows[some]), data)
                value[some], gradient[some] = here.several(np.ascontiguousarray(x[some].T))
            return value, gradient

        return function


@dataclass(frozen=True)
class Confidence:
    """How often simulated skies are further from a value than the data are.

    Attributes
    ----------
    values : numpy.ndarray, shape (n,)
    observed : numpy.ndarray, shape (n,)
        -2 Delta ln L of the data.
    p_values : numpy.ndarray, shape (n,)
        Share of skies with a larger one.
    critical : mapping of str to numpy.ndarray, shape (n,)
        By confidence level ("68", "95"): what -2 Delta ln L must exceed for the value to be excluded; Wilks has 1 and 3.84.
    skies : int
        At each value.
    failed : float
        Share of refits that did not converge.
    """

    values: np.ndarray
    observed: np.ndarray
    p_values: np.ndarray
    critical: dict[str, np.ndarray]
    skies: int
    failed: float

    def interval(self, level: str) -> tuple[float | None, float | None]:
        """Return the outermost values that are not excluded, between grid points by interpolation; None where the grid ends."""
        excess = self.observed - self.critical[level]
        inside = np.flatnonzero(excess <= 0)
        if not len(inside):
            return None, None
        out: list[float | None] = []
        for edge, outside in ((inside[0], inside[0] - 1), (inside[-1], inside[-1] + 1)):
            if not 0 <= outside < len(excess):
                out.append(None)
                continue
            share = excess[edge] / (excess[edge] - excess[outside])
            out.append(float(self.values[edge] + share * (self.values[outside] - self.values[edge])))
        return out[0], out[1]

    def record(self) -> dict[str, Any]:
        """Return it, JSON-able."""
        return {
            "values": self.values.tolist(),
            "observed": self.observed.tolist(),
            "p_values": self.p_values.tolist(),
            "critical": {level: x.tolist() for level, x in self.critical.items()},
            "intervals": {level: list(self.interval(level)) for level in self.critical},
            "skies": self.skies,
            "failed": self.failed,
        }


def feldman_cousins(
    experiment: Repeatable,
    found: Profile,
    walls: tuple[np.ndarray, np.ndarray],
    covariance: np.ndarray,
    rng: np.random.Generator,
    *,
    skies: int = 400,
    values: int = 21,
) -> Confidence:
    """Simulate and refit data at values of a profile.

    Parameters
    ----------
    experiment : Repeatable
    found : Profile
        Of the real data.
    walls : pair of numpy.ndarray, shapes (n_parameters,)
        Of the fits.
    covariance : numpy.ndarray, shape (n_parameters, n_parameters)
        Rough; where the refits' curvature starts.
    rng : numpy.random.Generator
    skies : int
        At each value; p is known to sqrt(p (1 - p)/skies).
    values : int
        Of the profile's grid, at most, evenly spaced.

    Raises
    ------
    ParameterError
        If there are fewer than 50 skies.
    """
    if skies < 50:
        raise ParameterError(f"skies: expected at least 50, found {skies}")
    chosen = np.unique(
        np.linspace(0, len(found.values) - 1, min(values, len(found.values))).round().astype(int)
    )
    truth = np.repeat(found.points[chosen], skies, axis=0)
    function = experiment.repeat(truth, rng)
    held = np.array([p == found.parameter for p in found.parameters])
    at_value = maximise(function, truth, walls, covariance, held)
    # the free fit goes on from the fit at the value, and never ends below it
    free = maximise(function, at_value.points, walls, covariance, np.zeros_like(held))
    t = np.maximum(2 * (free.values - at_value.values), 0.0).reshape(len(chosen), skies)
    observed = found.delta_chi2[chosen]
    return Confidence(
        found.values[chosen],
        observed,
        (t >= observed[:, None]).mean(1),
        {level: np.quantile(t, 1 - alpha, axis=1) for level, alpha in ALPHA.items()},
        skies,
        float(1 - (at_value.done & free.done).mean()),
    )
