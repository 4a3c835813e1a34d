"""Foregrounds of small angular scales at effective frequencies.

Dutcher et al. 2021 (arXiv:2101.01684), section VI B, and Balkenhol et al. 2023 (arXiv:2212.05642), section III C;
amplitudes D_l [uK^2] at ell_ref and nu_ref.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

from cmbfit.errors import DataError, LikelihoodError, unknown_name
from cmbfit.likelihood.steps import sed
from cmbfit.likelihood.steps.base import Add, AddPowerLaw, Nuisance, Setting, power_law

T = TypeVar("T")


class PoissonPower(Add):
    """Sources at random, D_l = A (l / ell_ref)^2, with an amplitude of its own for each spectrum that is listed."""

    def __init__(self, setting: Setting, *, spec_param_dict: Mapping[str, str], ell_ref: float) -> None:
        self.affected = setting.affected(spec_param_dict, "spec_param_dict")
        self.names = [spec_param_dict.get(s.name) for s in setting.spectra]
        self.parameters = tuple(dict.fromkeys(name for name in self.names if name is not None))
        self.template = power_law(setting.ell, ell_ref, 2)

    def amplitudes(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the parameters of the spectra, shape (batch, n_spectra)."""
        nothing = torch.zeros_like(nuisance[self.parameters[0]])
        return torch.stack([nothing if n is None else nuisance[n] for n in self.names], dim=1)


class RadioPoisson(Add):
    """Radio galaxies at random with a population of power laws, one amplitude for all spectra."""

    def __init__(
        self,
        setting: Setting,
        *,
        affected_specs: Sequence[str],
        amp_param: str,
        beta_val: float,
        sigmasq_val: float,
        ell_ref: float,
        nu_ref: float,
        effective_frequencies: str,
    ) -> None:
        self.affected = setting.affected(affected_specs)
        self.parameters = (amp_param,)
        self.template = power_law(setting.ell, ell_ref, 2)
        scales = [
            [sed.radio(nu, float(nu_ref), float(beta_val), float(sigmasq_val)) for nu in maps]
            for maps in setting.effective(effective_frequencies)
        ]
        self.scales = self.affected * torch.tensor(scales, dtype=torch.float64).prod(1)

    def amplitudes(self, nuisance: Nuisance) -> torch.Tensor:
        """Return amplitude times the frequencies' factors, shape (batch, n_spectra)."""
        return nuisance[self.parameters[0]][:, None] * self.scales


class _Dust(Add):
    """Modified blackbody: amplitude times both maps' factors."""

    def _prepare(
        self, setting: Setting, affected_specs: Sequence[str], source: str, nu_ref: float, temperature: float
    ) -> None:
        self.affected = setting.affected(affected_specs)
        pairs = setting.effective(source)
        bodies = [
            sed.ModifiedBlackbody([maps[i] for maps in pairs], float(nu_ref), float(temperature))
            for i in (0, 1)
        ]
        self.constant = bodies[0].constant * bodies[1].constant * self.affected
        self.log_nu = bodies[0].log_nu + bodies[1].log_nu
        self.single = [body.constant for body in bodies], [body.log_nu for body in bodies]

    def scales(self, beta: torch.Tensor) -> torch.Tensor:  # shape: (batch, n_spectra)
        return self.constant * torch.exp(beta[:, None] * self.log_nu)

    def of_map(self, i: int, beta: torch.Tensor) -> torch.Tensor:  # shape: (batch, n_spectra)
        """Return the factor of each spectrum's first or second map alone."""
        constants, logs = self.single
        return constants[i] * torch.exp(beta[:, None] * logs[i])


class CIBClustering(_Dust):
    """Clustered infrared background, D_l = A (l / ell_ref)^alpha with the spectrum of dust of temperature T_CIB."""

    def __init__(
        self,
        setting: Setting,
        *,
        affected_specs: Sequence[str],
        amp_param: str,
        beta_param: str,
        alpha: float,
        ell_ref: float,
        nu_ref: float,
        T_CIB: float,
        effective_frequencies: str,
    ) -> None:
        self._prepare(setting, affected_specs, effective_frequencies, nu_ref, T_CIB)
        self.parameters = (amp_param, beta_param)
        self.template = self.fixed = power_law(setting.ell, ell_ref, alpha)

    def amplitudes(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the amplitudes of the spectra, shape (batch, n_spectra)."""
        amplitude, beta = (nuisance[name] for name in self.parameters)
        return amplitude[:, None] * self.scales(beta)


class GalacticDust(_Dust, AddPowerLaw):
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
        effective_frequencies: str,
    ) -> None:
        self._prepare(setting, affected_specs, effective_frequencies, nu_ref, T_GALDUST)
        self.parameters = (amp_param, alpha_param, beta_param)
        self.log_ell = torch.from_numpy(np.log(setting.ell / float(ell_ref)))

    def amplitudes(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the amplitudes of the spectra, shape (batch, n_spectra)."""
        amplitude, _, beta = (nuisance[name] for name in self.parameters)
        return amplitude[:, None] * self.scales(beta)

    def exponent(self, nuisance: Nuisance) -> torch.Tensor:
        """Return alpha + 2, shape (batch,)."""
        return nuisance[self.parameters[1]] + 2


def read_template(setting: Setting, file: str, ell_ref: float) -> torch.Tensor:  # shape: (n_ell,)
    """Read l and D_l, and scale it to 1 at `ell_ref` unless that is 0.

    Raises
    ------
    DataError
        If it does not cover the windows' multipoles in steps of one.
    """
    table = setting.table(file)
    first, last = int(setting.ell[0]), int(setting.ell[-1])
    if table.ndim != 2 or table.shape[1] < 2:
        raise DataError(f"{file}: expected l and the template in two columns, found shape {table.shape}")
    ell, values = table[:, 0], table[:, 1]
    wanted = (ell >= first) & (ell <= last)
    if not np.array_equal(ell[wanted], setting.ell):
        raise DataError(
            f"{file}: expected l = {first} to {last} in steps of one, as far as the windows reach, found l = {ell[0]:g} to "
            f"{ell[-1]:g} in {len(ell)} rows"
        )
    if ell_ref > 0:
        at = np.flatnonzero(ell == ell_ref)
        if not at.size or values[at[0]] == 0:
            raise DataError(f"{file}: expected a value at ell_ref = {ell_ref:g} to scale it by")
        values = values / values[at[0]]
    return torch.from_numpy(np.ascontiguousarray(values[wanted], dtype=np.float64))


class tSZTemplateForeground(Add):  # noqa: N801  the format's name
    """Thermal Sunyaev-Zel'dovich effect, a template times the effect's spectrum in both maps."""

    def __init__(
        self,
        setting: Setting,
        *,
        template_file: str,
        affected_specs: Sequence[str],
        amp_param: str,
        ell_ref: float,
        nu_ref: float,
        effective_frequencies: str,
    ) -> None:
        self.affected = setting.affected(affected_specs)
        self.parameters = (amp_param,)
        self.template = self.fixed = read_template(setting, template_file, float(ell_ref))
        maps = [
            [sed.thermal_sz(nu, float(nu_ref)) for nu in m] for m in setting.effective(effective_frequencies)
        ]
        self.maps = torch.tensor(maps, dtype=torch.float64)

    def amplitudes(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the amplitudes of the spectra, shape (batch, n_spectra)."""
        return nuisance[self.parameters[0]][:, None] * (self.affected * self.maps.prod(1))


class kSZTemplateForeground(Add):  # noqa: N801
    """Kinetic Sunyaev-Zel'dovich effect, a template of the CMB's own spectrum."""

    def __init__(
        self,
        setting: Setting,
        *,
        template_file: str,
        affected_specs: Sequence[str],
        amp_param: str,
        ell_ref: float,
    ) -> None:
        self.affected = setting.affected(affected_specs)
        self.parameters = (amp_param,)
        self.template = read_template(setting, template_file, float(ell_ref))

    def amplitudes(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the amplitude in each spectrum, shape (batch, n_spectra)."""
        return nuisance[self.parameters[0]][:, None] * self.affected


class CIBtSZCorrelationGeometricMean(Add):
    """Correlation of the infrared background with the thermal SZ effect.

    D_l = -xi [sqrt(CIB_11 tSZ_22) + sqrt(CIB_22 tSZ_11)] with the power of each in the maps' own spectra (Reichardt
    et al. 2021, arXiv:2002.06197, eq. 6).

    Parameters
    ----------
    link_transformation_module_CIB, link_transformation_module_tSZ : str
        Names of the steps, which come earlier; the first of that name is meant.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        affected_specs: Sequence[str],
        amp_param: str,
        link_transformation_module_CIB: str,
        link_transformation_module_tSZ: str,
    ) -> None:
        self.cib = _earlier(setting, link_transformation_module_CIB, CIBClustering)
        self.tsz = _earlier(setting, link_transformation_module_tSZ, tSZTemplateForeground)
        self.affected = setting.affected(affected_specs) * self.cib.affected * self.tsz.affected
        self.parameters = (amp_param, *self.cib.parameters, *self.tsz.parameters)
        self.template = (self.cib.fixed * self.tsz.fixed).sqrt()

    def amplitudes(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the amplitudes of the spectra, shape (batch, n_spectra); not a number where a power is negative."""
        xi, cib, beta, tsz = (nuisance[name] for name in self.parameters)
        power = cib * tsz
        # the root has no gradient at zero, and there the correlation is zero
        mean = torch.where(power == 0, 0.0, torch.where(power == 0, 1.0, power).sqrt())
        sizes = self.tsz.maps.abs()
        crossed = self.cib.of_map(0, beta) * sizes[:, 1] + self.cib.of_map(1, beta) * sizes[:, 0]
        return -(xi * mean)[:, None] * crossed * self.affected


def _earlier(setting: Setting, name: str, kind: type[T]) -> T:
    """Return the earlier step that a link names."""
    found = next((step for step in setting.before if isinstance(step, kind)), None)
    if found is None or name.rpartition(".")[2] != kind.__name__:
        raise LikelihoodError(
            f"expected a {kind.__name__} among the steps before it, which {name!r} links to; "
            f"{unknown_name('step', name, [type(s).__name__ for s in setting.before])}"
        )
    return found
