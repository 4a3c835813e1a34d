"""CLASS behind the Theory interface, with the physics of the CAMB presets of the same names.

What both codes must share is handed over, not left to two defaults: CAMB turns theta_MC into h and
gives the helium fraction of the nucleosynthesis table; the massive neutrino gets CAMB's temperature,
T_nu = (4/11)^(1/3) (3.044/3)^(1/4) T_CMB. It stays at the standard value when N_eff is varied: what
N_eff has beyond 3.044/3 is massless.
CLASS: Blas, Lesgourgues & Tram 2011 (arXiv:1104.2933), installed by ``pip install cmbfit[class]``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import camb
import numpy as np
import torch
from scipy.interpolate import CubicSpline

from cmbfit.device import OnDevice
from cmbfit.errors import ConfigError, MissingCodeError, ParameterError, unknown_name
from cmbfit.theory.base import check_box
from cmbfit.theory.camb_code import BOX, LMAX_LEAST, CambSettings, camb_parameters
from cmbfit.theory.camb_code import PRESETS as CAMB_PRESETS
from cmbfit.theory.extensions import EXTENSIONS, extended_parameters
from cmbfit.theory.parameters import DERIVED
from cmbfit.theory.spectra import BOLTZMANN_PAIRS, Spectra
from cmbfit.units import dl_over_cl

LMAX_TENSORS = 1200  # CLASS ties its largest k to l_max: asked for 300 only, the tensors' BB there is 15% low


@dataclass(frozen=True)
class ClassSettings:
    """Everything beyond the parameters that defines CLASS's numbers.

    Parameters
    ----------
    lmax : int
        Largest multipole handed out.
    recombination : {"RECFAST", "HyRec"}
        CLASS's RECFAST has the fudge factors of CAMB's `planck` model; HyRec-2 computes what CAMB's
        `cosmorec` and `hyrec` fudge factors imitate.
    hmcode_version : {"2015", "2020"}
        "2015" is the code behind CAMB's `mead2016`.
    camb : CambSettings
        Supplies theta_MC, the helium table, the neutrinos and the monopole temperature.
    precision : tuple of (str, float or str)
        CLASS's precision parameters that differ from its defaults.
    """

    lmax: int
    recombination: str
    hmcode_version: str
    camb: CambSettings
    precision: tuple[tuple[str, float | str], ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= self.lmax <= 12000:
            raise ConfigError(f"lmax: expected 2..12000, found {self.lmax}")
        if self.recombination not in ("RECFAST", "HyRec"):
            raise ConfigError(f"recombination: expected RECFAST or HyRec, found {self.recombination!r}")


PRESETS: dict[str, ClassSettings] = {
    "planck2018": ClassSettings(2600, "RECFAST", "2015", CAMB_PRESETS["planck2018"]),
    "high": ClassSettings(
        5000,
        "HyRec",
        "2015",
        CAMB_PRESETS["high"],
        (
            ("accurate_lensing", 1),
            ("delta_l_max", 4000),
            ("l_linstep", 20),
            ("l_logstep", 1.05),
            ("k_max_tau0_over_l_max", 3.0),
            ("nonlinear_min_k_max", 20.0),
            ("tol_perturbations_integration", 1e-6),
            ("perturbations_sampling_stepsize", 0.05),
            ("radiation_streaming_trigger_tau_over_tau_k", 100.0),
            ("ur_fluid_trigger_tau_over_tau_k", 60.0),
            ("ncdm_fluid_trigger_tau_over_tau_k", 61.0),
            ("l_max_g", 20),
            ("l_max_pol_g", 15),
            ("l_max_ur", 30),
            ("l_max_ncdm", 30),
            ("transfer_neglect_delta_k_S_t0", 0.3),
            ("transfer_neglect_delta_k_S_t1", 0.1),
            ("transfer_neglect_delta_k_S_t2", 0.3),
            ("transfer_neglect_delta_k_S_e", 0.3),
        ),
    ),
}


def get_preset(name: str) -> ClassSettings:
    """Return a preset by name; raise :class:`~cmbfit.errors.ConfigError` if there is none."""
    if name not in PRESETS:
        raise ConfigError(unknown_name("preset", name, PRESETS))
    return PRESETS[name]


def _classy() -> Any:
    try:
        import classy  # noqa: PLC0415 (an optional extra)
    except ImportError as error:
        raise MissingCodeError(
            "CLASS was asked for, but its Python module classy is not installed; "
            "pip install 'cmbfit[class]' (needs a C compiler), or use --code camb"
        ) from error
    return classy


def class_lmax(lmax: int) -> int:
    """Return the `l_max_scalars` that gives the spectra up to a multipole, whoever asks for how few.

    CLASS ties its largest k to it: asked for 300 only, TT(220) is 2% low and lensing BB misses up to 78%.
    """
    return max(lmax, LMAX_LEAST)


def class_parameters(settings: ClassSettings, point: Mapping[str, float]) -> dict[str, Any]:
    """Return CLASS's input for one point.

    Parameters
    ----------
    settings : ClassSettings
    point : mapping
        The six of LCDM and any of :data:`~cmbfit.theory.extensions.EXTENSIONS`.

    Raises
    ------
    ParameterError
        If no Hubble constant gives the angle.
    """
    pars = camb_parameters(settings.camb, **{k: x for k, x in point.items() if k != "nt"})
    tensors = point.get("r", 0.0) > 0
    words: dict[str, Any] = {
        "output": "tCl,pCl,lCl,mPk",
        "lensing": "yes",
        "l_max_scalars": class_lmax(settings.lmax),
        "modes": "s,t" if tensors else "s",
        "omega_b": point["ombh2"],
        "omega_cdm": point["omch2"],
        "h": pars.h,
        "T_cmb": settings.camb.tcmb,
        "YHe": pars.YHe,
        "tau_reio": point["tau"],
        "ln10^{10}A_s": point["logA"],
        "n_s": point["ns"],
        "alpha_s": point.get("nrun", 0.0),
        "k_pivot": 0.05,
        "Omega_k": point.get("omk", 0.0),
        "N_ur": pars.num_nu_massless,
        "A_L": point.get("Alens", 1.0),
        "recombination": settings.recombination,
        "reio_parametrization": "reio_camb",
        "non_linear": "hmcode",
        "hmcode_version": settings.hmcode_version,
        **dict(settings.precision),
    }
    if pars.num_nu_massive:
        # one massive state: its T_nu in units of T_cmb carries CAMB's share of N_eff, whatever N_eff is
        temperature = (4 / 11) ** (1 / 3) * pars.nu_mass_degeneracies[0] ** 0.25
        words |= {"N_ncdm": 1, "m_ncdm": point.get("mnu", settings.camb.mnu), "T_ncdm": temperature}
    if "w" in point or "wa" in point:
        words |= {"Omega_Lambda": 0, "w0_fld": point.get("w", -1.0), "wa_fld": point.get("wa", 0.0)}
        words |= {"use_ppf": "yes", "fluid_equation_of_state": "CLP"}
    if tensors:
        words |= {"r": point["r"], "n_t": point.get("nt", "scc"), "alpha_t": 0 if "nt" in point else "scc"}
        words["l_max_tensors"] = LMAX_TENSORS
    return words


def _theta_star(cosmo: Any, tau: float) -> float:
    """100 theta_* with z_* where the optical depth without reionisation is one, as CAMB and Planck define it.

    CLASS's own `theta_star` counts reionisation's depth too, and is 0.3% larger.
    """
    recombination = cosmo.get_thermodynamics()
    early = (recombination["z"] > 500) & (recombination["z"] < 2000)
    z = recombination["z"][early]
    depth = -np.log(recombination["exp(-kappa)"][early]) - tau
    z_star = np.interp(1.0, depth, z) if z[0] < z[-1] else np.interp(1.0, depth[::-1], z[::-1])
    background = cosmo.get_background()
    order = np.argsort(background["z"])
    near = order[(background["z"][order] > 500) & (background["z"][order] < 2000)]
    horizon = CubicSpline(background["z"][near], background["comov.snd.hrz."][near])(z_star)
    return float(100 * horizon / ((1 + z_star) * cosmo.angular_distance(z_star)))


class ClassTheory(OnDevice):
    """LCDM and its extensions by CLASS, one point after the other (ten seconds each).

    Parameters
    ----------
    settings : ClassSettings, optional
        Default: the `planck2018` preset.
    extra : iterable of str
        Parameters of :data:`~cmbfit.theory.extensions.EXTENSIONS` to vary besides the six of LCDM.
    lensed : bool
        False gives unlensed tt, te, ee and bb (pp stays); bb is then the tensors' alone.

    Raises
    ------
    MissingCodeError
        If classy is not installed.
    """

    def __init__(
        self, settings: ClassSettings | None = None, extra: Iterable[str] = (), *, lensed: bool = True
    ) -> None:
        self._classy = _classy()
        self._settings = settings or PRESETS["planck2018"]
        self.lmax = self._settings.lmax
        self.parameters = extended_parameters(extra)
        self.box = {p: BOX[p] if p in BOX else EXTENSIONS[p].box for p in self.parameters}
        self._lensed = lensed

    @property
    def settings(self) -> dict[str, Any]:
        """Codes, versions and every pinned setting."""
        record = {"code": "class", "version": metadata.version("classy"), **asdict(self._settings)}
        record["camb"]["version"] = camb.__version__
        return record if self._lensed else {**record, "lensed": False}

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return tt, te, ee, bb and pp with derived parameters; not differentiable.

        Raises
        ------
        ParameterError
            If CLASS fails at a point.
        """
        check_box(theta, self.parameters, self.box)
        rows = [self._one(dict(zip(self.parameters, row, strict=True))) for row in theta.tolist()]
        return Spectra(
            {
                p: torch.from_numpy(np.array([dl[p] for dl, _ in rows])).to(theta.device)
                for p in BOLTZMANN_PAIRS
            },
            {
                **{p: theta[:, i] for i, p in enumerate(self.parameters)},
                **{p: theta.new_tensor([d[p] for _, d in rows]) for p in DERIVED},
            },
        )

    def _one(self, point: Mapping[str, float]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        words = class_parameters(self._settings, point)
        cosmo = self._classy.Class()
        try:
            cosmo.set(words)
            cosmo.compute()
            # raw_cl holds scalars and tensors before lensing, and the potential
            raw = cosmo.raw_cl(self.lmax)
            cl = cosmo.lensed_cl(self.lmax) if self._lensed else raw
            derived = self._derived(cosmo, point, words)
            ell = np.arange(self.lmax + 1.0)
            to_dl = dl_over_cl(ell) * (1e6 * self._settings.camb.tcmb) ** 2
            dl = {p: cl[p] * to_dl if p in cl else np.zeros_like(ell) for p in BOLTZMANN_PAIRS[:4]}
            dl["pp"] = raw["pp"] * (ell * (ell + 1)) ** 2 / (2 * np.pi)  # with A_L, as CAMB's
        except (self._classy.CosmoSevereError, self._classy.CosmoComputationError) as error:
            raise ParameterError(f"CLASS failed at {dict(point)}: {error}") from error
        finally:
            cosmo.struct_cleanup()
            cosmo.empty()
        if not all(np.isfinite(x).all() for x in dl.values()):
            raise ParameterError(f"CLASS gave non-finite spectra at {dict(point)}")
        return dl, derived

    @staticmethod
    def _derived(cosmo: Any, point: Mapping[str, float], words: Mapping[str, Any]) -> dict[str, float]:
        got = cosmo.get_current_derived_parameters(["sigma8", "rs_d", "age", "z_reio", "Omega_m"])
        return {
            "H0": 100 * words["h"],
            "omegam": got["Omega_m"],
            "sigma8": got["sigma8"],
            "S8": got["sigma8"] * math.sqrt(got["Omega_m"] / 0.3),
            "thetastar": _theta_star(cosmo, point["tau"]),
            "rdrag": got["rs_d"],
            "age": got["age"],
            "zrei": got["z_reio"],
        }
