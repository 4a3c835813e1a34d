"""A small data set in candl's format, written by formula: the numbers in the tests are candl's own for these files.

Eight spectra of two maps with few multipoles, every sort of step, a covariance that moves with the model. Run as a
program, it writes the folders and prints what an installed candl gives: ``python -m tests.likelihood.candl_toy FOLDER``.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

LMAX = 41
SPECTRA = {
    "TT 90x150": 4,
    "EE 150x150": 3,
    "TT 90x90": 4,
    "TE 90x150": 3,
    "BB 90x150": 3,
    "TT 150x150": 4,
    "BB 150x150": 3,
    "EE 90x90": 3,
}
TT = ["TT 90x90", "TT 90x150", "TT 150x150"]
BB = ["BB 90x150", "BB 150x150"]

STEPS: list[dict[str, Any]] = [
    {"Module": "common.SuperSampleLensing", "kappa_param": "kappa"},
    {"Module": "common.AberrationCorrection", "aberration_coefficient": -0.0048, "descriptor": "aberration"},
    {
        "Module": "common.PoissonPower",
        "spec_param_dict": {"TT 90x90": "p90", "TT 90x150": "px", "EE 90x90": "p90"},
        "ell_ref": 30,
    },
    {
        "Module": "common.CIBClustering",
        "amp_param": "cib",
        "beta_param": "cib_beta",
        "alpha": 0.8,
        "effective_frequencies": "CIB",
        "affected_specs": TT,
        "ell_ref": 30,
        "nu_ref": 150,
        "T_CIB": 25,
    },
    {
        "Module": "common.tSZTemplateForeground",
        "template_file": "templates/tsz.txt",
        "amp_param": "tsz",
        "effective_frequencies": "tSZ",
        "affected_specs": TT[:2],
        "ell_ref": 30,
        "nu_ref": 143,
    },
    {
        "Module": "common.CIBtSZCorrelationGeometricMean",
        "link_transformation_module_CIB": "common.CIBClustering",
        "link_transformation_module_tSZ": "common.tSZTemplateForeground",
        "amp_param": "xi",
        "affected_specs": TT,
    },
    {
        "Module": "common.kSZTemplateForeground",
        "template_file": "templates/ksz.txt",
        "amp_param": "ksz",
        "affected_specs": TT,
        "ell_ref": 0,
    },
    {
        "Module": "common.GalacticDust",
        "amp_param": "dust",
        "alpha_param": "dust_alpha",
        "beta_param": "dust_beta",
        "effective_frequencies": "CIB",
        "affected_specs": ["EE 150x150", "EE 90x90", "TE 90x150"],
        "ell_ref": 20,
        "nu_ref": 150,
        "T_GALDUST": 19.6,
    },
    {
        "Module": "common.CalibrationCross",
        "spec_param_dict": {
            "TT 90x90": ["t90", "t90", "t90", "t90"],
            "TE 90x150": ["t90", "e150", "t150", "e90"],
            "EE 150x150": ["e150"] * 4,
        },
    },
    {
        "Module": "common.CalibrationAuto",
        "spec_param_dict": {"TT 150x150": ["t150", "t150"], "BB 90x150": ["e90"]},
    },
    {"Module": "common.PolarisationCalibration", "cal_param": "y"},
    {"Module": "common.CalibrationSingleScalar", "cal_param": "one"},
]

BAND = {
    "affected_specs": BB,
    "amp_param": "bd",
    "beta_param": "bd_beta",
    "ell_ref": 20,
    "nu_ref": 353.0,
    "T_GALDUST": 19.6,
}
LOW_ELL: list[dict[str, Any]] = [
    {"Module": "low_ell_BB.GalacticDustBandPass", "alpha_param": "bd_alpha", **BAND},
    {"Module": "low_ell_BB.GalacticDustFixedAlphaBandPass", **BAND},
    {
        "Module": "low_ell_BB.GalacticDustDecorrelationBandPass",
        "alpha_param": "bd_alpha",
        "decorr_param": "delta",
        "nu_pivot": [90.0, 150.0],
        "ell_scaling": "linear",
        **BAND,
    },
    {
        "Module": "low_ell_BB.GalacticDustFixedAlphaDecorrelationBandPass",
        "decorr_param": "delta",
        "nu_pivot": [90.0, 150.0],
        **BAND,
    },
]

POINT = {
    "kappa": 0.01,
    "p90": 12.0,
    "px": 7.0,
    "cib": 5.0,
    "cib_beta": 1.9,
    "tsz": 8.0,
    "xi": 0.2,
    "ksz": 3.0,
    "dust": 4.0,
    "dust_alpha": -2.3,
    "dust_beta": 1.5,
    "t90": 1.02,
    "t150": 0.99,
    "e90": 1.03,
    "e150": 0.96,
    "y": 1.01,
    "one": 1.005,
    "bd": 400.0,
    "bd_alpha": -2.7,
    "bd_beta": 1.6,
    "delta": 0.97,
    "radio": 6.0,
    "A": 1.1,
    "A_fg": 0.4,
}


def spec(steps: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A definition."""
    return copy.deepcopy(
        {
            "name": "toy",
            "band_power_file": "d.txt",
            "covariance_file": "c.txt",
            "window_functions_folder": "windows/",
            "effective_frequencies": "nu.yaml",
            "bandpasses": {90: "band90.txt", 150: "band150.txt"},
            "spectra_info": [{name: n} for name, n in SPECTRA.items()],
            "data_model": steps,
        }
        | changes
    )


def dl(name: str) -> np.ndarray:
    """D_l of the toy's sky from l = 2."""
    ell = np.arange(2, LMAX + 1.0)
    return {
        "TT": 1000 * (1 + 0.3 * np.sin(ell / 4)),
        "TE": 100 * np.cos(ell / 5),
        "EE": 20 + ell + 5 * np.sin(ell / 3),
        "BB": 0.1 * ell,
        "pp": 0.05 * np.exp(-ell / 20),
        "kk": 0.05 * np.exp(-ell / 20) * np.pi / 2,
    }[name]


def write(folder: Path) -> None:
    """Write every file but the definition."""
    (folder / "windows").mkdir(parents=True, exist_ok=True)
    (folder / "templates").mkdir(exist_ok=True)
    ell = np.arange(2, LMAX + 1.0)
    data = []
    for i, (name, n) in enumerate(SPECTRA.items()):
        centres = np.linspace(8, LMAX - 6 + i % 3, n)
        window = np.exp(-0.5 * ((ell[:, None] - centres) / (3 + 0.2 * i)) ** 2)
        window /= window.sum(0)
        np.savetxt(
            folder / f"windows/{name.replace(' ', '_')}_window_functions.txt", np.column_stack([ell, window])
        )
        data += list((dl(name[:2]) * (1 + 0.05 * np.cos(ell + i))) @ window)
    d = np.array(data)
    k = np.arange(len(d))
    sigma = 0.1 * np.abs(d) + 1
    np.savetxt(folder / "d.txt", d)
    np.savetxt(folder / "c.txt", np.exp(-np.abs(k[:, None] - k) / 2.0) * np.outer(sigma, sigma))
    shapes = np.stack([np.sin(k / 5), np.cos(k / 7), k / 20.0])
    np.savetxt(folder / "b.txt", 4e-4 * shapes.T @ shapes)
    np.savetxt(folder / "mask.txt", (k % 3 != 1).astype(int), fmt="%d")
    template = np.arange(0, 60.0)
    np.savetxt(folder / "templates/tsz.txt", np.column_stack([template, 1 + template / 10]))
    np.savetxt(folder / "templates/ksz.txt", np.column_stack([template, 2 - template / 50]))
    nu = {"CIB": {90: 96.7, 150: 150.1}, "tSZ": {90: 96.5, 150: 148.9}, "radio": {90: 93.0, 150: 147.0}}
    (folder / "nu.yaml").write_text(yaml.safe_dump(nu))
    for centre in (90, 150):
        x = np.arange(centre - 20, centre + 21, 2.0)
        np.savetxt(folder / f"band{centre}.txt", np.column_stack([x, np.exp(-0.5 * ((x - centre) / 9) ** 2)]))


def write_lensing(folder: Path) -> None:
    """Write a lensing set of five bandpowers but its definition."""
    (folder / "windows").mkdir(parents=True, exist_ok=True)
    (folder / "m").mkdir(exist_ok=True)
    ell = np.arange(2, LMAX + 1.0)
    window = np.exp(-0.5 * ((ell[:, None] - np.linspace(6, 36, 5)) / 4) ** 2)
    window /= window.sum(0)
    np.savetxt(folder / "windows/pp_window_functions.txt", np.column_stack([ell, window]))
    d = dl("pp") @ window * np.array([1.1, 0.9, 1.2, 0.95, 1.05])
    np.savetxt(folder / "d.txt", d)
    np.savetxt(folder / "c.txt", np.diag((0.1 * d) ** 2))
    np.savetxt(folder / "t.txt", np.column_stack([np.arange(5), 0.002 * np.cos(np.arange(5))]))
    for b in range(5):
        response = [
            1e-6 * np.cos(ell / (b + 2)),
            2e-6 * np.sin(ell),
            1e-5 / ell,
            0 * ell,
            0.01 * window[:, b],
        ]
        np.savetxt(folder / f"m/window_{b}.txt", np.column_stack([ell, *response]))
    np.savetxt(folder / "f.txt", 1e-4 * np.outer(np.arange(1, 6), [1, 2, 3, 4, 5]))


LENSING: list[dict[str, Any]] = [
    {"Module": "common_lensing.BinnedTemplateForeground", "template_file": "t.txt", "amp_param": "A_fg"},
    {"Module": "common_lensing.LensingAmplitude", "amp_param": "A"},
    {
        "Module": "common_lensing.ResponseFunctionM",
        "M_matrices_folder": "m/",
        "Mmodes": ["pp", "TT", "EE"],
        "fiducial_correction_file": "f.txt",
    },
]

RADIO = {
    "Module": "common.RadioPoisson",
    "amp_param": "radio",
    "beta_val": -0.8,
    "sigmasq_val": 0.06,
    "effective_frequencies": "radio",
    "affected_specs": TT,
    "ell_ref": 30,
    "nu_ref": 150,
}

MOVING = {"likelihood_form": "gaussian_beam_detcov", "beam_correlation_file": "b.txt"}

CASES: dict[str, dict[str, Any]] = {
    "all": spec(STEPS),
    "reversed": spec(STEPS[:4] + STEPS[4:6] + STEPS[8:10] + STEPS[6:8] + STEPS[1::-1]),
    "moving": spec(STEPS, **MOVING),
    "moving, cut, hartlap": spec(
        STEPS, **MOVING, hartlap_correction={"N_sims": 200}, data_selection=["TT 90x90 remove", "ell<33 only"]
    ),
    "mask": spec(STEPS, data_selection="mask.txt", hartlap_correction={"N_sims": 60}),
    "list": spec(STEPS, data_selection=[i % 4 != 0 for i in range(27)]),
    "pair": spec(STEPS, data_selection="EE remove"),
    "map": spec(STEPS, data_selection="150 only"),
    "maps": spec(STEPS, data_selection="150x90 remove"),
    "ell": spec(STEPS, data_selection="ell>20 only"),
    "hints": spec(STEPS, data_selection=["TT only", "EE 90x90 only"]),
    "spectrum and ell": spec(STEPS, data_selection="TT 90x90 ell<20 remove"),
    "ignored": spec(STEPS, force_ignore_transformations="aberration"),
    "radio": spec([RADIO, STEPS[9] | {"inverse_calibration": True}]),
    **{step["Module"].partition(".")[2]: spec([step]) for step in LOW_ELL},
    "quadratic": spec([LOW_ELL[2] | {"ell_scaling": "quadratic"}]),
    "squared and divided": spec(
        [
            {"Module": "common.CalibrationSingleScalarSquared", "cal_param": "one"},
            {"Module": "common.PolarisationCalibrationDivision", "cal_param": "y"},
        ]
    ),
}
LENSING_CASES: dict[str, dict[str, Any]] = {
    name: {
        "name": "toy",
        "band_power_file": "d.txt",
        "covariance_file": "c.txt",
        "window_functions_folder": "windows/",
        "spectra_info": [{"pp": 5}],
        **changes,
    }
    for name, changes in {
        "template, amplitude, response": {"data_model": LENSING},
        "response, template, amplitude": {"data_model": LENSING[2:] + LENSING[:2]},
        "cut": {
            "data_model": LENSING,
            "data_selection": "ell<20 remove",
            "hartlap_correction": {"N_sims": 50},
        },
        "shorter": {"data_model": [*LENSING[:2], LENSING[2] | {"overwrite_ell_max": {"TT": 20}}]},
    }.items()
}


SINCE_2 = ("radio", "shorter")
"""Cases that candl 1.8 cannot do."""


def candls_numbers(folder: Path) -> dict[str, float]:
    """Return ln L without priors of every case by an installed candl."""
    import candl

    jax = importlib.import_module("jax") if importlib.util.find_spec("jax") else None
    out = {}
    write(folder / "toy")
    write_lensing(folder / "lensing")
    spectra = {"ell": np.arange(2, LMAX + 1.0)} | {p: dl(p) for p in ("TT", "TE", "EE", "BB", "pp", "kk")}
    for where, cases in (("toy", CASES), ("lensing", LENSING_CASES)):
        kind = candl.Like if where == "toy" else candl.LensLike
        for name, definition in cases.items():
            if name in SINCE_2 and not hasattr(candl.transformations.common, "RadioPoisson"):
                continue
            (folder / where / "x.yaml").write_text(yaml.safe_dump(definition))
            like = kind(str(folder / where / "x.yaml"), feedback=False)
            # under jax's jit candl cannot take Hartlap's factor of a moving covariance that is cut
            with jax.disable_jit() if jax else contextlib.nullcontext():
                out[name] = float(like.log_like({"Dl": spectra, **POINT}))
    return out


if __name__ == "__main__":
    rows = [f'    "{case}": {number!r},\n' for case, number in candls_numbers(Path(sys.argv[1])).items()]
    sys.stdout.writelines(rows)
