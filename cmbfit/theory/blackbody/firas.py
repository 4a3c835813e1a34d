"""COBE/FIRAS: the residual monopole fitted by temperature, mu or y, and the Galaxy.

The residuals of table 4 of Fixsen et al. (1996) to a 2.725 K blackbody are fitted, not the spectrum of
the file's second column: that was added up with the constants of 2005, which shifts T by 15 uK. The
templates are linear, so the fit has a closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.linalg import cho_factor, cho_solve, toeplitz

from cmbfit.data import read_bytes
from cmbfit.errors import ConfigError, DataError
from cmbfit.theory.blackbody.distortions import (
    mu_shape,
    mu_shape_fixed_temperature,
    temperature_shape,
    y_shape,
)
from cmbfit.theory.blackbody.law import wavenumber_to_hz

REFERENCE_TEMPERATURE = 2.725
"""Temperature [K] of the blackbody that table 4 subtracts."""

CALIBRATION_ERROR = 1e-3
"""Absolute calibration [K] of the thermometers (Fixsen & Mather 2002): common to all channels, so no shape shows it."""

CORRELATION = np.array(
    [float(q) for q in ["1.000", ".176", "-.203", ".145", ".077", "-.005", "-.022", ".032", ".053", ".025", "-.003", ".007", ".029", ".029", ".003", "-.002", ".016", ".020", ".011", ".002", ".007", ".011", ".009", ".003", "-.004", "-.001", ".003", ".003", "-.001", "-.003", ".000", ".003", ".009", ".015", ".008", ".003", "-.002", ".000", "-.006", "-.006", ".000", ".002", ".008"]]
)  # fmt: skip
"""Correlation of channels as a function of their distance (Fixsen et al. 1996, section 3.3), shape (43,)."""

PUBLISHED: tuple[dict[str, str], ...] = (
    {"quantity": "T", "value": "2.728 +- 0.004 K (95%)", "source": "Fixsen et al. 1996, astro-ph/9605054"},
    {"quantity": "T", "value": "2.725 +- 0.001 K", "source": "Fixsen & Mather 2002, ApJ 581, 817"},
    {"quantity": "T", "value": "2.72548 +- 0.00057 K", "source": "Fixsen 2009, arXiv:0911.1955"},
    {"quantity": "mu", "value": "|mu| < 9e-5 (95%)", "source": "Fixsen et al. 1996, astro-ph/9605054"},
    {"quantity": "y", "value": "|y| < 1.5e-5 (95%)", "source": "Fixsen et al. 1996, astro-ph/9605054"},
)
"""What the FIRAS team published."""


@dataclass(frozen=True)
class FirasData:
    """The FIRAS monopole.

    Attributes
    ----------
    wavenumber : numpy.ndarray, shape (43,)
        1/cm.
    residual, sigma, galaxy : numpy.ndarray, shape (43,)
        Residual to 2.725 K, its 1-sigma error and the Galaxy at the poles, kJy/sr.
    covariance : numpy.ndarray, shape (43, 43)
        (kJy/sr)^2, sigma_i sigma_j Q(|i - j|).
    """

    wavenumber: np.ndarray
    residual: np.ndarray
    sigma: np.ndarray
    galaxy: np.ndarray
    covariance: np.ndarray

    @property
    def nu(self) -> np.ndarray:
        """Frequency [Hz]."""
        return wavenumber_to_hz(self.wavenumber)

    def template(self, name: str) -> np.ndarray:
        """Return the residual [kJy/sr] for a unit of a parameter.

        Parameters
        ----------
        name : str
            ``dT`` (K), ``mu`` (at fixed temperature, as FIRAS published it), ``mu_energy`` (at fixed energy),
            ``y`` or ``galaxy`` (in units of the file's model).

        Raises
        ------
        ConfigError
            For another name.
        """
        t = REFERENCE_TEMPERATURE
        if name == "galaxy":
            return self.galaxy
        if name == "dT":
            return 1e3 * temperature_shape(self.nu, t) / t
        shapes = {"mu": mu_shape_fixed_temperature, "mu_energy": mu_shape, "y": y_shape}
        if name not in shapes:
            raise ConfigError(f"FIRAS: unknown parameter {name!r}; expected dT, galaxy, {', '.join(shapes)}")
        return 1e3 * shapes[name](self.nu, t)


def load_firas(*, diagonal: bool = False) -> FirasData:
    """Read the embedded file; `diagonal` leaves the correlations out.

    Raises
    ------
    DataError
        When the file does not have 43 rows of 5 columns.
    """
    text = read_bytes("firas/firas_monopole_spec_v1.txt").decode("ascii")
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(rows) != len(CORRELATION) or any(len(r) != 5 for r in rows):
        raise DataError(f"firas_monopole_spec_v1.txt: expected 43 rows of 5 columns, found {len(rows)} rows")
    wavenumber, _, residual, sigma, galaxy = np.array(rows, dtype=float).T
    correlation = np.eye(43) if diagonal else toeplitz(CORRELATION)
    return FirasData(wavenumber, residual, sigma, galaxy, np.outer(sigma, sigma) * correlation)


@dataclass(frozen=True)
class FirasFit:
    """A fit of templates to the residuals.

    Attributes
    ----------
    parameters : tuple of str
    values : numpy.ndarray, shape (n,)
    covariance : numpy.ndarray, shape (n, n)
    chi2 : float
    dof : int
    """

    parameters: tuple[str, ...]
    values: np.ndarray
    covariance: np.ndarray
    chi2: float
    dof: int

    @property
    def errors(self) -> np.ndarray:
        """1-sigma errors, shape (n,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def probability(self) -> float:
        """Chance of a larger chi2 if the model is true."""
        return float(special.chdtrc(self.dof, self.chi2))

    def correlation(self, a: str, b: str) -> float:
        """Return the correlation of two parameters."""
        i, j = self.parameters.index(a), self.parameters.index(b)
        return float(self.covariance[i, j] / np.sqrt(self.covariance[i, i] * self.covariance[j, j]))

    def upper_limit(self, name: str, level: float = 0.95) -> float:
        """Return the largest |parameter| of the central interval of probability `level`, as FIRAS quoted bounds."""
        i = self.parameters.index(name)
        return abs(float(self.values[i])) + float(special.ndtri(0.5 + level / 2) * self.errors[i])

    def summary(self) -> dict[str, object]:
        """Return the fit as JSON-able numbers; temperatures in K."""
        best = {
            name: {"value": float(v), "error": float(e)}
            for name, v, e in zip(self.parameters, self.values, self.errors, strict=True)
        }
        return {"parameters": best, "chi2": self.chi2, "dof": self.dof, "p": self.probability}


def fit_firas(data: FirasData, parameters: Sequence[str]) -> FirasFit:
    """Fit templates in closed form: F = A^T C^-1 A, x = F^-1 A^T C^-1 r.

    Parameters
    ----------
    data : FirasData
    parameters : sequence of str
        See :meth:`FirasData.template`; may be empty.

    Examples
    --------
    >>> fit = fit_firas(load_firas(), ("dT", "mu", "galaxy"))
    >>> round(float(fit.values[1]) * 1e5, 2), round(float(fit.errors[1]) * 1e5, 2)
    (-1.31, 3.7)
    """
    if len(set(parameters)) != len(parameters):
        raise ConfigError(f"FIRAS: a parameter is given twice in {list(parameters)}")
    factor = cho_factor(data.covariance)
    n = len(parameters)
    if n == 0:
        return FirasFit((), np.zeros(0), np.zeros((0, 0)), _chi2(factor, data.residual), len(data.residual))
    design = np.stack([data.template(p) for p in parameters], 1)  # shape: (43, n)
    unit = np.linalg.norm(design, axis=0)  # columns differ by 1e6: scale before inverting
    design = design / unit
    weighted = cho_solve(factor, design)
    covariance = np.linalg.inv(design.T @ weighted)
    values = covariance @ (weighted.T @ data.residual)
    chi2 = _chi2(factor, data.residual - design @ values)
    return FirasFit(
        tuple(parameters), values / unit, covariance / np.outer(unit, unit), chi2, len(data.residual) - n
    )


def _chi2(factor: tuple[np.ndarray, bool], residual: np.ndarray) -> float:
    return float(residual @ cho_solve(factor, residual))
