"""cmbfit's data sets and emulators inside Cobaya (Torrado & Lewis 2021, arXiv:2005.05290).

Needs the optional dependency ``cobaya``. In a Cobaya input file::

    likelihood:
      plik_lite: {class: cmbfit.cobaya.DataSet, data: planck2018_plik_lite_ttteee}
      lowl_ee: {class: cmbfit.cobaya.DataSet, data: planck2018_lowl_ee}
    theory:
      camb: ...                            # or, a thousand times faster:
      emulator: {class: cmbfit.cobaya.Emulator, bundle: lcdm_planck2018}

Nuisance parameters (A_planck, ...) are Cobaya's to sample: give them with their priors under ``params``;
:func:`nuisance_params` writes that block. cmbfit never adds a prior there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cobaya.likelihood import Likelihood as CobayaLikelihood
from cobaya.log import LoggedError
from cobaya.theory import Theory as CobayaTheory

from cmbfit.errors import CmbfitError, OutsideBoxError
from cmbfit.likelihood import Gaussian, load_likelihood
from cmbfit.likelihood.priors import Uniform
from cmbfit.likelihood.shared_priors import shared_priors
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.parameters import DERIVED, latex_label
from cmbfit.theory.spectra import Spectra


def nuisance_params(data: Sequence[str]) -> dict[str, Any]:
    """Return Cobaya's ``params`` block of the nuisance parameters of data sets, each with its one prior.

    Examples
    --------
    >>> nuisance_params(["planck2018_plik_lite_tt"])["A_planck"]["prior"]
    {'dist': 'norm', 'loc': 1.0, 'scale': 0.0025}
    """
    out: dict[str, Any] = {}
    for parameter, prior in shared_priors([load_likelihood(name) for name in data])[0].items():
        if isinstance(prior, Gaussian):
            block: dict[str, Any] = {"dist": "norm", "loc": prior.mean, "scale": prior.std}
            centre, width = prior.mean, prior.std
        elif isinstance(prior, Uniform):
            block = {"min": prior.low, "max": prior.high}
            centre, width = (prior.low + prior.high) / 2, (prior.high - prior.low) / 10
        else:
            raise CmbfitError(f"{parameter}: Cobaya's form of the prior {prior} is not known; write it")
        latex = latex_label(parameter)
        ref = {"dist": "norm", "loc": centre, "scale": width / 2}
        out[parameter] = {"prior": block, "ref": ref, "proposal": width / 2, "latex": latex}
    return out


class DataSet(CobayaLikelihood):
    """A data set of cmbfit as a Cobaya likelihood: lensed D_l in, ln L without priors out.

    Options
    -------
    data : str
        Name of the data set, one of :func:`cmbfit.likelihood.dataset_names`.
    """

    data: str

    def initialize(self) -> None:
        """Load the data set; its files are checked against their sha256."""
        try:
            self._likelihood = load_likelihood(self.data)
        except CmbfitError as error:
            raise LoggedError(self.log, "%s", error) from error

    def get_requirements(self) -> dict[str, Any]:
        """Ask for spectra up to the data set's largest multipole, and for its nuisance parameters."""
        pairs = dict.fromkeys(self._likelihood.pairs, self._likelihood.lmax)
        return {"Cl": pairs} | dict.fromkeys(self._likelihood.info.nuisance)

    def logp(self, **values: Any) -> float:
        """Return ln L at the provider's spectra."""
        cl = self.provider.get_Cl(ell_factor=True, units="muK2")
        n = self._likelihood.lmax + 1
        spectra = Spectra({p: _row(cl[p][:n]) for p in self._likelihood.pairs})
        nuisance = {name: _row(values[name])[:, 0] for name in self._likelihood.info.nuisance}
        with torch.no_grad():
            value = self._likelihood.log_prob(spectra, nuisance).item()
        return value if np.isfinite(value) else -np.inf


def _row(x: Any) -> torch.Tensor:  # shape: (1, n)
    return torch.from_numpy(np.atleast_1d(np.array(x, dtype=np.float64)))[None]


class Emulator(CobayaTheory):
    """An emulator of cmbfit as a Cobaya theory: it takes the emulator's own parameters.

    Options
    -------
    bundle : str
        Shipped name or a bundle's folder. Points outside its box have zero probability.
    """

    bundle: str = "lcdm_planck2018"

    def initialize(self) -> None:
        """Load the emulator; it reproduces its own reference predictions or raises."""
        try:
            self._emulator = load_emulator(self.bundle)
        except CmbfitError as error:
            raise LoggedError(self.log, "%s", error) from error

    def get_requirements(self) -> dict[str, Any]:
        """Ask for the emulator's parameters."""
        return dict.fromkeys(self._emulator.parameters)

    def get_can_provide(self) -> list[str]:
        """Return what it provides: spectra."""
        return ["Cl"]

    def get_can_provide_params(self) -> list[str]:
        """Return the derived parameters' names."""
        return list(DERIVED)

    def must_provide(self, **requirements: Any) -> None:
        """Refuse spectra that the emulator lacks."""
        super().must_provide(**requirements)
        for pair, lmax in requirements.get("Cl", {}).items():
            if pair.lower() not in ("tt", "te", "ee", "pp") or lmax > self._emulator.lmax:
                raise LoggedError(
                    self.log,
                    "%s up to l = %d: this emulator has tt te ee pp up to %d",
                    pair,
                    lmax,
                    self._emulator.lmax,
                )

    def calculate(self, state: dict[str, Any], want_derived: bool = True, **values: Any) -> bool:
        """Compute spectra and derived parameters; False outside the box."""
        theta = torch.tensor([[float(values[p]) for p in self._emulator.parameters]], dtype=torch.float64)
        try:
            with torch.no_grad():
                spectra = self._emulator.spectra(theta)
        except OutsideBoxError:
            return False
        state["Cl"] = {pair: x[0].numpy() for pair, x in spectra.dl.items()}
        if want_derived:
            state["derived"] = {p: spectra.parameters[p].item() for p in DERIVED}
        return True

    def get_Cl(self, ell_factor: bool = False, units: str = "FIRASmuK2") -> Mapping[str, np.ndarray]:  # noqa: N802 (Cobaya's name)
        """Return lensed spectra from l = 0 in uK^2; pp is the lensing potential's."""
        if units not in ("muK2", "FIRASmuK2"):
            raise LoggedError(self.log, "expected units muK2 or FIRASmuK2, found %s", units)
        dl = self.current_state["Cl"]
        ell = np.arange(self._emulator.lmax + 1, dtype=float)
        factor = np.maximum(ell * (ell + 1), 1) / (2 * np.pi)
        out = {"ell": ell}
        for pair, x in dl.items():
            power = factor * np.maximum(ell * (ell + 1), 1) if pair == "pp" else factor
            out[pair] = x.copy() if ell_factor else x / power
        return out
