r"""Dust and synchrotron integrated over bandpasses: polarised foregrounds at low l.

BICEP2/Keck and Planck Collaborations 2015 (arXiv:1502.00612), section III; BICEP/Keck 2018 (arXiv:1810.05216),
appendix F: a modified blackbody nu^(3+beta) / (exp(h nu / kT) - 1) and a power law nu^(2+beta), both weighted with the
band's response and in units of the CMB's temperature there. The correlation of both is

    D_l = epsilon sqrt(A_d A_s) (d_1 s_2 + s_1 d_2) (l / ell_ref)^(mean of both exponents).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice, take
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.steps.base import Add, AddPowerLaw, Nuisance, Setting, power_law
from cmbfit.likelihood.steps.sed import Band

_DUST_EXPONENT, _SYNC_EXPONENT, _MEAN_EXPONENT = -0.4, -0.6, -0.5
"""Of D_l, where they are fixed (BICEP2/Keck 2015)."""

_Terms = tuple[torch.Tensor, torch.Tensor]


def _scale(terms: Sequence[_Terms], beta: torch.Tensor) -> torch.Tensor:  # shape: (batch, len(terms))
    """Return the bands' signals relative to the reference frequency."""
    return torch.stack([torch.exp(beta[:, None] * log_nu) @ weights for weights, log_nu in terms], dim=1)


class _Bands(OnDevice):
    """Both maps' bands of each spectrum."""

    def __init__(self, setting: Setting) -> None:
        tables = setting.bands()
        for table in (t for pair in tables for t in pair):
            if (
                table.ndim != 2
                or table.shape[1] < 2
                or len(table) < 2
                or not (np.diff(table[:, 0]) > 0).all()
            ):
                raise LikelihoodError(
                    f"bandpasses: expected frequency [GHz], rising, and response in two columns, found shape {table.shape}"
                )
        # maps are shared by spectra: each band is integrated once
        distinct: dict[int, Band] = {}
        self.index = []
        for pair in tables:
            for table in pair:
                distinct.setdefault(id(table), Band(table))
            self.index.append([list(distinct).index(id(table)) for table in pair])
        self.bands = list(distinct.values())
        self._first, self._second = torch.tensor(self.index).T

    def of_maps(self, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first and the second map's factor of each spectrum from those of the bands, (batch, n_spectra)."""
        return take(scale, 1, self._first), take(scale, 1, self._second)

    def centres(self) -> list[tuple[float, float]]:
        """Return the mean frequencies of both maps of each spectrum [GHz]."""
        return [(self.bands[a].centre, self.bands[b].centre) for a, b in self.index]


def _fixed_or_free(step: Any, setting: Setting, ell_ref: float, exponent: float | None) -> None:
    """Give a step its fixed shape, or what a free exponent needs."""
    if exponent is None:
        step.log_ell = torch.from_numpy(np.log(setting.ell / float(ell_ref)))
    else:
        step.template = power_law(setting.ell, ell_ref, exponent)


class _OneSource(Add):
    """One foreground of amplitude, exponent (free or fixed) and spectral index."""

    def _prepare(
        self,
        setting: Setting,
        affected_specs: Sequence[str],
        amp_param: str,
        beta_param: str,
        nu_ref: float,
        temperature: float | None,
    ) -> None:
        self.affected = setting.affected(affected_specs)
        self.bands = _Bands(setting)
        self.amplitude, self.beta = amp_param, beta_param
        self.terms = [
            band.power(float(nu_ref), 2.0)
            if temperature is None
            else band.dust(float(nu_ref), float(temperature))
            for band in self.bands.bands
        ]

    def amplitudes(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the amplitudes of the spectra, shape (batch, n_spectra)."""
        first, second = self.bands.of_maps(_scale(self.terms, nuisance[self.beta]))
        return nuisance[self.amplitude][:, None] * first * second * self.affected


class GalacticDustBandPass(_OneSource, AddPowerLaw):
    """Dust of the Galaxy, D_l = A (l / ell_ref)^(alpha + 2)."""

    def __init__(
        self,
        setting: Setting,
        *,
        affected_specs: Sequence[str],
        amp_param: str,
        alpha_param: str,
        beta_param: str,
        ell_ref: float,
        nu_ref: float,
        T_GALDUST: float,
    ) -> None:
        self._prepare(setting, affected_specs, amp_param, beta_param, nu_ref, T_GALDUST)
        self.parameters = (amp_param, alpha_param, beta_param)
        self.alpha = alpha_param
        _fixed_or_free(self, setting, ell_ref, None)

    def exponent(self, nuisance: Nuisance) -> torch.Tensor:
        """Return alpha + 2, shape (batch,)."""
        return nuisance[self.alpha] + 2


class GalacticDustFixedAlphaBandPass(_OneSource):
    """Dust of the Galaxy, D_l = A (l / ell_ref)^-0.4."""

    def __init__(
        self,
        setting: Setting,
        *,
        affected_specs: Sequence[str],
        amp_param: str,
        beta_param: str,
        ell_ref: float,
        nu_ref: float,
        T_GALDUST: float,
    ) -> None:
        self._prepare(setting, affected_specs, amp_param, beta_param, nu_ref, T_GALDUST)
        self.parameters = (amp_param, beta_param)
        _fixed_or_free(self, setting, ell_ref, _DUST_EXPONENT)


class SynchrotronBandPass(_OneSource, AddPowerLaw):
    """Synchrotron radiation, D_l = A (l / ell_ref)^alpha."""

    def __init__(
        self,
        setting: Setting,
        *,
        affected_specs: Sequence[str],
        amp_param: str,
        alpha_param: str,
        beta_param: str,
        ell_ref: float,
        nu_ref: float,
    ) -> None:
        self._prepare(setting, affected_specs, amp_param, beta_param, nu_ref, None)
        self.parameters = (amp_param, alpha_param, beta_param)
        self.alpha = alpha_param
        _fixed_or_free(self, setting, ell_ref, None)

    def exponent(self, nuisance: Nuisance) -> torch.Tensor:
        """Return alpha, shape (batch,)."""
        return nuisance[self.alpha]


class SynchrotronFixedAlphaBandPass(_OneSource):
    """Synchrotron radiation, D_l = A (l / ell_ref)^-0.6."""

    def __init__(
        self,
        setting: Setting,
        *,
        affected_specs: Sequence[str],
        amp_param: str,
        beta_param: str,
        ell_ref: float,
        nu_ref: float,
    ) -> None:
        self._prepare(setting, affected_specs, amp_param, beta_param, nu_ref, None)
        self.parameters = (amp_param, beta_param)
        _fixed_or_free(self, setting, ell_ref, _SYNC_EXPONENT)


class _Correlation(Add):
    """Correlation of dust and synchrotron."""

    def _prepare(
        self,
        setting: Setting,
        affected_specs: Sequence[str],
        names: tuple[str, str, str, str, str],
        references: tuple[float, float],
        temperature: float,
    ) -> None:
        self.affected = setting.affected(affected_specs)
        self.bands = _Bands(setting)
        self.own = names
        self.dust = [band.dust(float(references[0]), float(temperature)) for band in self.bands.bands]
        self.sync = [band.power(float(references[1]), 2.0) for band in self.bands.bands]

    def amplitudes(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the amplitudes of the spectra, shape (batch, n_spectra)."""
        epsilon, dust, beta_dust, sync, beta_sync = (nuisance[name] for name in self.own)
        d_1, d_2 = self.bands.of_maps(_scale(self.dust, beta_dust))
        s_1, s_2 = self.bands.of_maps(_scale(self.sync, beta_sync))
        power = dust * sync
        # the root has no gradient at zero, and there the correlation is zero
        mean = torch.where(power == 0, 0.0, torch.where(power == 0, 1.0, power).sqrt())
        return (epsilon * mean)[:, None] * (d_1 * s_2 + s_1 * d_2) * self.affected


class GalacticDustSynchrotronCorrelationBandPass(_Correlation, AddPowerLaw):
    """Correlation of dust and synchrotron with the mean of their exponents."""

    def __init__(
        self,
        setting: Setting,
        *,
        affected_specs: Sequence[str],
        correlation_param: str,
        dust_amp_param: str,
        dust_alpha_param: str,
        dust_beta_param: str,
        sync_amp_param: str,
        sync_alpha_param: str,
        sync_beta_param: str,
        ell_ref: float,
        nu_ref_dust: float,
        nu_ref_sync: float,
        T_GALDUST: float,
    ) -> None:
        names = (correlation_param, dust_amp_param, dust_beta_param, sync_amp_param, sync_beta_param)
        self._prepare(setting, affected_specs, names, (nu_ref_dust, nu_ref_sync), T_GALDUST)
        self.alphas = (dust_alpha_param, sync_alpha_param)
        self.parameters = (*names, *self.alphas)
        _fixed_or_free(self, setting, ell_ref, None)

    def exponent(self, nuisance: Nuisance) -> torch.Tensor:
        """Return (alpha_dust + 2 + alpha_sync) / 2, shape (batch,)."""
        dust, sync = (nuisance[name] for name in self.alphas)
        return (dust + 2 + sync) / 2


class GalacticDustSynchrotronCorrelationFixedAlphaBandPass(_Correlation):
    """Correlation of dust and synchrotron, proportional to (l / ell_ref)^-0.5."""

    def __init__(
        self,
        setting: Setting,
        *,
        affected_specs: Sequence[str],
        correlation_param: str,
        dust_amp_param: str,
        dust_beta_param: str,
        sync_amp_param: str,
        sync_beta_param: str,
        ell_ref: float,
        nu_ref_dust: float,
        nu_ref_sync: float,
        T_GALDUST: float,
    ) -> None:
        names = (correlation_param, dust_amp_param, dust_beta_param, sync_amp_param, sync_beta_param)
        self._prepare(setting, affected_specs, names, (nu_ref_dust, nu_ref_sync), T_GALDUST)
        self.parameters = names
        _fixed_or_free(self, setting, ell_ref, _MEAN_EXPONENT)


class _Decorrelation(OnDevice):
    """Loss of coherence between frequencies: Delta^(ln(nu_1/nu_2)^2 / ln(pivot_1/pivot_2)^2 f(l)), 1 in auto spectra.

    f is 1, l (``ell_scaling: linear``) or l^2 (``quadratic``).
    """

    def __init__(
        self, setting: Setting, bands: _Bands, name: str, nu_pivot: Sequence[float], ell_scaling: str | None
    ) -> None:
        scalings = {None: 0, "linear": 1, "quadratic": 2}
        if ell_scaling not in scalings:
            raise LikelihoodError(
                f"ell_scaling: expected linear, quadratic or nothing, found {ell_scaling!r}"
            )
        if len(nu_pivot) != 2:
            raise LikelihoodError(f"nu_pivot: expected two frequencies [GHz], found {nu_pivot!r}")
        pivot = math.log(float(nu_pivot[0]) / float(nu_pivot[1])) ** 2
        apart = [math.log(a / b) ** 2 / pivot for a, b in bands.centres()]
        auto = [len(set(s.maps)) == 1 for s in setting.spectra]
        self.name = name
        self.distance = torch.tensor(
            [0.0 if same else x for x, same in zip(apart, auto, strict=True)], dtype=torch.float64
        )
        self.ell = torch.from_numpy(setting.ell.astype(np.float64) ** scalings[ell_scaling])

    def factor(self, nuisance: Nuisance) -> torch.Tensor:  # shape: (batch, n_spectra, n_ell)
        exponent = self.distance[:, None] * self.ell
        return torch.exp(torch.log(nuisance[self.name])[:, None, None] * exponent)


class GalacticDustDecorrelationBandPass(GalacticDustBandPass):
    """Dust whose pattern changes between frequencies."""

    def __init__(
        self,
        setting: Setting,
        *,
        decorr_param: str,
        nu_pivot: Sequence[float],
        affected_specs: Sequence[str],
        amp_param: str,
        alpha_param: str,
        beta_param: str,
        ell_ref: float,
        nu_ref: float,
        T_GALDUST: float,
        ell_scaling: str | None = None,
    ) -> None:
        super().__init__(
            setting,
            affected_specs=affected_specs,
            amp_param=amp_param,
            alpha_param=alpha_param,
            beta_param=beta_param,
            ell_ref=ell_ref,
            nu_ref=nu_ref,
            T_GALDUST=T_GALDUST,
        )
        self.loss = _Decorrelation(setting, self.bands, decorr_param, nu_pivot, ell_scaling)
        self.parameters = (*self.parameters, decorr_param)

    def shape(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the power law times the coherence, shape (batch, n_spectra, n_ell)."""
        return super().shape(nuisance)[:, None, :] * self.loss.factor(nuisance)


class GalacticDustFixedAlphaDecorrelationBandPass(GalacticDustFixedAlphaBandPass):
    """Dust of fixed exponent whose pattern changes between frequencies."""

    def __init__(
        self,
        setting: Setting,
        *,
        decorr_param: str,
        nu_pivot: Sequence[float],
        affected_specs: Sequence[str],
        amp_param: str,
        beta_param: str,
        ell_ref: float,
        nu_ref: float,
        T_GALDUST: float,
        ell_scaling: str | None = None,
    ) -> None:
        super().__init__(
            setting,
            affected_specs=affected_specs,
            amp_param=amp_param,
            beta_param=beta_param,
            ell_ref=ell_ref,
            nu_ref=nu_ref,
            T_GALDUST=T_GALDUST,
        )
        self.loss = _Decorrelation(setting, self.bands, decorr_param, nu_pivot, ell_scaling)
        self.parameters = (*self.parameters, decorr_param)
        self.power = power_law(setting.ell, ell_ref, _DUST_EXPONENT)
        self.template = None  # the coherence changes the shape

    def shape(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the power law times the coherence, shape (batch, n_spectra, n_ell)."""
        return self.power * self.loss.factor(nuisance)
