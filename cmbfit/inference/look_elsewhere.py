"""Search for oscillations of P(k) at every frequency, and how large its best improvement is by chance.

D_l is linear in P(k), so P0 [1 + A cos(w u(k) + phase)] adds y_1 F_1(w) + y_2 F_2(w) to the data, with
(y_1, y_2) = A (cos phase, -sin phase). With the other parameters' directions projected out, the best fit at each w
is a quadratic form of two numbers, and a simulated sky costs one row of a matrix product: thousands of skies at
thousands of frequencies are fitted in seconds, exactly but for the curvature in the other parameters.

The maximum over a frequency has no chi-square distribution, its simulation has no free choices; Gross & Vitells 2010
(arXiv:1005.1891) extend it to chances below one in the number of simulations by counting up-crossings of a
low level: P(max > c) <= P(chi2_2 > c) + <N(c0)> (c / c0)^(1/2) exp(-(c - c0)/2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import ParameterError
from cmbfit.inference.comparison import look_elsewhere
from cmbfit.inference.linear_model import LinearModel
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.model import LOG_A, NS

_NEEDED = ("amplitude", "log10_omega", "phase")
_TEMPLATES = 200  # frequencies whose templates are in memory at once
_SKIES = 500
_BINS = 80
_SIZES, _PHASES = 64, 96  # of the integrals over amplitude and phase
_SECULAR_STEPS = 30  # Newton's steps for the best fit on the circle A = A_max; it converges in under ten


@dataclass(frozen=True)
class FrequencyFits:
    """Best fits of a batch of data sets at each frequency.

    Attributes
    ----------
    improvement : torch.Tensor, shape (batch, n_frequencies)
        -delta chi2 >= 0 of the amplitude and phase.
    amplitude, phase : torch.Tensor, shape (batch, n_frequencies)
        0 <= A <= A_max; phase in [0, 2 pi).
    """

    improvement: torch.Tensor
    amplitude: torch.Tensor
    phase: torch.Tensor


class FrequencySearch(OnDevice):
    """All fits of one oscillating model on a grid of frequencies.

    Parameters
    ----------
    model : LinearModel
        Data around the best fit without oscillations.
    response : torch.Tensor, shape (n, n_k)
        From :func:`~cmbfit.inference.linear_model.power_response`.
    k : torch.Tensor, shape (n_k,)
        [1/Mpc].
    name : str
        A primordial model of amplitude, log10_omega and phase (``oscillation_log``, ``oscillation_linear``);
        its other parameters keep their defaults.
    frequencies : torch.Tensor, shape (n_frequencies,)
        omega, ascending.
    amplitude_max : float
        Edge of the prior of A.

    Raises
    ------
    ParameterError
        If the model has no amplitude, frequency and phase, or the frequencies do not ascend.
    """

    def __init__(
        self,
        model: LinearModel,
        response: torch.Tensor,
        k: torch.Tensor,
        name: str,
        frequencies: torch.Tensor,
        amplitude_max: float = 0.5,
    ) -> None:
        primordial = get_model(name)
        if missing := [p for p in _NEEDED if p not in primordial.parameter_names]:
            raise ParameterError(
                f"look-elsewhere: {name} has no {', '.join(missing)}; take an oscillating model"
            )
        if len(frequencies) < 2 or not bool((frequencies.diff() > 0).all()) or not frequencies[0] > 0:
            raise ParameterError("look-elsewhere: expected at least two frequencies > 0 that ascend")
        if not 0 < amplitude_max < 1:
            raise ParameterError(f"look-elsewhere: P > 0 needs 0 < A < 1, found A_max = {amplitude_max}")
        self.name, self.amplitude_max = name, amplitude_max
        self.frequencies = frequencies
        smooth = {p: model.point[p] for p in (LOG_A.name, NS.name) if p in model.point}
        column = primordial.parameter_names.index("log10_omega")
        basis, _ = torch.linalg.qr(model.jacobian)
        without = primordial.power(k, primordial.point({**smooth, "amplitude": 0.0}))
        projected = []
        for omega in frequencies.split(_TEMPLATES):
            both = []
            for phase in (0.0, 1.5 * math.pi):  # cos and sin
                theta = primordial.point({**smooth, "amplitude": 0.5, "phase": phase}).repeat(len(omega), 1)
                theta[:, column] = omega.log10()
                both.append((primordial.power(k, theta) - without) / 0.5 @ response.T)  # shape: (chunk, n)
            rows = torch.stack(both, 1)  # shape: (chunk, 2, n)
            projected.append(rows - (rows @ basis) @ basis.T)
        templates = torch.cat(projected)  # shape: (n_frequencies, 2, n)
        stiffness, self._rotation = torch.linalg.eigh(templates @ templates.mT)
        self._stiffness = stiffness.clamp(min=1e-30)  # shape: (n_frequencies, 2)
        self._rows = self._rotation.mT @ templates  # shape: (n_frequencies, 2, n), orthogonal pairs

    @property
    def sigma_amplitude(self) -> torch.Tensor:
        """Error of A at each frequency, the mean over phases in inverse variance; shape (n_frequencies,)."""
        return self._stiffness.mean(1).rsqrt()

    def template(self, index: int) -> torch.Tensor:
        """Return the projected imprints of cos and sin of unit amplitude at one frequency, shape (2, n)."""
        return self._rotation[index] @ self._rows[index]

    def fits(
        self,
        residuals: torch.Tensor,  # shape: (batch, n)
    ) -> FrequencyFits:
        """Fit amplitude and phase at every frequency to whitened residuals."""
        slope = torch.einsum("wcn,bn->bwc", self._rows, residuals)
        y = slope / self._stiffness
        beyond = y.norm(dim=-1) > self.amplitude_max
        if bool(beyond.any()):
            y[beyond] = self._on_the_circle(slope[beyond], self._stiffness.expand_as(slope)[beyond])
        improvement = (2 * slope * y - self._stiffness * y**2).sum(-1)
        turned = torch.einsum("wij,bwj->bwi", self._rotation, y)
        phase = torch.atan2(-turned[..., 1], turned[..., 0]).remainder(2 * math.pi)
        return FrequencyFits(improvement, y.norm(dim=-1), phase)

    def log_bayes(
        self,
        residual: torch.Tensor,  # shape: (n,)
    ) -> torch.Tensor:  # shape: (n_frequencies,)
        """Return ln of the Bayes factor against no oscillation at each frequency: flat amplitude and phase.

        B(w) = int_0^A_max dA/A_max int dphi/2pi exp(-delta chi2/2), by Gauss-Legendre in A and equal steps in phi.
        """
        slope = torch.einsum("wcn,n->wc", self._rows, residual)
        # beyond six errors from the best fit nothing is left, in the softer direction
        reach = (slope / self._stiffness).norm(dim=1) + 6 * self._stiffness.amin(1).rsqrt()
        top = reach.clamp(max=self.amplitude_max)
        nodes, weights = (
            torch.from_numpy(x).to(residual.device) for x in np.polynomial.legendre.leggauss(_SIZES)
        )
        angle = torch.arange(_PHASES, dtype=torch.float64, device=residual.device) * (2 * math.pi / _PHASES)
        unit = torch.stack([torch.cos(angle), torch.sin(angle)])  # shape: (2, phases)
        size = 0.5 * top[:, None] * (1 + nodes)  # shape: (w, sizes)
        linear, square = slope @ unit, self._stiffness @ unit.square()  # shape: (w, phases)
        exponent = size[..., None] * linear[:, None] - 0.5 * size.square()[..., None] * square[:, None]
        mean = torch.logsumexp(exponent, 2) - math.log(_PHASES) + torch.log(0.5 * weights)
        return torch.logsumexp(mean, 1) + torch.log(top / self.amplitude_max)

    def _on_the_circle(self, slope: torch.Tensor, stiffness: torch.Tensor) -> torch.Tensor:
        """Maximise 2 s.y - y.h.y on |y| = A_max: y = s / (h + t), with t from |y(t)| = A_max; shape (n, 2).

        1/|y(t)| is almost a straight line, on which Newton's method converges from t = 0 (More & Sorensen 1983).
        """
        t = torch.zeros_like(slope[:, :1])
        for _ in range(_SECULAR_STEPS):
            y = slope / (stiffness + t)
            size = y.norm(dim=1, keepdim=True)
            shrink = (y**2 / (stiffness + t)).sum(1, keepdim=True) / size
            t = t + (size / self.amplitude_max - 1) * size / shrink
        return slope / (stiffness + t)

    def simulate(
        self,
        skies: torch.Tensor,  # shape: (n_skies, n)
        level: float = 2.0,
    ) -> tuple[torch.Tensor, float]:
        """Return the largest improvement in each sky, and the mean number of up-crossings of `level`.

        Parameters
        ----------
        skies : torch.Tensor, shape (n_skies, n)
            Whitened noise; in whitened units every LCDM sky's residual is one.
        level : float
        """
        largest, crossings = [], 0
        for rows in skies.split(_SKIES):
            x = self.fits(rows).improvement
            largest.append(x.amax(1))
            crossings += int(((x[:, 1:] > level) & (x[:, :-1] <= level)).sum())
        return torch.cat(largest), crossings / len(skies)


def gross_vitells(observed: float, crossings: float, level: float) -> float:
    """Return the bound on P(max > observed) from the mean number of up-crossings of `level`, for two amplitudes."""
    rate = crossings * math.sqrt(observed / level) * math.exp(-(observed - level) / 2)
    return min(1.0, math.exp(-observed / 2) + rate)


def averaged_bayes(log_bayes: torch.Tensor, frequencies: torch.Tensor) -> float:
    """Return ln of the Bayes factor under a prior flat in ln(frequency) over the grid's range."""
    x = torch.log(frequencies)
    top = log_bayes.max()
    return float(top + torch.log(torch.trapezoid(torch.exp(log_bayes - top), x) / (x[-1] - x[0])))


def search_record(
    searches: list[FrequencySearch],
    model: LinearModel,
    n_skies: int,
    rng: np.random.Generator,
    level: float = 2.0,
) -> dict[str, Any]:
    """Search the data and simulated skies for every model; JSON-able, what only figures need under ``curves``.

    The same skies serve every model, so the maximum over models is that of one search for all of them.

    Parameters
    ----------
    searches : list of FrequencySearch
    model : LinearModel
    n_skies : int
    rng : numpy.random.Generator
    level : float
        Of the up-crossings.
    """
    device = searches[0].frequencies.device
    skies = torch.from_numpy(rng.standard_normal((n_skies, len(model.residual)))).to(device)
    residual = model.residual.to(device)[None]
    models: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    together = torch.zeros(n_skies, dtype=torch.float64, device=device)
    for search in searches:
        fit = search.fits(residual)
        largest, crossings = search.simulate(skies, level)
        together = torch.maximum(together, largest)
        bayes = search.log_bayes(residual[0])
        best = int(fit.improvement[0].argmax())
        observed = float(fit.improvement[0, best])
        maxima = largest.cpu().numpy()
        count, edges = np.histogram(maxima, bins=_BINS)
        curves[search.name] = {
            "omega": search.frequencies.tolist(),
            "improvement": fit.improvement[0].tolist(),
            "amplitude": fit.amplitude[0].tolist(),
            "sigma_amplitude": search.sigma_amplitude.tolist(),
            "log_bayes": bayes.tolist(),
            "maxima": {"edges": edges.tolist(), "count": count.tolist()},
        }
        models[search.name] = {
            "best": {
                "improvement": observed,
                "omega": float(search.frequencies[best]),
                "amplitude": float(fit.amplitude[0, best]),
                "phase": float(fit.phase[0, best]),
            },
            "ln_b": averaged_bayes(bayes, search.frequencies),
            "local_p": math.exp(-observed / 2),
            "global": vars(look_elsewhere(observed, maxima)),
            "largest_by_chance": dict(
                zip(("median", "p95"), np.percentile(maxima, (50, 95)).tolist(), strict=True)
            ),
            "upcrossings": {"level": level, "mean": crossings},
            "gross_vitells_p": gross_vitells(observed, crossings, level),
        }
    observed = max(m["best"]["improvement"] for m in models.values())
    everything = together.cpu().numpy()
    return {
        "n_data": model.n_bandpowers,
        "chi2": float(model.residual.square().sum()),
        "parameters": dict(model.point),
        "amplitude_max": searches[0].amplitude_max,
        "simulations": n_skies,
        "models": models,
        "all_models": {"improvement": observed, "global": vars(look_elsewhere(observed, everything))},
        "curves": curves,
    }
