"""LCDM by the emulator plus the imprint of a primordial spectrum, by transfer functions.

    D_l(theta) = D_l^emulator(background, ln A_s, n_s) + R [W(background) (P - P_0)],

with the model's P(k), the power law P_0 of the same amplitude and tilt at the pivot, the expanded
transfer functions W and the lensing R of a small change. Where P is the power law this is the emulator
itself; W's and R's errors are of the imprint only. Gravitational waves may be added to it.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping
from typing import Any

import torch

from cmbfit.device import OnDevice
from cmbfit.errors import ParameterError, SpectrumError
from cmbfit.theory.base import Checked, check_box
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.lensing import Lensing
from cmbfit.theory.lensing_response import LensingResponse
from cmbfit.theory.parameters import BACKGROUND
from cmbfit.theory.primordial.model import NS, PIVOT, PrimordialModel
from cmbfit.theory.primordial.powerlaw import MODEL as POWER_LAW
from cmbfit.theory.spectra import Spectra
from cmbfit.theory.tensor_spectra import TensorSpectra
from cmbfit.theory.transfer.expansion import TransferExpansion
from cmbfit.theory.transfer.nodes import NodeSettings, lagrange, node_grid

_MARGIN = 1000
"""Unlensed multipoles beyond the last lensed one."""

FIDUCIAL = (3.045, 0.9649)
"""ln(10^10 A_s) and n_s at which the lensing of an imprint is linearised."""

_FIRST_SEEN, _LAST_SEEN = 0.7, 1.5

DISTANCE = 13_870.0
"""To last scattering, comoving [Mpc], in Planck's cosmology."""

_STEP = 0.05  # in ln k, for the tilt at the pivot of a model that has no n_s of its own

_NEAREST = (2e-3, 0.2, 24)
"""Range [1/Mpc] and number of wavenumbers at which a power law is fitted to a model without an amplitude: l of 30 to 2800."""

_LEAST = 1e-30  # of P where a logarithm is taken: a formula may say anything where it is refused


def seen(
    k: torch.Tensor,  # shape: (n_k,)
    distance: float,
    lmax: int,
) -> torch.Tensor:  # shape: (n_k,), bool
    """Return which wavenumbers data up to lmax look at: 0.7 < k D < 1.5 lmax, D the distance to last scattering.

    Twice the power beyond moves C_2 by 0.24% (of a cosmic variance of 63%) and lensed TT and EE at l = lmax = 2500 by
    1.6% and 0.1% (CAMB): what a formula says there is of no consequence, and no reason to refuse a point.
    """
    return (k * distance > _FIRST_SEEN) & (k * distance < _LAST_SEEN * lmax)


def pivot_tilt(
    model: PrimordialModel,
    own: torch.Tensor,  # shape: (batch, n_parameters of the model)
) -> torch.Tensor:  # shape: (batch,)
    """Return 1 + d ln P / d ln k of a model at the pivot, the tilt of the power law that it departs from."""
    k = PIVOT * torch.exp(torch.tensor([-_STEP, _STEP], dtype=torch.float64, device=own.device))
    power = model.power(k, own)
    return 1 + torch.log(power[:, 1] / power[:, 0]) / (2 * _STEP)


def nearest_power_law(
    model: PrimordialModel,
    own: torch.Tensor,  # shape: (batch, n_parameters of the model)
) -> torch.Tensor:  # shape: (batch, 2)
    """Return ln(10^10 A_s) and n_s of the power law nearest to a model, which departs from it.

    The model's own amplitude where it has one, with its n_s or its slope at the pivot; else least squares in ln P over the
    wavenumbers that data see best.
    """
    column = model.parameter_names.index
    if "logA" in model.parameter_names:
        tilt = own[:, column(NS.name)] if NS.name in model.parameter_names else pivot_tilt(model, own)
        return torch.stack([own[:, column("logA")], tilt], 1)
    low, high, n = _NEAREST
    log_k = torch.linspace(math.log(low / PIVOT), math.log(high / PIVOT), n, dtype=torch.float64)
    log_k = log_k.to(own.device)
    log_p = torch.log(1e10 * model.power(PIVOT * torch.exp(log_k), own).clamp_min(_LEAST))
    middle = log_k.mean()
    slope = log_p @ (log_k - middle) / (log_k - middle).square().sum()
    return torch.stack([log_p.mean(1) - slope * middle, 1 + slope], 1)


class PrimordialTheory(OnDevice):
    """Lensed spectra of a cosmology whose primordial spectrum is a registered model.

    Parameters
    ----------
    emulator : LinearEmulator
    model : PrimordialModel
        Of scalars.
    expansion : TransferExpansion
        Around a fit; its range bounds the background parameters.
    tensors : TensorSpectra, optional
        Gravitational waves of the same amplitude and tilt.

    Attributes
    ----------
    parameters : tuple of str
        ombh2, omch2, theta_mc and tau, then the model's own, then the tensors'. A model without ln A_s and n_s lends the emulator
        those of the nearest power law (:func:`nearest_power_law`).
    box : dict
        Ranges of the emulator, the expansion and the model's priors, whichever is narrower.

    Raises
    ------
    ParameterError
        For a tensor model.
    SpectrumError
        If the expansion lacks a spectrum or is too short.
    """

    def __init__(
        self,
        emulator: LinearEmulator,
        model: PrimordialModel,
        expansion: TransferExpansion,
        tensors: TensorSpectra | None = None,
    ) -> None:
        if model.kind != "scalar":
            raise ParameterError(f"{model.name}: expected a model of scalars, found one of {model.kind}s")
        if NS.name in model.parameter_names and "logA" not in model.parameter_names:
            raise ParameterError(
                f"{model.name}: {NS.name} is the tilt of the power law of amplitude logA, which the model lacks: name it otherwise"
            )
        if missing := [p for p in ("tt", "te", "ee", "pp") if p not in expansion.pairs]:
            raise SpectrumError(f"the transfer expansion lacks {', '.join(missing)}: compute one of scalars")
        if clash := set(model.parameter_names) & set(BACKGROUND):
            raise ParameterError(f"{model.name}: {min(clash)} is a parameter of the background")
        self.emulator, self.model, self.expansion, self.tensors = emulator, model, expansion, tensors
        waves = () if tensors is None else tensors.model.parameters
        new = tuple(p.name for p in waves if p.name not in model.parameter_names)
        if lent := {"logA", NS.name} & set(new):
            raise ParameterError(f"{model.name}: the tensors' {min(lent)} is nowhere given")
        self.parameters = (*BACKGROUND, *model.parameter_names, *new)
        self._tensor_columns = torch.tensor([self.parameters.index(p.name) for p in waves], dtype=torch.int64)
        own = {p.name: (p.prior.low, p.prior.high) for p in (*waves, *model.parameters)}
        limits = [emulator.box, expansion.box, own]
        self.box = {
            p: (max(b[p][0] for b in limits if p in b), min(b[p][1] for b in limits if p in b))
            for p in self.parameters
        }
        self.lmax = min(emulator.lmax, expansion.lmax - _MARGIN)
        if self.lmax < 2:
            raise SpectrumError(
                f"the transfer expansion ends at l = {expansion.lmax}: {_MARGIN} more than the last lensed multipole "
                "are needed"
            )
        self._n = len(BACKGROUND)
        self._columns = [
            self.parameters.index(p) if p in self.parameters else -1 for p in emulator.parameters
        ]
        if bad := [
            p
            for p, i in zip(emulator.parameters, self._columns, strict=True)
            if i < 0 and p not in ("logA", NS.name)
        ]:
            raise ParameterError(f"{model.name}: the emulator's {', '.join(bad)} is nowhere given")

        self.k = expansion.k
        self._spread: torch.Tensor | None = None

    def coarse(self) -> PrimordialTheory:
        """Return a copy that asks the model for P at no more wavenumbers than its `resolution` needs."""
        if (fewer := self._at_fewer_nodes()) is None:
            return self
        out = copy.copy(self)
        out.k, out._spread = fewer
        return out

    def _at_fewer_nodes(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return nodes for the model's largest frequencies and how they reach the expansion's; None if no fewer."""
        log_frequency, linear_frequency = self.model.resolution
        fine, reach = self.expansion.k, self.expansion.settings["nodes"]["reach"]
        nodes = torch.from_numpy(
            node_grid(fine.cpu().numpy(), NodeSettings(log_frequency, linear_frequency, reach=reach))
        )
        if len(nodes) >= len(fine):
            return None
        index, weight = lagrange(nodes, fine.cpu())
        spread = torch.zeros(len(fine), len(nodes), dtype=torch.float64).scatter_(1, index, weight)
        return nodes.to(fine.device), spread.to(fine.device)

    @property
    def seen(self) -> torch.Tensor:  # shape: (len(k),), bool
        """Which of :attr:`k` data look at; see :func:`seen`."""
        return self.sees(self.k)

    def sees(self, k: torch.Tensor) -> torch.Tensor:  # shape: (n_k,), bool
        """Return which wavenumbers, at the expansion's centre, data look at."""
        return seen(k, math.exp(self.expansion.arrays.log_distance[0]), self.lmax)

    @property
    def spread(self) -> torch.Tensor | None:
        """Interpolation from :attr:`k` to the expansion's nodes, shape (n_k, len(k)); None if they are the same."""
        return self._spread

    @property
    def settings(self) -> dict[str, Any]:
        """Those of emulator and expansion, and what the model is."""
        return {
            **self.emulator.settings,
            "primordial": {"model": self.model.name, "formula": self.model.formula},
            "transfer": self.expansion.settings,
        } | (
            {}
            if self.tensors is None
            else {"tensors": {"model": self.tensors.model.name, "transfer": self.tensors.operator.settings}}
        )

    @functools.cached_property
    def lensing(self) -> LensingResponse:
        """The lensing of an imprint, linearised at the expansion's centre."""
        centre = self.k.new_tensor(self.expansion.arrays.centre)[None]
        k = self.expansion.wavenumbers(centre)
        power = POWER_LAW.power(k, k.new_tensor([FIDUCIAL]))
        fiducial = {p: x[0] for p, x in self.expansion.undamped(centre, power).items()}
        return LensingResponse(Lensing(self.expansion.lmax, self.lmax).to(self.k.device), fiducial)

    def split(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the background's columns, the model's, and the emulator's of the same points."""
        background, own = theta[:, : self._n], theta[:, self._n : self._n + len(self.model.parameters)]
        lent = {} if min(self._columns) >= 0 else self._lent(own)
        columns = [
            lent[p] if i < 0 else theta[:, i]
            for p, i in zip(self.emulator.parameters, self._columns, strict=True)
        ]
        return background, own, torch.stack(columns, 1)

    def _lent(self, own: torch.Tensor) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Ln A_s and n_s of the nearest power law, kept within the emulator: W carries what is left of P."""
        found = nearest_power_law(self.model, own)
        return {p: found[:, i].clamp(*self.emulator.box[p]) for i, p in enumerate(("logA", NS.name))}

    def power(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return P and P - P_0 at each point's own wavenumbers, :attr:`k` at the same angles; (batch, len(k))."""
        background, own, of_emulator = self.split(theta)
        k = self.k * self.expansion.stretch(background)
        names = self.emulator.parameters
        amplitude, tilt = (of_emulator[:, names.index(p)] for p in ("logA", NS.name))
        power = self.model.power(k, own)
        return power, power - POWER_LAW.power(k, torch.stack([amplitude, tilt], 1))

    def allowed(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,), bool
        """Return where the model makes sense: P positive at the wavenumbers that are :attr:`seen`, its own bounds kept."""
        with torch.no_grad():
            background, own, _ = self.split(theta)
            good = self.model.valid(self.k * self.expansion.stretch(background), own, self.seen)
            return good if self.tensors is None else good & self.tensors.allowed(self.of_tensors(theta))

    def of_tensors(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:
        """Return the columns of the tensors' model."""
        return theta[:, self._tensor_columns]

    def imprint(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:
        """Return what is added to the power law's lensed spectra: tt, te, ee, bb, pp, (batch, lmax + 1)."""
        background = theta[:, : self._n]
        moved = self.power(theta)[1]
        if self._spread is not None:
            change = self.lensing(self.expansion.undamped(background, moved @ self._spread.T))
        else:
            change = self.lensing(self.expansion.undamped(background, moved))
        damping = self.expansion.damping(background)
        # the response to pp is damped too: it is that of the spectra which are lensed
        total = {p: x if p == "pp" else x * damping for p, x in change.items()}
        if self.tensors is None:
            return total
        tau = background[:, BACKGROUND.index("tau")]
        waves = self.tensors.spectra(self.of_tensors(theta), tau, self.lmax)
        return {p: x + waves[p] if p in waves else x for p, x in total.items()}

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return lensed spectra of the emulator's pairs up to lmax, and derived parameters.

        sigma8 and S8, which the emulator knows for a power law only, are left out.

        Raises
        ------
        OutsideBoxError
            If a point lies outside the box.
        """
        check_box(theta, self.parameters, self.box)
        _, _, of_emulator = self.split(theta)
        with Checked(self.emulator.box):  # it is no narrower, and the tilt is kept in it
            smooth, imprint = self.emulator.spectra(of_emulator), self.imprint(theta)
        dl = {p: x[:, : self.lmax + 1] + imprint[p] for p, x in smooth.dl.items()}
        return Spectra(dl, self._table(theta, smooth.parameters))

    def derived(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Return sampled and derived parameters without spectra."""
        check_box(theta, self.parameters, self.box)
        with Checked(self.emulator.box):
            return self._table(theta, self.emulator.derived(self.split(theta)[2]))

    def _table(self, theta: torch.Tensor, of_emulator: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        derived = {
            p: x
            for p, x in of_emulator.items()
            if p not in self.emulator.parameters and p not in ("sigma8", "S8")
        }
        return {p: theta[:, i] for i, p in enumerate(self.parameters)} | derived
