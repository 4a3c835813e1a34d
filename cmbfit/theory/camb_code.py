"""CAMB behind the Theory interface, with every setting that moves chi2 pinned and recorded.

The preset `planck2018` follows the Planck 2018 analyses (but for a converged lensing potential and
N_eff = 3.044, where they had 3.046): RECFAST with the Planck-era fudge factors,
HMcode 2016, PArthENoPE BBN helium, one 0.06 eV neutrino. CAMB 2's own defaults (another
recombination, another HMcode) move plik-lite's chi2 by several units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import camb
import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import ConfigError, ParameterError, unknown_name
from cmbfit.theory.base import check_box
from cmbfit.theory.extensions import EXTENSIONS, PRIMORDIAL_EXTENSIONS, extended_parameters
from cmbfit.theory.parameters import DERIVED, FIXED
from cmbfit.theory.spectra import Spectra
from cmbfit.units import T_CMB

CAMB_COLUMNS = ("tt", "ee", "bb", "te")  # the order of CAMB's total spectra

LMAX_LEAST = 2600
"""CAMB ties its largest k, and what it lenses, to lmax: asked for 300 only, BB(80) is 2% low and 8% where lensing is kept
short. Whatever is asked for, it computes to here at least; the cost is the same."""

MAX_ETA_K_TENSOR = 4000.0
"""Where the tensors' integral over k ends: 0.3% of their BB at l = 600 is missing, of which CAMB's 1200 loses 12%."""

BOX: dict[str, tuple[float, float]] = {  # where CAMB's fits (helium table, RECFAST, HMcode) are meant to hold
    "ombh2": (0.005, 0.04),
    "omch2": (0.01, 0.4),
    "theta_mc": (0.9, 1.2),
    "tau": (0.01, 0.4),
    "logA": (1.5, 4.5),
    "ns": (0.7, 1.3),
}


@dataclass(frozen=True)
class CambSettings:
    """Everything beyond the six parameters that defines CAMB's numbers.

    Parameters
    ----------
    lmax : int
        Largest multipole handed out: no precision, since spectra are computed to :data:`LMAX_LEAST` at least. CAMB
        computes 200 more for lensing's sake, which leaves BB 1.3% low in the last 200.
    lens_potential_accuracy : float
        4 is converged to 0.2% in the lensing potential at l < 2000; 1 is what Planck 2018 used and
        is 5% off there; 0 is wrong by half a cosmic-variance sigma in TT and is refused.
    recombination, recfast_approximation, halofit, bbn_table : str
        CAMB's names of the models.
    mnu, nnu, tcmb : float
        Neutrino mass sum [eV] (one massive state), N_eff, monopole temperature [K].
    accuracy_boost, l_accuracy_boost : float
        CAMB's AccuracyBoost and lAccuracyBoost.
    """

    lmax: int = 2600
    lens_potential_accuracy: float = 4.0
    recombination: str = "Recfast"
    recfast_approximation: str = "planck"
    halofit: str = "mead2016"
    bbn_table: str = "PArthENoPE_880.2_standard.dat"
    mnu: float = FIXED["mnu"]
    nnu: float = FIXED["nnu"]
    tcmb: float = T_CMB
    accuracy_boost: float = 1.0
    l_accuracy_boost: float = 1.0

    def __post_init__(self) -> None:
        if not 2 <= self.lmax <= 12000:
            raise ConfigError(f"lmax: expected 2..12000, found {self.lmax}")
        if self.lens_potential_accuracy < 1:
            raise ConfigError(
                f"lens_potential_accuracy: expected >= 1, found {self.lens_potential_accuracy} "
                "(0 errs by half a cosmic-variance sigma in TT)"
            )


PRESETS: dict[str, CambSettings] = {
    "planck2018": CambSettings(),
    # for ACT and SPT: recombination as CosmoRec has it (ACT DR6's choice), and the lensing potential as
    # far as CAMB's own rule for this lmax asks: within 0.03 sigma_CV of lens_potential_accuracy 12 up to
    # l = 4000, 0.18 up to 5000
    "high": CambSettings(lmax=5000, lens_potential_accuracy=7.0, recfast_approximation="cosmorec"),
}


def get_preset(name: str) -> CambSettings:
    """Return a preset by name; raise :class:`~cmbfit.errors.ConfigError` if there is none."""
    if name not in PRESETS:
        raise ConfigError(unknown_name("preset", name, PRESETS))
    return PRESETS[name]


def camb_parameters(
    settings: CambSettings,
    *,
    ombh2: float,
    omch2: float,
    tau: float,
    theta_mc: float | None = None,
    H0: float | None = None,
    logA: float = 3.044,
    ns: float = 0.9649,
    **extended: float,
) -> camb.CAMBparams:
    """Return CAMB's parameter object for one point of LCDM or of its extensions.

    Parameters
    ----------
    settings : CambSettings
    ombh2, omch2, tau, theta_mc, H0, logA, ns : float
        Give either `theta_mc` or `H0`.
    **extended : float
        Any of :data:`~cmbfit.theory.extensions.EXTENSIONS`. `w` and `wa` are PPF dark energy.

    Raises
    ------
    ParameterError
        If CAMB refuses the point (no H0 gives this angle, helium table left, ...).
    """
    if bad := [name for name in extended if name not in EXTENSIONS]:
        raise ParameterError(unknown_name("extended parameter", bad[0], EXTENSIONS))
    # only what was asked for: CAMB keeps its own defaults, and LCDM's numbers their last bit
    words: dict[str, Any] = {k: x for k, x in extended.items() if k not in FIXED}
    if "w" in words or "wa" in words:
        words["dark_energy_model"] = "ppf"
    try:
        pars = camb.set_params(
            ombh2=ombh2,
            omch2=omch2,
            cosmomc_theta=None if theta_mc is None else theta_mc / 100,
            H0=H0,
            tau=tau,
            mnu=extended.get("mnu", settings.mnu),
            nnu=extended.get("nnu", settings.nnu),
            num_massive_neutrinos=1,
            TCMB=settings.tcmb,
            bbn_predictor=settings.bbn_table,
            As=math.exp(logA) * 1e-10,
            ns=ns,
            recombination_model=settings.recombination,
            recfast_approx_model=settings.recfast_approximation,
            halofit_version=settings.halofit,
            lmax=max(settings.lmax, LMAX_LEAST),
            lens_potential_accuracy=settings.lens_potential_accuracy,
            **words,
        )
    except (camb.baseconfig.CAMBError, ValueError) as error:
        raise ParameterError(
            f"CAMB refuses ombh2={ombh2}, omch2={omch2}, theta_mc={theta_mc}, H0={H0}"
            f"{', ' if extended else ''}{', '.join(f'{k}={x}' for k, x in extended.items())}: {error}"
        ) from error
    pars.set_accuracy(AccuracyBoost=settings.accuracy_boost, lAccuracyBoost=settings.l_accuracy_boost)
    pars.max_eta_k_tensor = MAX_ETA_K_TENSOR
    return pars


def _derived(
    pars: camb.CAMBparams, data: camb.CAMBdata, linear: camb.CAMBdata, draw: Mapping[str, float]
) -> dict[str, float]:
    primordial = camb.InitialPowerLaw()
    primordial.set_params(**_power_law(draw))
    linear.power_spectra_from_transfer(primordial)  # linear: sigma8 needs no other recomputation
    sigma8 = float(linear.get_sigma8_0())
    background = data.get_derived_params()
    omegam = (pars.ombh2 + pars.omch2 + pars.omnuh2) / pars.h**2
    values = {
        "H0": pars.H0,
        "omegam": omegam,
        "sigma8": sigma8,
        "S8": sigma8 * math.sqrt(omegam / 0.3),
        "thetastar": background["thetastar"],
        "rdrag": background["rdrag"],
        "age": background["age"],
        "zrei": float(camb.get_zre_from_tau(pars, pars.Reion.optical_depth)),
    }
    return {name: float(values[name]) for name in DERIVED}


def _linear_matter(pars: camb.CAMBparams) -> camb.CAMBdata:
    """Linear matter transfer functions today, for sigma8 alone (0.5 s)."""
    matter = pars.copy()
    matter.WantCls = False
    matter.WantTransfer = True
    matter.NonLinear = camb.model.NonLinear_none
    matter.set_matter_power(redshifts=[0.0], kmax=1.2, silent=True)
    return camb.get_transfer_functions(matter)


def _power_law(draw: Mapping[str, float]) -> dict[str, float]:
    """CAMB's words for a power law with running and tensors."""
    words = {k: x for k, x in draw.items() if k in ("nrun", "r", "nt")}
    return {"As": math.exp(draw["logA"]) * 1e-10, "ns": draw["ns"], **words}


def _run(
    settings: CambSettings, background: Mapping[str, float], draws: Sequence[Mapping[str, float]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute lensed tt te ee bb pp, unlensed tt te ee bb, and derived values of draws on one background."""
    for draw in draws:
        if bad := [name for name in draw if name not in ("logA", "ns", *PRIMORDIAL_EXTENSIONS)]:
            raise ParameterError(
                unknown_name("primordial parameter", bad[0], ("logA", "ns", *PRIMORDIAL_EXTENSIONS))
            )
    pars = camb_parameters(settings, **background)
    pars.WantTensors = any(draw.get("r", 0) > 0 for draw in draws)
    bare_name = "unlensed_total" if pars.WantTensors else "unlensed_scalar"
    try:
        data = camb.get_transfer_functions(pars, only_time_sources=True)
        linear = _linear_matter(pars)
        dl = np.empty((len(draws), 5, settings.lmax + 1))
        unlensed = np.empty((len(draws), 4, settings.lmax + 1))
        derived = np.empty((len(draws), len(DERIVED)))
        for i, draw in enumerate(draws):
            # on data.Params and without an argument: passing parameters recomputes the sources
            data.Params.InitPower.set_params(**_power_law(draw))
            data.Params.Alens = draw.get("Alens", 1.0)
            data.calc_power_spectra()
            got = data.get_cmb_power_spectra(
                CMB_unit="muK", spectra=["total", bare_name, "lens_potential"], lmax=settings.lmax
            )
            total = dict(zip(CAMB_COLUMNS, got["total"].T, strict=True))
            dl[i] = [total["tt"], total["te"], total["ee"], total["bb"], got["lens_potential"][:, 0]]
            bare = dict(zip(CAMB_COLUMNS, got[bare_name].T, strict=True))
            unlensed[i] = [bare["tt"], bare["te"], bare["ee"], bare["bb"]]
            derived[i] = list(_derived(pars, data, linear, draw).values())
    except camb.baseconfig.CAMBError as error:
        raise ParameterError(f"CAMB failed at {dict(background)}: {error}") from error
    if not all(np.isfinite(x).all() for x in (dl, unlensed, derived)):
        raise ParameterError(f"CAMB gave non-finite spectra at {dict(background)}")
    return dl, unlensed, derived


def spectra_of_one_background(
    settings: CambSettings,
    background: Mapping[str, float],
    primordial: Sequence[tuple[float, float] | Mapping[str, float]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute spectra for several primordial draws on one background.

    The time sources (most of the work) are computed once; each further draw costs a quarter and is
    bit-identical to a fresh run.

    Parameters
    ----------
    settings : CambSettings
    background : mapping
        ombh2, omch2, theta_mc, tau, and any of :data:`~cmbfit.theory.extensions.BACKGROUND_EXTENSIONS`.
    primordial : sequence of (logA, ns) or of mappings
        A mapping holds logA, ns and any of :data:`~cmbfit.theory.extensions.PRIMORDIAL_EXTENSIONS`.

    Returns
    -------
    dl : numpy.ndarray, shape (n_draws, 5, lmax + 1)
        Lensed D_l [uK^2] of tt, te, ee, bb (scalar and tensor) and [L(L+1)]^2 C_L^pp / 2pi, l from 0.
    unlensed : numpy.ndarray, shape (n_draws, 3, lmax + 1)
        Unlensed D_l [uK^2] of tt, te, ee.
    derived : numpy.ndarray, shape (n_draws, len(DERIVED))

    Raises
    ------
    ParameterError
        If CAMB fails at this point, or a name is unknown.

    Examples
    --------
    >>> background = {"ombh2": 0.0224, "omch2": 0.12, "theta_mc": 1.041, "tau": 0.055, "nnu": 3.3}
    >>> draws = [{"logA": 3.04, "ns": 0.965, "Alens": 1.1}, (3.04, 0.965)]
    >>> spectra_of_one_background(CambSettings(lmax=100), background, draws)[0].shape
    (2, 5, 101)
    """
    draws = [d if isinstance(d, Mapping) else {"logA": d[0], "ns": d[1]} for d in primordial]
    dl, unlensed, derived = _run(settings, background, draws)
    return dl, unlensed[:, :3], derived


class CambTheory(OnDevice):
    """LCDM and its extensions by CAMB, one point after the other (seconds each).

    Parameters
    ----------
    settings : CambSettings, optional
        Default: the `planck2018` preset.
    extra : iterable of str
        Parameters of :data:`~cmbfit.theory.extensions.EXTENSIONS` to vary besides the six of LCDM.
    lensed : bool
        False gives unlensed tt, te, ee and bb (pp stays); bb is then the tensors' alone.

    Examples
    --------
    >>> theory = CambTheory(CambSettings(lmax=600))
    >>> point = torch.tensor([[0.02237, 0.12, 1.0409, 0.0544, 3.044, 0.9649]], dtype=torch.float64)
    >>> round(theory.spectra(point).dl["tt"][0, 220].item(), -1)
    5730.0
    """

    def __init__(
        self, settings: CambSettings | None = None, extra: Iterable[str] = (), *, lensed: bool = True
    ) -> None:
        self._settings = settings or PRESETS["planck2018"]
        self.lmax = self._settings.lmax
        self.parameters = extended_parameters(extra)
        self.box = {p: BOX[p] if p in BOX else EXTENSIONS[p].box for p in self.parameters}
        self._lensed = lensed

    @property
    def title(self) -> str:
        """What fits call it."""
        return " + ".join(["LCDM", *self.parameters[6:]]) + " by CAMB"

    @property
    def settings(self) -> dict[str, Any]:
        """Code, version and every pinned setting."""
        record = {"code": "camb", "version": camb.__version__, **asdict(self._settings)}
        return record if self._lensed else {**record, "lensed": False}

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return tt, te, ee, bb and pp with derived parameters; not differentiable."""
        check_box(theta, self.parameters, self.box)
        dl = np.empty((len(theta), 5, self.lmax + 1))
        derived = np.empty((len(theta), len(DERIVED)))
        for i, row in enumerate(theta.tolist()):
            point = dict(zip(self.parameters, row, strict=True))
            draw = {name: point.pop(name) for name in ("logA", "ns", *PRIMORDIAL_EXTENSIONS) if name in point}
            lensed, unlensed, table = _run(self._settings, point, [draw])
            dl[i], derived[i] = lensed[0], table[0]
            if not self._lensed:
                dl[i, :4] = unlensed[0]
        tables = torch.from_numpy(derived).to(theta.device)
        return Spectra(
            {
                pair: torch.from_numpy(dl[:, j].copy()).to(theta.device)
                for j, pair in enumerate(("tt", "te", "ee", "bb", "pp"))
            },
            {
                **{p: theta[:, i] for i, p in enumerate(self.parameters)},
                **{p: tables[:, i] for i, p in enumerate(DERIVED)},
            },
        )


def camb_theory(preset: str = "planck2018", vary: Iterable[str] = (), lmax: int | None = None) -> CambTheory:
    """Return CAMB as a fit's theory, ``theory: {class: camb, options: {vary: [nnu]}}``: seconds a point, for forecasts.

    Parameters
    ----------
    preset : str
        Of :data:`PRESETS`.
    vary : iterable of str
        See `extra` of :class:`CambTheory`.
    lmax : int, optional
        The preset's own when omitted.
    """
    settings = get_preset(preset)
    return CambTheory(settings if lmax is None else replace(settings, lmax=lmax), vary)
