"""cmbfit's data sets and emulators inside Cobaya (Torrado & Lewis 2021, arXiv:2005.05290).

Needs the optional dependency ``cobaya``. In a Cobaya input file::

    likelihood:
      plik_lite: {class: cmbfit.cobaya.DataSet, data: planck2018_plik_lite_ttteee}
      lowl_ee: {class: cmbfit.cobaya.DataSet, data: planck2018_lowl_ee}
    theory:
      camb: ...                            # or, a thousand times faster:
      emulator: {class: cmbfit.cobaya.Emulator, bundle: lcdm_planck2018}    # extends: [mnu] with a parameter beyond LCDM

or, ten times faster again, data and emulator folded into one likelihood of the emulator's parameters, without spectra and without
a theory block::

    likelihood:
      planck: {class: cmbfit.cobaya.Folded, data: [planck2018_plik_lite_ttteee, planck2018_lowl_ee], bundle: lcdm_planck2018}

Nuisance parameters (A_planck, ...) are Cobaya's to sample: give them with their priors under ``params`` and ``prior``;
:func:`cobaya_blocks` writes these blocks. cmbfit never adds a prior there. Data sets that count the same sky are refused, as
in a fit; of likelihoods that are not cmbfit's nothing is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from cobaya.likelihood import Likelihood as CobayaLikelihood
from cobaya.log import LoggedError
from cobaya.theory import Theory as CobayaTheory

from cmbfit.errors import CmbfitError, LikelihoodError, OutsideBoxError
from cmbfit.fit.build import load_data
from cmbfit.likelihood.base import Likelihood, refuse_double_counting
from cmbfit.likelihood.compiled import compile_if_possible
from cmbfit.likelihood.few_points import log_like_of_one
from cmbfit.likelihood.low_redshift.measured import HORIZON, DistanceLikelihood, Seen, background_of
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.priors import Gaussian, JointGaussian, Prior, Uniform
from cmbfit.likelihood.shared_priors import shared_priors
from cmbfit.likelihood.tau_prior import ParameterGaussian
from cmbfit.theory.background.distances import Distances
from cmbfit.theory.base import Theory
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.extrapolation import extrapolate_to
from cmbfit.theory.parameters import DERIVED, latex_label
from cmbfit.theory.spectra import Spectra
from cmbfit.units import SPEED_OF_LIGHT

Data = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""One item of a fit's list of data, or several."""

_FAR = 20.0
"""Widths of a joint prior's marginal to which Cobaya's flat range reaches on either side."""


def cobaya_blocks(data: Data) -> dict[str, dict[str, Any]]:
    """Return Cobaya's ``params`` and ``prior`` blocks of the nuisance parameters of data sets.

    A prior of several parameters together (SPT-3G's calibrations, correlated by 0.19) becomes an external prior
    of flat parameters; the sum of both is its normalised density.

    Parameters
    ----------
    data : str, mapping or sequence of them
        As a fit's ``data``; all data sets of the input, so that each parameter gets one prior.

    Returns
    -------
    dict
        ``params`` and ``prior``, to be merged into the input; both may be written as YAML.

    Raises
    ------
    LikelihoodError
        If data sets count the same sky or recommend different priors for one parameter.

    Examples
    --------
    >>> cobaya_blocks("planck2018_plik_lite_tt")["params"]["A_planck"]["prior"]
    {'dist': 'norm', 'loc': 1.0, 'scale': 0.0025}
    >>> list(cobaya_blocks("spt3g_2018_lite")["prior"])
    ['Tcal_Ecal']
    """
    priors, joint = shared_priors(load_data(_items(data)))
    params = {name: _param(name, prior) for name, prior in priors.items()}
    for together in joint:
        for name in together.names:
            params[name]["prior"] = dict(zip(("min", "max"), _range(together, name), strict=True))
    return {"params": params, "prior": {"_".join(x.names): _density(x) for x in joint}}


def nuisance_params(data: Data) -> dict[str, Any]:
    """Return Cobaya's ``params`` block of the nuisance parameters of data sets, each with its one prior.

    Raises
    ------
    LikelihoodError
        If parameters have a prior together, which this block cannot hold; or as :func:`cobaya_blocks`.

    Examples
    --------
    >>> nuisance_params(["planck2018_plik_lite_tt"])["A_planck"]["prior"]
    {'dist': 'norm', 'loc': 1.0, 'scale': 0.0025}
    """
    blocks = cobaya_blocks(data)
    if blocks["prior"]:
        raise LikelihoodError(
            f"{' and '.join(blocks['prior'])}: expected a prior for each parameter, found one for several together, which "
            "params cannot hold; use cobaya_blocks, which gives params and prior"
        )
    return blocks["params"]


def _items(data: Data) -> Sequence[str | Mapping[str, Any]]:
    return [data] if isinstance(data, str | Mapping) else list(data)


def _param(name: str, prior: Prior) -> dict[str, Any]:
    if isinstance(prior, Gaussian):
        block: dict[str, Any] = {"dist": "norm", "loc": prior.mean, "scale": prior.std}
        centre, width = prior.mean, prior.std
    elif isinstance(prior, Uniform):
        block = {"min": prior.low, "max": prior.high}
        centre, width = (prior.low + prior.high) / 2, (prior.high - prior.low) / 10
    else:
        raise CmbfitError(f"{name}: Cobaya's form of the prior {prior} is not known; write it")
    ref = {"dist": "norm", "loc": centre, "scale": width / 2}
    return {"prior": block, "ref": ref, "proposal": width / 2, "latex": latex_label(name)}


def _range(joint: JointGaussian, name: str) -> tuple[float, float]:
    one = joint.marginal(name)
    return one.mean - _FAR * one.std, one.mean + _FAR * one.std


def _density(joint: JointGaussian) -> str:
    """Return the log density as a lambda, less that of the flat ranges, which Cobaya adds."""
    covariance = np.array(joint.covariance)
    precision = np.linalg.inv(covariance)
    ranges = [_range(joint, name) for name in joint.names]
    constant = -0.5 * float(np.linalg.slogdet(2 * np.pi * covariance)[1])
    constant += sum(math.log(high - low) for low, high in ranges)
    away = [f"({name} - {mean!r})" for name, mean in zip(joint.names, joint.mean, strict=True)]
    terms = [
        f"{(-0.5 if i == j else -1.0) * float(precision[i, j])!r} * {away[i]} * {away[j]}"
        for i in range(len(away))
        for j in range(i + 1)
    ]
    return f"lambda {', '.join(joint.names)}: {' + '.join([repr(constant), *terms])}"


class DataSet(CobayaLikelihood):
    """Data of cmbfit as a Cobaya likelihood: lensed D_l in, ln L without priors out.

    Options
    -------
    data : str, mapping or list
        One item of a fit's ``data`` or several: names of data sets and combinations (``p_act``), ``{NAME: {cuts: ...}}``,
        ``{candl: FILE.yaml}``, ``{sacc: FILE.fits, ...}``. Several make one likelihood, the sum.
    """

    data: Data

    def initialize(self) -> None:
        """Load the data; files are checked against their sha256."""
        try:
            loaded = load_data(_items(self.data))
        except CmbfitError as error:
            raise LoggedError(self.log, "%s", error) from error
        self._likelihoods = [x.folded() if isinstance(x, DistanceLikelihood) else x for x in loaded]

    @property
    def likelihoods(self) -> list[Likelihood]:
        """The data sets."""
        return self._likelihoods

    def get_requirements(self) -> dict[str, Any]:
        """Ask for spectra as far as the data reach, parameters beside them, and nuisance parameters."""
        reach: dict[str, int] = {}
        for like in self._likelihoods:
            for pair in like.pairs:
                reach[pair] = max(reach.get(pair, 0), like.lmax)
        spectra = {"Cl": reach} if reach else {}
        return spectra | self._of_background() | dict.fromkeys([*self._beside(), *self._nuisances()])

    def _of_background(self) -> dict[str, Any]:
        """Return the distances that are needed, and the sound horizon."""
        likes = [like for like in self._likelihoods if isinstance(like, DistanceLikelihood)]
        if not likes:
            return {}
        z = np.unique(np.concatenate([like.z for like in likes]))
        horizon = {HORIZON: None} if any(like.with_horizon for like in likes) else {}
        return {"angular_diameter_distance": {"z": z}, "Hubble": {"z": z}} | horizon

    def _seen(self, like: DistanceLikelihood) -> Seen:
        """Return the provider's distances as a data set wants them."""
        z = like.z
        dm = (1 + z) * self.provider.get_angular_diameter_distance(z)
        dh = SPEED_OF_LIGHT / 1e3 / self.provider.get_Hubble(z, units="km/s/Mpc")
        log = [torch.from_numpy(np.log(np.array(x, dtype=np.float64)))[:, None] for x in (dm, dh)]
        horizon = _row(self.provider.get_param(HORIZON))[:, 0].log() if like.with_horizon else None
        return Seen(log[0], log[1], horizon)

    def initialize_with_provider(self, provider: Any) -> None:
        """Refuse data that another of the input's data sets counts too."""
        super().initialize_with_provider(provider)
        all_of_them = [x for x in provider.model.likelihood.values() if isinstance(x, DataSet)]
        try:
            refuse_double_counting([like.info for x in all_of_them for like in x.likelihoods])
        except LikelihoodError as error:
            raise LoggedError(self.log, "%s", error) from error

    def _nuisances(self) -> list[str]:
        return list(dict.fromkeys(n for like in self._likelihoods for n in like.info.nuisance))

    def _beside(self) -> list[str]:
        """Return the parameters that data ask for beside spectra: tau, of which `tau_lowe` is a measurement."""
        return [like.parameter for like in self._likelihoods if isinstance(like, ParameterGaussian)]

    def logp(self, **values: Any) -> float:
        """Return ln L at the provider's spectra."""
        dl: Mapping[str, np.ndarray] = {}
        if any(like.pairs for like in self._likelihoods):
            dl = self.provider.get_Cl(ell_factor=True, units="muK2")
        beside = {p: _row(self.provider.get_param(p))[:, 0] for p in self._beside()}
        nuisance = {name: _row(values[name])[:, 0] for name in self._nuisances()}
        with torch.no_grad():
            value = sum(
                like.log_prob_of(self._seen(like), nuisance).item()
                if isinstance(like, DistanceLikelihood)
                else like.log_prob(_spectra(dl, like, beside), nuisance).item()
                for like in self._likelihoods
            )
        return value if math.isfinite(value) else -math.inf


class Folded(CobayaLikelihood):
    """Data of cmbfit and an emulator as one Cobaya likelihood: ln L of the emulator's parameters and the nuisances, without priors.

    As in a fit of cmbfit the linear steps are folded, and a point costs a hundredth of what its spectra cost. Spectra and
    derived parameters are not there; take :class:`Emulator` and :class:`DataSet` where they are wanted.

    Options
    -------
    data : str, mapping or list
        As :class:`DataSet`'s.
    bundle, extends : str, list of str
        As :class:`Emulator`'s. Points outside its box have zero probability.
    """

    data: Data
    bundle: str = "lcdm_planck2018"
    extends: Sequence[str] = ()

    def initialize(self) -> None:
        """Load data and emulator and fold them; data that count the same sky are refused."""
        try:
            likelihoods = load_data(_items(self.data))
            theory = extrapolate_to(_emulator(self), max(like.lmax for like in likelihoods))
            box = {p: Uniform(*theory.box[p]) for p in theory.parameters}
            self._posterior = compile_if_possible(Posterior(theory, likelihoods, box))
        except CmbfitError as error:
            raise LoggedError(self.log, "%s", error) from error
        self._log_like = log_like_of_one(self._posterior)

    def get_requirements(self) -> dict[str, Any]:
        """Ask for the emulator's parameters and the data's nuisance parameters."""
        return dict.fromkeys(self._posterior.parameters)

    def logp(self, **values: Any) -> float:
        """Return ln L."""
        theta = np.array([float(values[p]) for p in self._posterior.parameters])
        return self._log_like(theta)


def _spectra(dl: Mapping[str, np.ndarray], like: Likelihood, beside: Mapping[str, torch.Tensor]) -> Spectra:
    rows = {pair: _row(dl[pair][: like.lmax + 1]) for pair in like.pairs}
    return Spectra(rows or {"tt": torch.zeros(1, 1, dtype=torch.float64)}, beside)


def _row(x: Any) -> torch.Tensor:  # shape: (1, n)
    return torch.from_numpy(np.atleast_1d(np.array(x, dtype=np.float64)))[None]


def _emulator(owner: Any) -> Theory:
    return load_emulator(owner.bundle, extends=owner.extends)


class Emulator(CobayaTheory):
    """An emulator of cmbfit as a Cobaya theory: it takes the emulator's own parameters.

    Where data reach beyond an emulator that ends high enough, its spectra are continued as in a fit
    (:mod:`cmbfit.theory.extrapolation`).

    Options
    -------
    bundle : str
        Shipped name or a bundle's folder. Points outside its box have zero probability.
    extends : list of str
        Parameters beyond LCDM (mnu, ...): the shipped emulator that has them is taken.
    """

    bundle: str = "lcdm_planck2018"
    extends: Sequence[str] = ()
    _z: np.ndarray | None = None
    _distances: Distances | None = None

    def initialize(self) -> None:
        """Load the emulator; it reproduces its own reference predictions or raises."""
        try:
            self._theory: Theory = _emulator(self)
        except CmbfitError as error:
            raise LoggedError(self.log, "%s", error) from error
        centre = [(low + high) / 2 for low, high in self._theory.box.values()]
        with torch.no_grad():
            self._pairs = tuple(self._theory.spectra(_row(centre)).dl)

    def get_requirements(self) -> dict[str, Any]:
        """Ask for the emulator's parameters."""
        return dict.fromkeys(self._theory.parameters)

    def get_can_provide(self) -> list[str]:
        """Return what it provides: spectra, and distances."""
        return ["Cl", "angular_diameter_distance", "Hubble"]

    def get_can_provide_params(self) -> list[str]:
        """Return the derived parameters' names."""
        return list(DERIVED)

    def must_provide(self, **requirements: Any) -> None:
        """Reach as far as is asked for; refuse spectra that the emulator lacks."""
        super().must_provide(**requirements)
        wanted = [requirements[x]["z"] for x in ("angular_diameter_distance", "Hubble") if x in requirements]
        if wanted:
            known = [] if self._z is None else [self._z]
            self._z = np.unique(np.concatenate([*known, *(np.atleast_1d(x) for x in wanted)]))
            self._distances = Distances(self._z[self._z > 0])
        for pair, lmax in requirements.get("Cl", {}).items():
            self._theory = extrapolate_to(self._theory, lmax)
            if pair.lower().replace("et", "te") not in self._pairs or lmax > self._theory.lmax:
                raise LoggedError(
                    self.log,
                    "%s up to l = %d: the emulator %s has %s up to %d",
                    *(pair, lmax, self.bundle, " ".join(self._pairs), self._theory.lmax),
                )

    def calculate(self, state: dict[str, Any], want_derived: bool = True, **values: Any) -> bool:
        """Compute spectra and derived parameters; False outside the box."""
        theta = _row([float(values[p]) for p in self._theory.parameters])
        try:
            with torch.no_grad():
                spectra = self._theory.spectra(theta)
        except OutsideBoxError:
            return False
        state["Cl"] = {pair: x[0].numpy() for pair, x in spectra.dl.items()}
        if self._distances is not None:
            with torch.no_grad():
                dm, dh = self._distances(background_of(self.bundle, spectra.parameters))
            state["distances"] = dm[:, 0].exp().numpy(), dh[:, 0].exp().numpy()
            state["H0"] = spectra.parameters["H0"].item()
        if want_derived:
            state["derived"] = {p: spectra.parameters[p].item() for p in DERIVED}
        return True

    def _at(self, values: np.ndarray, z: Any, today: float) -> np.ndarray:
        """Return a distance at redshifts that were asked for."""
        z = np.atleast_1d(np.array(z, dtype=float))
        if self._z is None or not np.isin(z, self._z).all():
            raise LoggedError(self.log, "distances at z = %s were not asked for in must_provide", z)
        above = self._z[self._z > 0]
        return np.where(z > 0, values[np.searchsorted(above, z).clip(0, len(above) - 1)], today)

    def get_angular_diameter_distance(self, z: Any) -> np.ndarray:
        """Return physical angular-diameter distances [Mpc] at redshifts."""
        return self._at(self.current_state["distances"][0], z, 0.0) / (1 + np.atleast_1d(z))

    def get_Hubble(self, z: Any, units: str = "km/s/Mpc") -> np.ndarray:  # noqa: N802 (Cobaya's name)
        """Return the Hubble rate at redshifts, in km/s/Mpc or 1/Mpc."""
        c = SPEED_OF_LIGHT / 1e3
        if units not in ("km/s/Mpc", "1/Mpc"):
            raise LoggedError(self.log, "expected units km/s/Mpc or 1/Mpc, found %s", units)
        dh = self._at(self.current_state["distances"][1], z, c / self.current_state["H0"])
        return (c if units == "km/s/Mpc" else 1.0) / dh

    def get_Cl(self, ell_factor: bool = False, units: str = "FIRASmuK2") -> Mapping[str, np.ndarray]:  # noqa: N802 (Cobaya's name)
        """Return lensed spectra from l = 0 in uK^2, te as et too; pp is the lensing potential's."""
        if units not in ("muK2", "FIRASmuK2"):
            raise LoggedError(self.log, "expected units muK2 or FIRASmuK2, found %s", units)
        dl = self.current_state["Cl"]
        ell = np.arange(self._theory.lmax + 1, dtype=float)
        factor = np.maximum(ell * (ell + 1), 1) / (2 * np.pi)
        out = {"ell": ell}
        for pair, x in dl.items():
            power = factor * np.maximum(ell * (ell + 1), 1) if pair == "pp" else factor
            out[pair] = x.copy() if ell_factor else x / power
        return out | ({"et": out["te"]} if "te" in out else {})
