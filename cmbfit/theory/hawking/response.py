"""What evaporating holes do to the spectra, learned from Boltzmann runs and put on any LCDM theory.

For each mass the effects of :mod:`~cmbfit.theory.hawking.injection_runs` are a few components of the
optical depth that the holes add,

    D_l = D_l^base + N_l sum_j c_j b_j(l),   c_j = Delta tau sum_t C_jt P_t,   Delta tau = x exp(sum_t A_t P_t),

with x the fraction over its largest, and P_t = 1, u, u^2, t_i, u t_i, t_tau^2 of u = ln(x + 0.01) and the scaled
cosmology t: recombinations undo ionisation, so that the effect grows slower than x. Without holes the
spectra are those of the base theory to the last bit. The norm N_l is D_l^base (sqrt(D^TT D^EE) for TE), and
up to l = 40, where EE itself is made by reionisation, the scalar amplitude. Components weigh multipoles by
cosmic variance; those of the low multipoles are apart: the bump of EE there breaks the degeneracy with the
amplitude, but is a few multipoles among thousands.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import ConfigError, DataError, ParameterError
from cmbfit.io import atomic_buffer, parse_json, reading
from cmbfit.shipped import read_shipped
from cmbfit.theory.base import Checked, Theory, check_box
from cmbfit.theory.parameters import LCDM
from cmbfit.theory.spectra import CMB_PAIRS, Spectra

if TYPE_CHECKING:  # needs CAMB, which fits do not
    from cmbfit.theory.hawking.injection_runs import InjectionRuns

FRACTION = "f_pbh"
"""The parameter: fraction of the dark matter in holes, times the share of their energy that is deposited."""

_RIDGES = (1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_LINEAR = 0.01  # fractions below this share of the largest act linearly
_LOW_MAX = 40
_LOG_A = 3.044
_ACTING = [
    LCDM.index(p) for p in ("ombh2", "omch2", "tau")
]  # the others move the effect by less than its error
_SMALL = 0.05
_N_TERMS = 4 + 2 * len(_ACTING)


@dataclass(frozen=True)
class Response:
    """The effect of holes of one mass.

    Attributes
    ----------
    mass : float
        Grams.
    box : mapping of str to (float, float)
        LCDM's parameters and :data:`FRACTION`.
    basis : numpy.ndarray, shape (n_components, 4, lmax + 1), float32
        In the order of :data:`~cmbfit.theory.spectra.CMB_PAIRS`.
    coefficients : numpy.ndarray, shape (n_terms, n_components + 1)
        C, and in the last column A.
    error : mapping of str to float
        Measured at cosmologies left out of the fit (but for the components), as 99th percentile over runs
        and multipoles: pair:
        |D - D_CLASS| in units of cosmic variance; "relative": the same over the effect's own 99th percentile;
        "low_ee": of ee at l = 2 to 40, relative to the largest of the run there.
    """

    mass: float
    box: Mapping[str, tuple[float, float]]
    basis: np.ndarray
    coefficients: np.ndarray
    error: Mapping[str, float]


def _terms(theta: torch.Tensor, box: Mapping[str, tuple[float, float]]) -> torch.Tensor:
    """Return 1, u, u^2, t_i, u t_i and the optical depth's t^2, shape (batch, n_terms)."""
    limits = list(box.values())
    t = torch.stack(
        [2 * (theta[:, i] - limits[i][0]) / (limits[i][1] - limits[i][0]) - 1 for i in _ACTING], dim=1
    )
    u = torch.log(theta[:, -1:] / limits[-1][1] + _LINEAR)
    return torch.cat([torch.ones_like(u), u, u**2, t, u * t, t[:, -1:] ** 2], dim=1)


def _norms(
    dl: Mapping[str, torch.Tensor],  # each of shape (batch, lmax + 1)
    amplitude: torch.Tensor,  # shape: (batch,)
) -> dict[str, torch.Tensor]:
    """Return N_l of each pair, shape (batch, lmax + 1)."""
    scalar = torch.exp(amplitude - _LOG_A)[:, None]
    out = {}
    for pair in (p for p in CMB_PAIRS if p in dl):
        norm = (dl["tt"] * dl["ee"]).clamp(min=0).sqrt() if pair == "te" else dl[pair]
        if pair != "bb":
            norm = torch.cat([scalar.expand(-1, _LOW_MAX + 1), norm[:, _LOW_MAX + 1 :]], dim=1)
        out[pair] = norm
    return out


def _cosmic_variance(dl: Mapping[str, torch.Tensor]) -> np.ndarray:
    """Return sigma of one full-sky multipole, shape (batch, 4, lmax + 1); infinite below l = 2."""
    ell = torch.arange(dl["tt"].shape[1])
    out = [
        ((dl["tt"] * dl["ee"] + dl["te"] ** 2) if p == "te" else 2 * dl[p] ** 2).sqrt() / (2 * ell + 1).sqrt()
        for p in CMB_PAIRS
    ]
    return np.where(ell >= 2, torch.stack(out, 1).numpy(), np.inf)


def _ridge(features: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    gram = features.T @ features
    gram[np.diag_indices_from(gram)] += ridge * np.trace(gram) / len(gram)
    return np.linalg.solve(gram, features.T @ y)


def _learn(features: np.ndarray, y: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients with the ridge that serves groups left out best, and the values at these."""

    def left_out(ridge: float) -> np.ndarray:
        out = np.empty_like(y)
        for held in set(group):
            keep = group != held
            out[~keep] = features[~keep] @ _ridge(features[keep], y[keep], ridge)
        return out

    tried = {ridge: left_out(ridge) for ridge in _RIDGES}
    best = min(tried, key=lambda ridge: float(np.square(tried[ridge] - y).sum()))
    return _ridge(features, y, best), tried[best]


def fit_response(runs: InjectionRuns, base: Theory, mass: float, n_components: int = 3) -> Response:
    """Learn the effect of one mass; the ridge and the quoted error come from cosmologies left out.

    Parameters
    ----------
    runs : InjectionRuns
    base : Theory
        Of LCDM, with bb: what the runs' relative effects are put on.
    mass : float
        Grams.
    n_components : int
        Below and above l = 40 each.

    Raises
    ------
    DataError
        If the runs do not hold the mass, or fewer than four cosmologies.
    """
    rows = np.isclose(runs.mass, mass, rtol=1e-9)
    if len(set(runs.cosmology[rows])) < 4:
        raise DataError(f"runs of evaporating holes: expected four cosmologies or more with {mass:g} g")
    lmax = runs.effect.shape[2] - 1
    design = runs.settings["design"]
    largest = {float(m): f for m, f in design["max_fractions"].items()}
    top = next(f for m, f in largest.items() if np.isclose(m, mass, rtol=1e-9))
    box = {**{p: tuple(design["box"][p]) for p in LCDM}, FRACTION: (0.0, top)}
    terms = _terms(torch.from_numpy(np.column_stack([runs.theta[rows], runs.fraction[rows]])), box).numpy()
    x = (runs.fraction[rows] / top)[:, None]
    theta = torch.from_numpy(runs.theta[rows])
    without = base.spectra(theta).dl
    dl = {p: without[p][:, : lmax + 1] for p in CMB_PAIRS}
    relative = {**dl, "te": (dl["tt"] * dl["ee"]).clamp(min=0).sqrt()}
    change = runs.effect[rows] * np.stack([relative[p].numpy() for p in CMB_PAIRS], 1)
    norm = np.stack([x.numpy() for x in _norms(dl, theta[:, LCDM.index("logA")]).values()], 1)
    # one over the mean sigma of an effect: cosmic variance of each run over its norm
    sigma = _cosmic_variance(dl)
    weights = (np.maximum(norm, 1e-300) / sigma).mean(0)
    effect = np.divide(change, norm, out=np.zeros_like(change), where=norm > 0) * weights
    log_tau = np.log((runs.tau - runs.theta[:, LCDM.index("tau")])[rows, None] / x)
    number = runs.cosmology[rows]
    of_tau, log_tau_guess = _learn(terms, log_tau, number)
    low_l = np.arange(lmax + 1) <= _LOW_MAX
    even = 1 / (x + _SMALL)  # limits lie at a quarter of the largest fraction, where effects are small
    coefficients, basis, guess = [], [], np.zeros_like(effect)
    for where in (low_l, ~low_l):
        flat = np.where(where, effect, 0.0).reshape(len(effect), -1)
        own = np.linalg.svd(flat, full_matrices=False)[2][:n_components]
        along, fold = _learn(even * x * np.exp(log_tau_guess) * terms, even * flat @ own.T, number)
        fold /= even
        coefficients.append(along)
        basis.append(own.reshape(-1, *effect.shape[1:]))
        guess += (fold @ own).reshape(effect.shape)
    back = np.divide(norm, weights, out=np.zeros_like(norm), where=weights > 0)  # to uK^2
    missed = (np.abs(guess - effect) * back / sigma)[..., 2:]
    whole = (np.abs(change) / sigma)[..., 2:]
    error = {p: float(np.percentile(missed[:, i], 99)) for i, p in enumerate(CMB_PAIRS)}
    error["relative"] = float(np.percentile(missed, 99) / np.percentile(whole, 99))
    low_ee = np.s_[:, CMB_PAIRS.index("ee"), : _LOW_MAX - 1]
    error["low_ee"] = float(np.percentile(missed[low_ee] / whole[low_ee].max(1, keepdims=True), 99))
    shaped = np.concatenate(basis)
    shaped = np.divide(shaped, weights, out=np.zeros_like(shaped), where=weights > 0)
    return Response(mass, box, shaped.astype(np.float32), np.hstack([*coefficients, of_tau]), error)


def write_responses(path: str | Path, responses: list[Response], settings: Mapping[str, Any]) -> None:
    """Publish responses atomically as one .npz (no pickles)."""
    record = {
        "settings": dict(settings),
        "responses": [
            {"mass": r.mass, "box": {p: list(b) for p, b in r.box.items()}, "error": dict(r.error)}
            for r in responses
        ],
    }
    arrays: dict[str, Any] = {f"basis_{i}": r.basis for i, r in enumerate(responses)}
    arrays |= {f"coefficients_{i}": r.coefficients for i, r in enumerate(responses)}
    text = np.frombuffer(json.dumps(record, sort_keys=True).encode(), dtype=np.uint8)
    with atomic_buffer(path) as f:
        np.savez_compressed(f, record=text, **arrays)


def read_responses(path: str | Path | None = None) -> dict[float, Response]:
    """Read responses by mass [g]; without a path those that cmbfit ships (data/README.md).

    Raises
    ------
    DataError
        If the file is damaged.
    """
    if path is None:
        return dict(_shipped())
    with reading(path, "responses to evaporating holes"):
        raw = Path(path).read_bytes()
    return _read(raw, str(path))


@cache
def _shipped() -> dict[float, Response]:
    name = "theory/hawking/injection_response.npz"
    return _read(read_shipped(name), name)


def _read(raw: bytes, path: str) -> dict[float, Response]:
    with (
        reading(path, "responses to evaporating holes"),
        np.load(io.BytesIO(raw), allow_pickle=False) as f,
    ):
        record = parse_json(f["record"].tobytes())
        found = [
            Response(
                float(r["mass"]),
                {p: (float(r["box"][p][0]), float(r["box"][p][1])) for p in (*LCDM, FRACTION)},
                f[f"basis_{i}"],
                f[f"coefficients_{i}"],
                {k: float(v) for k, v in r["error"].items()},
            )
            for i, r in enumerate(record["responses"])
        ]
    for r in found:
        if (
            r.basis.ndim != 3
            or r.basis.shape[1] != len(CMB_PAIRS)
            or r.coefficients.shape != (_N_TERMS, len(r.basis) + 1)
        ):
            raise DataError(f"{path}: the response of {r.mass:g} g has arrays of the wrong shapes")
    return {r.mass: r for r in found}


def response_of(mass_g: float, responses: Mapping[float, Response] | None = None) -> Response:
    """Return the response of one mass [g], by default of the shipped ones.

    Raises
    ------
    ParameterError
        If there is none.
    """
    responses = read_responses() if responses is None else responses
    for mass, response in responses.items():
        if abs(mass_g - mass) < 1e-9 * mass:
            return response
    known = ", ".join(f"{m:g}" for m in sorted(responses))
    raise ParameterError(
        f"evaporating holes: expected one of the masses {known} g, found {mass_g:g}; other masses need "
        "Boltzmann runs (docs/methods/hawking.md)"
    )


class EvaporationTheory(OnDevice):
    """An LCDM theory with evaporating primordial black holes of one mass.

    Parameters
    ----------
    base : Theory
        Of the six parameters of LCDM; `tau` is the stars' optical depth, the holes' comes on top (it is in
        the derived parameter ``tau_total``).
    mass_g : float
        One of the masses of `responses`.
    responses : mapping of float to Response, optional
        Default: the shipped ones.

    Raises
    ------
    ParameterError
        If there is no response for the mass.
    ConfigError
        If the base is not LCDM.
    """

    def __init__(
        self, base: Theory, mass_g: float, responses: Mapping[float, Response] | None = None
    ) -> None:
        if tuple(base.parameters) != LCDM:
            raise ConfigError(
                f"evaporating holes: expected a base theory of {', '.join(LCDM)}, found {', '.join(base.parameters)}"
            )
        self._base, self.response = base, response_of(mass_g, responses)
        self.parameters = (*LCDM, FRACTION)
        own = self.response.box
        self.box = {
            **{p: (max(own[p][0], base.box[p][0]), min(own[p][1], base.box[p][1])) for p in LCDM},
            FRACTION: own[FRACTION],
        }
        self.lmax = min(base.lmax, self.response.basis.shape[2] - 1)
        self._basis = torch.from_numpy(self.response.basis.astype(float))
        self._coefficients = torch.from_numpy(self.response.coefficients)

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the base, and the holes' mass."""
        return {**self._base.settings, "evaporation": {"mass_g": self.response.mass}}

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, 7)
    ) -> Spectra:
        """Return lensed spectra with the holes' effect; the lensing potential is the base's.

        Raises
        ------
        OutsideBoxError
            If a point lies outside the box.
        """
        check_box(theta, self.parameters, self.box)
        with Checked(self._base.box):  # it is no narrower
            got = self._base.spectra(theta[:, : len(LCDM)])
        return self.put_on(got, theta)

    def put_on(
        self,
        without: Spectra,
        theta: torch.Tensor,  # shape: (batch, 7)
    ) -> Spectra:
        """Return given spectra of the same cosmologies without holes (any code's) with the holes' effect."""
        added, c = self._added(theta)
        dl = {p: x[:, : self.lmax + 1] for p, x in without.dl.items()}
        norms = _norms(dl, theta[:, LCDM.index("logA")])
        for i, pair in enumerate(CMB_PAIRS):
            if pair in dl:
                dl[pair] = dl[pair] + c @ self._basis[:, i, : self.lmax + 1] * norms[pair]
        more = {FRACTION: theta[:, -1], "tau_total": theta[:, LCDM.index("tau")] + added}
        return Spectra(dl, {**without.parameters, **more})

    def derived(
        self,
        theta: torch.Tensor,  # shape: (batch, 7)
    ) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Return sampled and derived parameters without spectra, if the base can."""
        check_box(theta, self.parameters, self.box)
        table = self._base.derived(theta[:, : len(LCDM)])  # type: ignore[attr-defined]
        added = self._added(theta)[0]
        return {**table, FRACTION: theta[:, -1], "tau_total": theta[:, LCDM.index("tau")] + added}

    def _added(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the optical depth that the holes add, (batch,), and the components, (batch, n_components)."""
        linear = _terms(theta, self.response.box) @ self._coefficients
        added = theta[:, -1] / self.response.box[FRACTION][1] * torch.exp(linear[:, -1])
        return added, added[:, None] * linear[:, :-1]
