"""Shipped extensions against CAMB itself, called without cmbfit, and against published posteriors."""

from __future__ import annotations

import math
from typing import Any

import camb
import emcee
import numpy as np
import pytest
import torch

from cmbfit.fit import build_posterior
from cmbfit.fit.build import start_point
from cmbfit.fit.complete import complete_fit
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.family import emulator_box, extended_bundles, read_manifest
from cmbfit.theory.emulator.train import cosmic_variance_sigma
from cmbfit.theory.parameters import LCDM

ELL = [2, 12, 25, 30, 100, 220, 530, 1000, 1500, 2000, 2450]
PAIRS = ("tt", "te", "ee", "bb", "pp")

# made by camb.set_params and get_cmb_power_spectra of CAMB 2.0.5 at points drawn by hand, six digits; `direct` makes them again
STORED: dict[str, tuple[dict[str, float], dict[str, list[float]]]] = {
    "lcdm_planck2018_mnu": (
        {
            "ombh2": 0.02271,
            "omch2": 0.1173,
            "theta_mc": 1.0421,
            "tau": 0.0712,
            "logA": 3.071,
            "ns": 0.9713,
            "mnu": 0.37,
        },
        {
            "tt": [
                1003.45,
                807.123,
                958.871,
                1037.1,
                2693.6,
                5764.47,
                2586.88,
                1057.75,
                687.706,
                232.751,
                91.3641,
            ],
            "te": [
                2.99891,
                0.923967,
                1.61279,
                1.87002,
                -23.0183,
                14.2792,
                -23.261,
                -25.2266,
                0.767873,
                -18.2525,
                -3.31538,
            ],
            "ee": [
                0.0404453,
                0.00460117,
                0.0112421,
                0.0213459,
                0.766098,
                0.885402,
                6.8736,
                42.0837,
                12.8531,
                8.62148,
                2.791,
            ],
            "bb": [
                1.6142e-06,
                4.21097e-05,
                0.000177088,
                0.000254444,
                0.00284186,
                0.0154537,
                0.0603257,
                0.0866651,
                0.0742113,
                0.0472188,
                0.0303616,
            ],
            "pp": [
                5.0874e-08,
                1.14443e-07,
                1.35683e-07,
                1.37408e-07,
                9.62985e-08,
                4.72487e-08,
                1.54476e-08,
                5.71655e-09,
                2.91824e-09,
                1.8042e-09,
                1.28722e-09,
            ],
        },
    ),
    "lcdm_planck2018_nnu": (
        {
            "ombh2": 0.02214,
            "omch2": 0.1246,
            "theta_mc": 1.0399,
            "tau": 0.0483,
            "logA": 3.012,
            "ns": 0.9528,
            "nnu": 2.31,
        },
        {
            "tt": [
                893.054,
                809.311,
                959.139,
                1031.75,
                2497.03,
                5354.29,
                2442.75,
                1063.02,
                706.503,
                243.719,
                99.0366,
            ],
            "te": [
                2.72519,
                0.789445,
                1.70193,
                1.95948,
                -21.2732,
                7.45749,
                -23.3684,
                -20.9424,
                -1.47195,
                -18.3571,
                -3.92454,
            ],
            "ee": [
                0.0260648,
                0.00193195,
                0.0111256,
                0.0209536,
                0.763558,
                0.779285,
                6.5162,
                40.5573,
                12.8778,
                8.95419,
                3.02221,
            ],
            "bb": [
                2.15583e-06,
                5.62097e-05,
                0.00023604,
                0.00033892,
                0.00376011,
                0.0199533,
                0.0809467,
                0.120028,
                0.106498,
                0.0705395,
                0.0469898,
            ],
            "pp": [
                5.71713e-08,
                1.27186e-07,
                1.52802e-07,
                1.55732e-07,
                1.18821e-07,
                6.37005e-08,
                2.26604e-08,
                8.89704e-09,
                4.71462e-09,
                2.99102e-09,
                2.17097e-09,
            ],
        },
    ),
    "lcdm_planck2018_Alens": (
        {
            "ombh2": 0.02255,
            "omch2": 0.1189,
            "theta_mc": 1.0406,
            "tau": 0.0511,
            "logA": 3.033,
            "ns": 0.9741,
            "Alens": 1.27,
        },
        {
            "tt": [
                974.601,
                796.704,
                950.931,
                1030.13,
                2671.78,
                5694.2,
                2576.69,
                1070.59,
                689.363,
                233.467,
                93.3647,
            ],
            "te": [
                2.40662,
                0.756712,
                1.60137,
                1.81215,
                -22.8404,
                13.394,
                -24.1351,
                -23.3302,
                -1.62263,
                -17.4414,
                -3.69797,
            ],
            "ee": [
                0.0278085,
                0.00189969,
                0.0111317,
                0.020992,
                0.762829,
                0.881829,
                6.95249,
                41.6859,
                12.9259,
                8.68514,
                2.88523,
            ],
            "bb": [
                2.24227e-06,
                5.84742e-05,
                0.000245683,
                0.000352865,
                0.00393911,
                0.0212534,
                0.0833475,
                0.119984,
                0.103418,
                0.0666476,
                0.0433717,
            ],
            "pp": [
                6.09011e-08,
                1.38978e-07,
                1.66998e-07,
                1.69921e-07,
                1.25026e-07,
                6.40958e-08,
                2.18114e-08,
                8.26105e-09,
                4.27245e-09,
                2.66448e-09,
                1.912e-09,
            ],
        },
    ),
    "lcdm_planck2018_nrun": (
        {
            "ombh2": 0.02213,
            "omch2": 0.1238,
            "theta_mc": 1.0387,
            "tau": 0.0633,
            "logA": 3.087,
            "ns": 0.9537,
            "nrun": 0.031,
        },
        {
            "tt": [
                1596.91,
                1060.01,
                1149.9,
                1218.72,
                2855.51,
                5909.87,
                2623.65,
                1091.22,
                711.096,
                238.303,
                95.9947,
            ],
            "te": [
                5.17746,
                1.19841,
                2.04948,
                2.33303,
                -24.7603,
                12.3727,
                -25.7506,
                -22.1847,
                -2.58909,
                -18.3373,
                -3.90667,
            ],
            "ee": [
                0.0585995,
                0.00473432,
                0.0138594,
                0.0257466,
                0.847871,
                0.897496,
                7.05336,
                42.7504,
                12.8758,
                9.03616,
                2.8947,
            ],
            "bb": [
                2.12119e-06,
                5.53165e-05,
                0.000232402,
                0.000333766,
                0.00370322,
                0.0198258,
                0.0777736,
                0.1125,
                0.097338,
                0.0631495,
                0.0414829,
            ],
            "pp": [
                6.7361e-08,
                1.36409e-07,
                1.57929e-07,
                1.59436e-07,
                1.13461e-07,
                5.79992e-08,
                1.99282e-08,
                7.7064e-09,
                4.06339e-09,
                2.57463e-09,
                1.86937e-09,
            ],
        },
    ),
}


def direct(point: dict[str, float], lmax: int = 2600) -> dict[str, np.ndarray]:
    """D_l [uK^2] by CAMB's own functions with what Planck 2018 used, spelled out."""
    more: dict[str, Any] = {p: point[p] for p in ("Alens", "omk", "nrun", "YHe", "w", "wa") if p in point}
    if "w" in point:
        more["dark_energy_model"] = "ppf"
    pars = camb.set_params(
        ombh2=point["ombh2"], omch2=point["omch2"], cosmomc_theta=point["theta_mc"] / 100, tau=point["tau"],
        As=math.exp(point["logA"]) * 1e-10, ns=point["ns"], mnu=point.get("mnu", 0.06), nnu=point.get("nnu", 3.044),
        num_massive_neutrinos=1, TCMB=2.7255, bbn_predictor="PArthENoPE_880.2_standard.dat",
        recombination_model="Recfast", recfast_approx_model="planck", halofit_version="mead2016",
        lmax=lmax, lens_potential_accuracy=4, **more,
    )  # fmt: skip
    spectra = ["total", "lens_potential"]
    got = camb.get_results(pars).get_cmb_power_spectra(pars, CMB_unit="muK", spectra=spectra, lmax=lmax)
    tt, ee, bb, te = got["total"].T
    return {"tt": tt, "te": te, "ee": ee, "bb": bb, "pp": got["lens_potential"][:, 0]}


def sigmas(exact: dict[str, np.ndarray], ell: list[int]) -> dict[str, np.ndarray]:
    """Cosmic variance at some multipoles of which the spectra are known."""
    whole = {p: np.ones(max(ell) + 1) for p in PAIRS}
    for pair in PAIRS:
        whole[pair][ell] = exact[pair]
    return {p: s[ell] for p, s in cosmic_variance_sigma(whole).items()}


@pytest.mark.parametrize("bundle", extended_bundles())
def test_a_stored_spectrum_of_camb_is_met_within_the_stated_error(bundle: str) -> None:
    """The stated error is the largest over held-out models of the box; CAMB's own jitter is a hundredth of it."""
    point, stored = STORED[bundle]
    exact = {pair: np.array(x) for pair, x in stored.items()}
    theta = torch.tensor([[point[p] for p in emulator_box(bundle)]], dtype=torch.float64)
    got, sigma = load_emulator(bundle).spectra(theta).dl, sigmas(exact, ELL)
    stated = read_manifest(bundle)["accuracy"]["overall"]
    for pair in PAIRS:
        error = np.abs(got[pair][0, ELL].numpy() - exact[pair]) / sigma[pair]
        assert error.max() < stated[pair][3], (pair, error)


@pytest.mark.parametrize("bundle", extended_bundles())
def test_at_the_reference_the_extended_emulator_is_its_base(bundle: str) -> None:
    """1e-12 is rounding, of features that are differences; helium's reference depends on the baryons."""
    emulator = load_emulator(bundle)
    base = load_emulator(read_manifest(bundle)["base"]["bundle"])
    rng = np.random.default_rng(3)
    low, high = np.array([emulator.box[p] for p in LCDM]).T
    theta = torch.from_numpy(rng.uniform(low, high, (4, 6)))
    values = emulator.correction.base_values  # type: ignore[union-attr]
    extra = [np.polynomial.Polynomial(values[p])(theta[:, 0].numpy()) for p in emulator.parameters[6:]]
    whole = torch.cat([theta, torch.from_numpy(np.column_stack(extra))], dim=1)
    got, plain = emulator.spectra(whole), base.spectra(theta)
    for pair, x in plain.dl.items():
        torch.testing.assert_close(got.dl[pair], x, rtol=1e-12, atol=1e-12 * x.abs().max().item())


@pytest.mark.slow
@pytest.mark.parametrize("bundle", extended_bundles())
def test_camb_at_random_points_of_the_box_is_met(bundle: str) -> None:
    """Twice the stated 99% of the box, at 98% of the multipoles of three points: what three models can tell of a percentile."""
    emulator, box = load_emulator(bundle), emulator_box(bundle)
    rng = np.random.default_rng(20261231)
    low, high = np.array(list(box.values())).T
    rows: list[np.ndarray] = []
    while len(rows) < 3:
        row = rng.uniform(low, high)
        point = dict(zip(box, row, strict=True))
        if point.get("w", -1.0) + point.get("wa", 0.0) < -0.1:
            rows.append(row)
    got = emulator.spectra(torch.from_numpy(np.array(rows))).dl
    stated = read_manifest(bundle)["accuracy"]["overall"]
    errors: dict[str, list[np.ndarray]] = {p: [] for p in PAIRS}
    for i, row in enumerate(rows):
        exact = direct(dict(zip(box, row.tolist(), strict=True)))
        sigma = cosmic_variance_sigma(exact)
        for pair in PAIRS:
            errors[pair].append(np.abs(got[pair][i].numpy() - exact[pair])[2:2400] / sigma[pair][2:2400])
    for pair in PAIRS:
        assert np.percentile(np.concatenate(errors[pair]), 98) < 2 * stated[pair][2], pair


PUBLISHED = {
    "nnu": (2.92, 0.19, "Planck 2018 VI, table 5: 2.92 +0.36 -0.37 at 95%"),
    "Alens": (1.180, 0.065, "Planck 2018 VI, eq. 36b: 1.180 +- 0.065 at 68%"),
}
"""Of TT, TE, EE + lowE: mean and sigma."""


def sampled(extension: str) -> np.ndarray:  # shape: (64000,)
    """Return the extension's samples in a fit of the default run's data, by emcee."""
    fit = complete_fit("x", {"data": ["planck2018"], "theory": {"extends": [extension]}}, "lcdm_planck2018")
    posterior = build_posterior(fit)
    centre, scale = start_point(fit, posterior)
    rng = np.random.default_rng(20261130)
    names = posterior.parameters
    low, high = np.array([posterior.priors[p].support for p in names]).T
    middle, width = (np.array([x[p] for p in names]) for x in (centre, scale))
    start = middle + 0.5 * width * rng.standard_normal((64, len(names)))
    sampler = emcee.EnsembleSampler(
        64, len(names), lambda x: posterior.log_prob(torch.from_numpy(x)).numpy(), vectorize=True
    )
    sampler._random.seed(7)
    sampler.run_mcmc(np.clip(start, low + 1e-9, high - 1e-9), 1500)
    return sampler.get_chain(discard=500, flat=True)[:, names.index(extension)]


@pytest.mark.slow
@pytest.mark.parametrize("extension", sorted(PUBLISHED))
def test_published_posteriors_of_planck_come_back(extension: str) -> None:
    """Plik-lite, two bins of low-l TT and SimAll against plik and Commander: 0.3 sigma and 15% (64,000 points of an ensemble whose
    autocorrelation time is 60 to 80 steps: the sampling error of a width is 3%)."""
    mean, sigma, _ = PUBLISHED[extension]
    samples = sampled(extension)
    assert abs(samples.mean() - mean) < 0.3 * sigma
    assert samples.std() == pytest.approx(sigma, rel=0.15)
