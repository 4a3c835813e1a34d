"""A run's summary with every kind of entry, small enough to read."""

from __future__ import annotations

from typing import Any

ENTRY = {
    "mean": 0.022361, "std": 0.00015, "q16": 0.02221, "q50": 0.02236, "q84": 0.02251,
    "reference": 0.02236, "reference_std": 0.00015, "pull": 0.0067, "width_ratio": 1.0,
}  # fmt: skip
NOT_PUBLISHED = dict.fromkeys(("reference", "reference_std", "pull", "width_ratio"))
CAMB = {
    "version": "2.0.5", "recombination": "Recfast", "recfast_approximation": "planck",
    "halofit": "mead2016", "bbn_table": "table", "mnu": 0.06, "nnu": 3.044,
}  # fmt: skip
SUMMARY: dict[str, Any] = {
    "fits": {
        "lcdm": {
            "title": "LCDM <script>alert(1)</script>",
            "data": [{"name": "plik", "title": "plik & co", "approximation": "two bins", "n_data": 613, "citation": "c"}],
            "reference_source": "Planck 2018 VI",
            "parameters": {"ombh2": ENTRY, "zrei": {**ENTRY, **NOT_PUBLISHED}},
            "chi2": {"plik": 584.23, "total": 584.23},
            "convergence": {
                "sampler": "emcee", "ensembles": 2, "walkers": 128, "steps": [2000, 2500], "burn_in": [400, 500],
                "tau_max": [31.26, 33.0], "steps_over_tau": [64.0, 75.8], "acceptance": [0.41, 0.4], "evaluations": [9, 8],
                "zero_probability": [{"outside_prior": 1, "outside_box": 0, "not_a_number": 0}] * 2,
                "r_minus_1_max": 0.0021, "effective_samples_min": 5432.1, "seconds": [2.0, 3.0],
            },
            "evidence": None,
            "priors": {"ombh2": {"uniform": [0.019, 0.026]}},
            "reweighted": {
                "n_points": 200, "ess_fraction": 0.9987, "log_weight": {"mean": 0.1, "std": 0.036},
                "shifts": {"ombh2": {"mean": -0.0123, "mean_error": 0.002, "width": 1.0, "width_error": 0.01}},
            },
        }
    },
    "checks": [
        {"name": "good", "value": 0.1, "tolerance": "< 0.3", "pass": True, "comment": "", "source": "chains_lcdm", "file": "checks/chains_lcdm.json"},
        {"name": "bad", "value": "nan", "tolerance": "< 0.3", "pass": False, "comment": "", "source": "x", "file": "checks/x.json"},
    ],
    "rules": {
        "publish_chains": {
            "output": ["chains/{fit,lcdm}.summary.json", "checks/chains_{fit,lcdm}.json"],
            "log": "logs/publish_chains/{fit,lcdm}.log", "benchmark": None,
        },
        "plot": {"output": ["figures/{name}.png"], "log": "logs/plot/{name}.log", "benchmark": None},
    },
    "provenance": {
        "settings": {"run": {"name": "default & tiny", "seed": 7}}, "created": "2026-01-01", "cmbfit": "0.1.0",
        "git": {"commit": "abc", "dirty": True}, "python": "3.11", "packages": {"numpy": "2.1"},
        "data": [{"name": "f", "description": "d", "bytes": 1, "sha256": "0" * 64, "licence": "l", "citation": ["c"]}],
        "machine": {"system": "Linux", "cores": 2},
        "emulator": {
            "lmax": 2600, "box": {"ombh2": [0.019, 0.026]}, "arrays_sha256": "a" * 64, "settings": {"n_spectra": 9, "trained_on": {"camb": CAMB}},
            "accuracy": {"chi2": {"like": {"median": 0.5, "p95": 2.0, "median_chi2": 900.0}}, "overall": {"tt": [0.001, 0.004, 0.007, 0.02]}},
        },
    },
}  # fmt: skip
