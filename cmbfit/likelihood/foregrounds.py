r"""Dust and synchrotron in B modes, as the BICEP/Keck and Planck joint analyses model them: batched.

BICEP2/Keck and Planck Collaborations 2015 (arXiv:1502.00612), section III, and BICEP2/Keck
Collaborations 2015 (arXiv:1510.09217), appendix:

    D_l^{ij} = A_d f_i f_j (l/80)^alpha_d + A_s s_i s_j (l/80)^alpha_s
             + eps sqrt(A_d A_s) (f_i s_j + s_i f_j) (l/80)^((alpha_d + alpha_s)/2),

with f a greybody nu^(3+beta)/(exp(h nu/kT) - 1) and s a power law nu^(2+beta), both from the pivot
frequency to the map's band in CMB temperature units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError

T_CMB = 2.7255  # K
_GHZ_KELVIN = 6.62607015e-34 / 1.380649e-23 * 1e9  # h/k [K/GHz], exact in the SI of 2019
_L_PIVOT = 80.0

PARAMETERS = (
    "BBdust",
    "BBsync",
    "BBalphadust",
    "BBbetadust",
    "BBTdust",
    "BBalphasync",
    "BBbetasync",
    "BBdustsynccorr",
    "EEtoBB_dust",
    "EEtoBB_sync",
)
"""CosmoMC's names: amplitudes at l = 80 [uK^2], spectral and frequency slopes, dust temperature [K],
correlation, and the ratio of E to B."""


@dataclass(frozen=True)
class Bandpass:
    """Response of a map to a beam-filling source of a given spectrum.

    Parameters
    ----------
    nu : numpy.ndarray, shape (n,)
        Frequencies [GHz].
    response : numpy.ndarray, shape (n,)
    """

    nu: np.ndarray
    response: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Response times the width of each frequency step (half steps at the ends count whole)."""
        step = np.diff(self.nu)
        width = np.concatenate([step[:1], (self.nu[2:] - self.nu[:-2]) / 2, step[-1:]])
        return self.response * width

    def cmb_unit(self, pivot: float) -> float:
        """Return the band's response to dB/dT at T_CMB, relative to the pivot frequency's."""
        return float(self.weights @ _db_dt(self.nu) / _db_dt(np.array([pivot]))[0])


def _db_dt(nu: np.ndarray) -> np.ndarray:
    x = _GHZ_KELVIN * nu / T_CMB
    return nu**4 * np.exp(x) / np.expm1(x) ** 2


class DustAndSynchrotron(OnDevice):
    """Bandpowers of the foregrounds in all pairs of maps.

    Parameters
    ----------
    fields : sequence of str
        Letter "e" or "b" of each map.
    bandpasses : sequence of Bandpass
    windows : numpy.ndarray, shape (n_elements, n_bins, lmax + 1)
        For the elements (0, 0), (0, 1), ..., (1, 1), ...
    pivot_dust, pivot_synchrotron : float
        Frequencies [GHz] of the amplitudes.
    fixed : mapping of str to float
        Values of the :data:`PARAMETERS` that do not vary.
    """

    def __init__(
        self,
        fields: Sequence[str],
        bandpasses: Sequence[Bandpass],
        windows: np.ndarray,
        *,
        pivot_dust: float,
        pivot_synchrotron: float,
        fixed: Mapping[str, float],
    ) -> None:
        if unknown := set(fixed) - set(PARAMETERS):
            raise LikelihoodError(f"unknown foreground parameter {min(unknown)!r}; one of {PARAMETERS}")
        n = len(fields)
        rows, columns = np.triu_indices(n)
        e, b = np.array([f == "e" for f in fields]), np.array([f == "b" for f in fields])
        self._fixed = dict(fixed)
        self._pivots = pivot_dust, pivot_synchrotron
        self._arrays = {
            "windows": torch.from_numpy(np.ascontiguousarray(windows[:, :, 2:])),
            "log_ell": torch.from_numpy(np.log(np.arange(2, windows.shape[2]) / _L_PIVOT)),
            "rows": torch.from_numpy(rows),
            "columns": torch.from_numpy(columns),
            "ee": torch.from_numpy(e[rows] & e[columns]),
            "bb": torch.from_numpy(b[rows] & b[columns]),
        }
        self._nu = [torch.from_numpy(np.asarray(x.nu, dtype=np.float64)) for x in bandpasses]
        self._weights = [torch.from_numpy(np.asarray(x.weights, dtype=np.float64)) for x in bandpasses]
        self._units = [(x.cmb_unit(pivot_dust), x.cmb_unit(pivot_synchrotron)) for x in bandpasses]

    @property
    def fixed(self) -> dict[str, float]:
        """Parameters that do not vary."""
        return dict(self._fixed)

    def dust_scaling(
        self,
        beta: torch.Tensor,  # shape: (batch,)
        temperature: torch.Tensor,  # shape: (batch,), K
    ) -> torch.Tensor:  # shape: (batch, n_maps)
        """Return the dust signal in each map per signal at the pivot frequency."""
        pivot = self._pivots[0]

        def greybody(nu: torch.Tensor) -> torch.Tensor:  # (n,) -> (batch, n), relative to the pivot
            x = _GHZ_KELVIN / temperature[:, None]
            power = torch.exp((3 + beta[:, None]) * torch.log(nu / pivot))
            return power * torch.expm1(x * pivot) / torch.expm1(x * nu)

        bands = zip(self._nu, self._weights, self._units, strict=True)
        return torch.stack([greybody(nu) @ w / unit[0] for nu, w, unit in bands], dim=1)

    def synchrotron_scaling(
        self,
        beta: torch.Tensor,  # shape: (batch,)
    ) -> torch.Tensor:  # shape: (batch, n_maps)
        """Return the synchrotron signal in each map per signal at the pivot frequency."""
        bands = zip(self._nu, self._weights, self._units, strict=True)
        return torch.stack(
            [
                torch.exp((2 + beta[:, None]) * torch.log(nu / self._pivots[1])) @ w / unit[1]
                for nu, w, unit in bands
            ],
            dim=1,
        )

    def bandpowers(
        self,
        nuisance: Mapping[str, torch.Tensor],
        batch: int,
    ) -> torch.Tensor:  # shape: (batch, n_bins, n_elements)
        """Return the foreground bandpowers [uK^2]."""
        a = self._arrays
        like = a["log_ell"]
        p = {
            name: nuisance[name] if name in nuisance else like.new_full((batch,), self._fixed[name])
            for name in PARAMETERS
        }
        dust = self.dust_scaling(p["BBbetadust"], p["BBTdust"])
        sync = self.synchrotron_scaling(p["BBbetasync"])
        rows, columns = a["rows"], a["columns"]
        crossed = dust[:, rows] * sync[:, columns] + sync[:, rows] * dust[:, columns]
        # sqrt has no gradient at zero, and there the term is zero with or without the correlation
        both = p["BBdust"] * p["BBsync"]
        mean = torch.where(both > 0, torch.sqrt(torch.where(both > 0, both, 1.0)), 0.0)
        terms = (
            (p["BBdust"], dust[:, rows] * dust[:, columns], p["BBalphadust"], p["EEtoBB_dust"]),
            (p["BBsync"], sync[:, rows] * sync[:, columns], p["BBalphasync"], p["EEtoBB_sync"]),
            (
                p["BBdustsynccorr"] * mean,
                crossed,
                (p["BBalphadust"] + p["BBalphasync"]) / 2,
                torch.sqrt(p["EEtoBB_dust"] * p["EEtoBB_sync"]),
            ),
        )
        total = like.new_zeros(())
        for amplitude, scaling, slope, ratio in terms:
            shape = torch.exp(slope[:, None] * like)  # shape: (batch, n_ell)
            binned = torch.einsum("xbl,nl->nbx", a["windows"], shape)
            kind = a["bb"].to(like.dtype) + a["ee"].to(like.dtype) * ratio[:, None]
            total = total + (amplitude[:, None] * scaling * kind)[:, None, :] * binned
        return total
