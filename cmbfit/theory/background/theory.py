"""A theory of distances alone: what galaxies and supernovae say without the CMB, ``theory: {class: background}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cmbfit.device import OnDevice
from cmbfit.errors import ConfigError, shown, unknown_name
from cmbfit.theory.background.densities import OPTIONAL, Densities, default_of
from cmbfit.theory.background.sound_horizon import SoundHorizon
from cmbfit.theory.base import check_box
from cmbfit.theory.extensions import BACKGROUND_EXTENSIONS
from cmbfit.theory.spectra import Spectra

HORIZONS = ("computed", "free")

_H0, _OMBH2 = 67.4, 0.0224
"""With a free sound horizon only H0 r_d is measured; these two fix the share of radiation, 1e-4 of all energy."""

_EARLY = -0.3
"""w + wa from which dark energy moves the sound horizon by more than 1e-4."""

BOX: dict[str, tuple[float, float]] = {
    "omegam": (0.05, 0.95),
    "hrdrag": (10.0, 1000.0),
    "H0": (20.0, 120.0),
    "w": (-3.0, 1.0),
    "wa": (-3.0, 2.0),
}


class BackgroundTheory(OnDevice):
    """The expansion history, and no spectra.

    Parameters
    ----------
    extra : sequence of str
        Of mnu, nnu, omk, w, wa: those that vary.
    horizon : str
        ``computed``: the sound horizon follows from the densities of baryons, matter and neutrinos; parameters ombh2,
        omch2, H0. ``free``: nothing is said of the early universe; parameters omegam and hrdrag, h r_d in Mpc, as in DESI
        DR2 (arXiv:2503.14738), section V.

    Examples
    --------
    >>> theory = BackgroundTheory(extra=["w"])
    >>> theory.parameters
    ('ombh2', 'omch2', 'H0', 'w')
    >>> at = theory.derived(torch.tensor([[0.02237, 0.12, 67.36, -1.0]], dtype=torch.float64))
    >>> round(at["rdrag"].item(), 1), round(at["omegam"].item(), 4)
    (147.1, 0.3152)
    """

    lmax = 0

    def __init__(self, extra: Sequence[str] = (), horizon: str = "computed") -> None:
        if isinstance(extra, str) or any(x not in OPTIONAL for x in extra):
            bad = extra if isinstance(extra, str) else next(x for x in extra if x not in OPTIONAL)
            raise ConfigError(f"options.extra: {unknown_name('parameter of a list', bad, OPTIONAL)}")
        if len(set(extra)) != len(extra):
            raise ConfigError(f"options.extra: one is named twice in {', '.join(extra)}")
        if horizon not in HORIZONS:
            raise ConfigError(f"options.horizon: expected {' or '.join(HORIZONS)}, found {shown(horizon)}")
        self.free = horizon == "free"
        if self.free and (early := [x for x in extra if x in ("mnu", "nnu")]):
            raise ConfigError(
                f"options: horizon: free says nothing of the early universe, which {early[0]} is of: leave it out"
            )
        self.parameters = (*(("omegam", "hrdrag") if self.free else ("ombh2", "omch2", "H0")), *extra)
        self._extra = tuple(extra)
        self._horizon = SoundHorizon()
        ranges = {p: e.box for p, e in BACKGROUND_EXTENSIONS.items()} | self._horizon.box | BOX
        self.box = {p: ranges[p] for p in self.parameters}
        self._today = Densities(torch.zeros(1).numpy())

    def allowed(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,), bool
        """Return whether dark energy is negligible early on: w + wa < -0.3, or < 0 with a free sound horizon."""
        values = (
            theta[:, self.parameters.index(p)] if p in self.parameters else default_of(p) for p in ("w", "wa")
        )
        early = theta.new_zeros(len(theta)) + sum(values)
        return early < (0.0 if self.free else _EARLY)

    @property
    def title(self) -> str:
        """What fits call it."""
        return " + ".join(["distances", *self._extra])

    @property
    def settings(self) -> dict[str, Any]:
        """Return what defines the numbers."""
        fixed = {p: default_of(p) for p in OPTIONAL if p not in self._extra}
        horizon = "free" if self.free else self._horizon.settings
        return {"code": "background", "fixed": fixed, "sound_horizon": horizon}

    def derived(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Return sampled and derived parameters; of a free sound horizon nothing else is known."""
        check_box(theta, self.parameters, self.box)
        table = dict(zip(self.parameters, theta.unbind(1), strict=True))
        return table if self.free else table | self._of_densities(table)

    def _of_free(self, table: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        h = _H0 / 100
        baryons, hubble = (torch.full_like(table["omegam"], x) for x in (_OMBH2, _H0))
        neutrinos = self._today.neutrinos_today({"H0": hubble})
        return {
            "H0": hubble,
            "ombh2": baryons,
            "omch2": table["omegam"] * h**2 - baryons - neutrinos,
            "rdrag": table["hrdrag"] / h,
        }

    def _of_densities(self, table: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        h = table["H0"] / 100
        neutrinos = self._today.neutrinos_today(table)
        horizon = self._horizon(table)
        return {
            "omegam": (table["ombh2"] + table["omch2"] + neutrinos) / h.square(),
            "rdrag": horizon,
            "hrdrag": h * horizon,
        }

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return what distances follow from beside an empty spectrum."""
        table = self.derived(theta)
        known = self._of_free(table) if self.free else {}
        return Spectra({"tt": theta.new_zeros(len(theta), 1)}, table | known)
