"""Models whose fits are closed forms, as tables like :func:`cmbfit.inference.model_table.compare`'s: no chains.

Spectral distortions of the FIRAS monopole (linear in mu and y) and a rotation of polarisation, each against its
own null on its own data, so that one table and one forest plot hold all that was tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cmbfit.inference.comparison import SavageDickey, improvement, savage_dickey_gaussian, strength
from cmbfit.theory.blackbody.firas import PUBLISHED, FirasData, FirasFit, fit_firas, load_firas

_DISTORTIONS = {"mu": "chemical potential (mu)", "y": "Compton scattering (y)"}


def blackbody_table(amplitude_max: float, data: FirasData | None = None) -> dict[str, Any]:
    """Compare distorted spectra with a blackbody, both with a free temperature and Galaxy.

    Parameters
    ----------
    amplitude_max : float
        Flat prior of mu and of y on both sides of zero.
    data : FirasData, optional
        Default: the embedded file.

    Examples
    --------
    >>> table = blackbody_table(1e-3)
    >>> round(table["models"][1]["delta_chi2"]["total"], 3), round(table["models"][1]["savage_dickey"]["ln_b"], 3)
    (-0.126, -3.009)
    """
    data = load_firas() if data is None else data
    base, n = fit_firas(data, ("dT", "galaxy")), len(data.residual)
    rows = [_row("blackbody", "blackbody", base.chi2, len(base.parameters), base.chi2, n)]
    for name, title in _DISTORTIONS.items():
        fit = fit_firas(data, ("dT", name, "galaxy"))
        i = fit.parameters.index(name)
        value, error = float(fit.values[i]), float(fit.errors[i])
        ratio = savage_dickey_gaussian(value, error, -amplitude_max, amplitude_max)
        rows.append(
            _row(f"blackbody_{name}", title, fit.chi2, len(fit.parameters), base.chi2, n, 1)
            | {
                "extra_parameters": [name],
                "priors": {name: {"uniform": [-amplitude_max, amplitude_max]}},
                "savage_dickey": _ratio(ratio, {name: 0.0}),
                "constraints": {name: _distortion(fit, name, value, error)},
                "published": "; ".join(
                    f"{p['value']}, {p['source']}" for p in PUBLISHED if p["quantity"] == name
                ),
            }
        )
    about = {"name": "cobe_firas", "title": "COBE/FIRAS monopole", "n_data": n}
    return {"reference": "blackbody", "data": [about], "n_data": n, "models": rows}


def rotation_table(record: Mapping[str, Any]) -> dict[str, Any]:
    """Compare a rotation of polarisation with none, both with the error of the detectors' angles.

    Parameters
    ----------
    record : mapping
        From :func:`cmbfit.theory.birefringence.bandpowers.rotation_record`.
    """
    n, chi2 = record["n_data"], record["chi2_without"]
    pairs = ", ".join(record["pairs"]).upper()
    limit = record["limit_deg"]
    regions = " or ".join(f"{low:.1f} to {high:.1f}" for low, high in record["region_68"])
    text = (
        f"{record['best']:.2f}, 68% in {regions}"
        if record["constrained"]
        else f"unconstrained: 68% in {regions}"
    )
    row = _row("rotation", "rotation of polarisation", record["chi2_with"], 2, chi2, n, 1)
    published = "; ".join(f"{p['value']} ± {p['error']}, {p['name']}" for p in record["published"])
    ratio = SavageDickey(record["ln_b_none"], 0.0, 2 * limit / math.sqrt(12), record["std"])
    rows = [
        _row("no_rotation", "no rotation", chi2, 1, chi2, n),
        row
        | {
            "extra_parameters": ["beta [deg]"],
            "priors": {"beta [deg]": {"uniform": [-limit, limit]}},
            "savage_dickey": _ratio(ratio, {"beta [deg]": 0.0}),
            "constraints": {
                "beta [deg]": {"kind": "interval" if record["constrained"] else "none", "text": text}
            },
            "published": published,
            "remarks": ["foreground EB and TB are not modelled"],
        },
    ]
    about = {"name": "own_maps", "title": f"{pairs} of the run's own maps", "n_data": n}
    return {"reference": "no_rotation", "data": [about], "n_data": n, "models": rows}


def _row(
    name: str, title: str, chi2: float, n_parameters: int, base: float, n_data: int, n_extra: int = 0
) -> dict[str, Any]:
    change = improvement(base, chi2, n_parameters - n_extra, n_parameters, n_data)
    return {
        "name": name,
        "title": title,
        "kind": "extension" if n_extra else "reference",
        "n_parameters": n_parameters,
        "extra_parameters": [],
        "fixed": {},
        "priors": {},
        "chi2": {"total": chi2},
        "delta_chi2": {"total": change.delta_chi2},
        "delta_aic": change.delta_aic,
        "delta_bic": change.delta_bic,
        "savage_dickey": None,
        "evidence": None,
        "look_elsewhere": None,
        "theory_difference": None,
        "constraints": {},
        "published": "",
        "remarks": [],
    }


def _ratio(ratio: SavageDickey, point: Mapping[str, float]) -> dict[str, Any]:
    return {
        "point": dict(point),
        "ln_b": -ratio.ln_b01,
        "error": ratio.error,
        "prior_width": ratio.prior_width,
        "posterior_width": ratio.posterior_width,
        "strength": strength(ratio.ln_b01),
    }


def _distortion(fit: FirasFit, name: str, value: float, error: float) -> dict[str, Any]:
    power = math.floor(math.log10(error))
    text = f"({value / 10**power:.1f} ± {error / 10**power:.1f})e{power}, |{name}| < {fit.upper_limit(name):.1e} (95%)"
    return {"kind": "interval", "mean": value, "std": error, "text": text}
