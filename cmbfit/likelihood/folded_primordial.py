"""A posterior of a primordial model with its linear steps folded: hundreds of bandpowers, no spectra.

The whitened residual of Gaussian data is the emulator's, folded as in :mod:`cmbfit.likelihood.fold`, plus the
imprint of the primordial spectrum, whose transfer functions and lensing are pulled back onto the
bandpowers once (:class:`~cmbfit.theory.transfer.projection.ProjectedImprint`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.fold import (
    Group,
    Powers,
    calibration_powers,
    columns,
    component_coefficients,
    foldable,
)
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.polynomial_rows import PolynomialRows
from cmbfit.likelihood.posterior import EvaluationCounts, Posterior
from cmbfit.likelihood.priors import Gaussian
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.parameters import BACKGROUND
from cmbfit.theory.primordial.model import NS
from cmbfit.theory.primordial.powerlaw import MODEL as POWER_LAW
from cmbfit.theory.primordial_theory import FIDUCIAL, PrimordialTheory
from cmbfit.theory.transfer.projection import ProjectedImprint

_CHUNK = 64
"""Points at once: P(k) at thousands of wavenumbers, with copies, stays within a core's cache."""

_LARGEST_DIFFERENCE = 0.02
"""In ln L, from the unfolded path: single precision and dropped directions of the corrections."""

_TAU = BACKGROUND.index("tau")

_EE_ERROR = 2e-3
"""uK^2: what counts as one for tabulated low-l EE, whose rows are D_l themselves."""


@dataclass(frozen=True)
class _Data:
    """One Gaussian data set: whitened columns of the emulator's components, rows of the imprint, data."""

    groups: dict[Group, torch.Tensor]
    rows: dict[tuple[Powers, bool], slice]  # (calibration, lensing potential?) -> rows of the imprint
    target: torch.Tensor


class PrimordialPosterior(Posterior):
    """A posterior of a :class:`~cmbfit.theory.primordial_theory.PrimordialTheory` without full spectra; same interface.

    Parameters
    ----------
    posterior : Posterior
        With any number of sets of Gaussian bandpowers with calibrations, tables of low-l EE, and Gaussian
        measurements of a sampled parameter.
    n_check : int
        Points at which both paths are compared.

    Attributes
    ----------
    fold_difference : float
        Largest |difference| of ln L between the two paths, relative to max(1, |ln L|), at the expansion's
        centre and the likeliest of many draws of the model's parameters.

    Raises
    ------
    LikelihoodError
        If a data set cannot be folded, or the paths differ by more than 0.02 in ln L (where the model is excluded,
        by more than 5e-4 of the difference to the best fit).
    """

    def __init__(self, posterior: Posterior, n_check: int = 16) -> None:
        theory = posterior.theory
        if not isinstance(theory, PrimordialTheory):
            raise LikelihoodError("expected the posterior of a primordial model")
        gaussian, tables, direct = foldable(posterior)
        self.__dict__.update(copy.copy(posterior).__dict__)
        self.counts = EvaluationCounts()
        self._tables, self._direct = tables, direct
        self.theory = theory = theory.coarse()
        self._project(theory, gaussian)
        self._assemble(theory)
        self.chunk = _CHUNK
        self.fold_difference = self._measure_difference(posterior, n_check)

    def _project(self, theory: PrimordialTheory, gaussian: list[GaussianBandpowers]) -> None:
        """Pull all rows back to P(k): those of the CMB and those of the lensing potential."""
        parts: dict[bool, list[dict[str, torch.Tensor]]] = {False: [], True: []}
        length = {False: 0, True: 0}

        def add(rows: dict[str, torch.Tensor], *, potential: bool) -> slice:
            n = len(next(iter(rows.values())))
            start = length[potential]
            parts[potential].append(rows)
            length[potential] += n
            return slice(start, start + n)

        self._data = []
        for like in gaussian:
            groups, target = columns(theory.emulator, like)
            by_powers: dict[tuple[Powers, bool], dict[str, torch.Tensor]] = {}
            for pair, rows in like.whitened()[0].items():
                by_powers.setdefault((calibration_powers(like, pair), pair == "pp"), {})[pair] = rows
            self._data.append(
                _Data(groups, {key: add(r, potential=key[1]) for key, r in by_powers.items()}, target)
            )
        self._table_rows = [
            add(
                {"ee": torch.eye(like.lmax + 1, dtype=torch.float64)[like.lmin :] / _EE_ERROR},
                potential=False,
            )
            for like in self._tables
        ]
        k = theory.expansion.k
        power = POWER_LAW.power(k, torch.tensor([[3.045, 0.9649]], dtype=torch.float64))[0]
        self._imprints = {}
        self._tensor_rows: torch.Tensor | None = None
        for potential, members in parts.items():
            if members:
                pairs = dict.fromkeys(pair for rows in members for pair in rows)
                stacked = {p: _stack(members, p, theory.lmax) for p in pairs}
                if theory.tensors is not None and not potential:
                    self._tensor_rows = theory.tensors.pull_back(stacked)
                self._imprints[potential] = ProjectedImprint(
                    theory.expansion, theory.lensing, stacked, power, theory.spread
                )

    def _assemble(self, theory: PrimordialTheory) -> None:
        """Stack the emulator's polynomials that are needed, each source of components once."""
        sources = dict.fromkeys(source for part in self._data for source, _ in part.groups)
        if self._tables:
            sources["lowl_ee"] = None
        coefficients = {s: component_coefficients(theory.emulator, s) for s in sources}
        emulator = theory.emulator
        self._rows = PolynomialRows(emulator.coordinates.box, emulator.arrays.degrees, coefficients)

    def _default_chunk(self) -> int:
        return _CHUNK if self.device.type == "cpu" else 16 * _CHUNK

    def to(self, device: torch.device | str) -> PrimordialPosterior:
        """Return a copy that computes on `device`."""
        moved: PrimordialPosterior = super().to(device)  # type: ignore[assignment]
        moved._tables = [like.to(device) for like in self._tables]
        moved._data = [
            replace(
                part, groups={g: x.to(device) for g, x in part.groups.items()}, target=part.target.to(device)
            )
            for part in self._data
        ]
        moved._imprints = {key: x.to(device) for key, x in self._imprints.items()}
        if self._tensor_rows is not None:
            moved._tensor_rows = self._tensor_rows.to(device)
        moved._rows = self._rows.to(device)
        moved.chunk = moved._default_chunk()
        return moved

    def _log_like(self, theta: torch.Tensor) -> torch.Tensor:
        theory: PrimordialTheory = self.theory  # type: ignore[assignment]
        point, nuisance = self._split(theta)
        background, _, of_emulator = theory.split(point)
        change = theory.power(point)[1]
        imprints = {key: x(background, change) for key, x in self._imprints.items()}
        if theory.tensors is not None and self._tensor_rows is not None:
            waves = theory.tensors.power(theory.of_tensors(point)) @ self._tensor_rows.T
            imprints[False] = imprints[False] + waves * theory.tensors.damping(background[:, _TAU])
        emulator = theory.emulator
        components = {}
        for source, rows in self._rows(emulator.coordinates(of_emulator)).items():
            values = torch.exp(rows) if source == "lowl_ee" else rows
            components[source] = values * _amplitude(emulator, source, of_emulator)
        total = torch.zeros(len(theta), dtype=theta.dtype, device=theta.device)
        for part in self._data:
            residual = -part.target[:, None]
            for (source, powers), matrix in part.groups.items():
                residual = residual + matrix @ (components[source] * _calibration(powers, nuisance))
            for (powers, potential), where in part.rows.items():
                residual = residual + imprints[potential][:, where].T * _calibration(powers, nuisance)
            total = total - 0.5 * residual.square().sum(0)
        for like, where in zip(self._tables, self._table_rows, strict=True):
            dl = (
                components["lowl_ee"].T[:, like.lmin - 2 : like.lmax - 1]
                + imprints[False][:, where] * _EE_ERROR
            )
            own = {name: nuisance[name] for name in like.info.nuisance}
            total = total + like.log_prob_of_multipoles(dl, own)
        for measured in self._direct:
            total = total + measured.log_prob_of_parameter(
                point[:, theory.parameters.index(measured.parameter)]
            )
        return total

    def _check_points(self, n: int) -> torch.Tensor:
        """Return n points of the expansion's cosmology: the likeliest of many draws of the model's parameters."""
        theory: PrimordialTheory = self.theory  # type: ignore[assignment]
        rng = np.random.default_rng(0)
        centre = dict(zip(BACKGROUND, theory.expansion.arrays.centre.tolist(), strict=True)) | {
            "logA": FIDUCIAL[0],
            NS.name: FIDUCIAL[1],
        }
        drawn = []
        for name in self.parameters:
            prior = self.priors[name]
            if name in self.nuisances:
                low, high = prior.support
                middle = prior.mean if isinstance(prior, Gaussian) else (low + high) / 2
                drawn.append(np.full(16 * n, middle))
            elif name in centre:
                drawn.append(np.full(16 * n, centre[name]))
            else:
                drawn.append(np.clip(prior.sample(rng, 16 * n), *theory.box[name]))
        theta = torch.from_numpy(np.stack(drawn, axis=1))
        with torch.no_grad():
            value = self.log_prob(theta)
        self.counts = EvaluationCounts()
        best = value.argsort(descending=True)[:n]
        return theta[best[torch.isfinite(value[best])]]

    def _measure_difference(self, posterior: Posterior, n: int) -> float:
        """Largest difference of ln L from the path through full spectra and all wavenumbers."""
        theta = self._check_points(n)
        if not len(theta):
            raise LikelihoodError("no spectrum of the model's prior has a likelihood above zero")
        with torch.no_grad():
            unfolded, folded = Posterior._log_like(posterior, theta), self._log_like(theta)
        difference = (folded - unfolded).abs()
        # where the model is ruled out, its imprint and the error of it are large
        allowed = _LARGEST_DIFFERENCE + 5e-4 * (unfolded.max() - unfolded)
        if not bool((difference < allowed).all()):
            worst = int((difference / allowed).argmax())
            raise LikelihoodError(
                f"the folded ln L, {folded[worst]:.3f}, differs from the unfolded one by {difference[worst]:.1e}"
            )
        return float((difference / unfolded.abs().clamp(min=1.0)).max())


def _amplitude(emulator: LinearEmulator, source: str, theta: torch.Tensor) -> torch.Tensor | float:
    """Return the factor of a source's components, shape (batch,)."""
    if source == "template":
        return 1.0
    return (
        emulator.scalar_amplitude(theta) if source == "lowl_ee" else emulator.block_amplitude(source, theta)
    )


def _calibration(powers: Powers, nuisance: dict[str, torch.Tensor]) -> torch.Tensor | float:
    scale: torch.Tensor | float = 1.0
    for name, power in powers:
        scale = scale * nuisance[name] ** power
    return scale


def _stack(members: list[dict[str, torch.Tensor]], pair: str, lmax: int) -> torch.Tensor:
    """Rows of one pair for all members below each other, zero where a member has none."""
    out = []
    for rows in members:
        like = next(iter(rows.values()))
        x = rows.get(pair, like.new_zeros(len(like), 1))
        out.append(torch.nn.functional.pad(x, (0, lmax + 1 - x.shape[1])))
    return torch.cat(out)
