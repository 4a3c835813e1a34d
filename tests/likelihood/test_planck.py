"""Planck 2018 likelihoods against published numbers and against a reading of the raw files in loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from cmbfit import data
from cmbfit.errors import LikelihoodError, SpectrumError
from cmbfit.likelihood import dataset_names, load_likelihood
from cmbfit.likelihood.base import Likelihood
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.spectra import Spectra
from tests.likelihood.helpers import one

Likes = dict[str, Likelihood]


def total(likelihoods: Likes, names: tuple[str, ...], spectra: Spectra, a_planck: float = 1.0) -> float:
    return sum(likelihoods[n].log_prob(spectra, {"A_planck": one(1, a_planck)}).item() for n in names)


# planck-lite-py (Prince & Dunkley 2019), and Cobaya's native plik-lite for the first
@pytest.mark.parametrize(
    ("names", "published"),
    [
        (("ttteee",), -291.33481235418026),
        (("ttteee", "bins"), -293.95586501795134),
        (("tt",), -101.58123068722583),
        (("tt", "bins"), -104.20228335099686),
    ],
)
def test_fixed_spectrum_gives_the_published_likelihood(
    likelihoods: Likes, fixed: Spectra, names: tuple[str, ...], published: float
) -> None:
    # no Boltzmann code is involved: only rounding of double sums is left
    assert total(likelihoods, names, fixed) == pytest.approx(published, abs=1e-8)


# Cobaya's test suite at the same point: 584.24, 396.04; digits of the source and CAMB's version: 0.05
@pytest.mark.parametrize(
    ("names", "chi2"), [(("ttteee",), 584.23), (("lowe",), 396.06), (("ttteee", "bins"), 588.23)]
)
def test_camb_at_the_planck_point_gives_the_published_chi2(
    likelihoods: Likes, camb_planck_point: Spectra, names: tuple[str, ...], chi2: float
) -> None:
    assert -2 * total(likelihoods, names, camb_planck_point, 1.00044) == pytest.approx(chi2, abs=0.05)


def raw(file: str) -> np.ndarray:
    return np.array([float(x) for x in data.read_bytes(f"planck2018_plik_lite/{file}").split()])


def oracle_log_like(cl: dict[str, np.ndarray], a_planck: float, folder: Path) -> float:
    """plik-lite by loops over the published files; `cl` is C_l from l = 0."""
    first, last, weight = (raw(f"{n}.dat").tolist() for n in ("blmin", "blmax", "bweight"))
    model = []
    for pair, n_bins in (("tt", 215), ("te", 199), ("ee", 199)):
        for b in range(n_bins):
            value = 0.0
            for offset in range(int(first[b]), int(last[b]) + 1):
                value += cl[pair][30 + offset] * weight[offset]
            model.append(value / a_planck**2)
    observed = raw("cl_cmb_plik_v22.dat").reshape(613, 3)[:, 1]
    path = folder / "covariance.dat"
    path.write_bytes(data.read_bytes("planck2018_plik_lite/c_matrix_plik_v22.dat"))
    with scipy.io.FortranFile(path) as f:
        covariance = f.read_reals(dtype=float).reshape(613, 613).T
    for i in range(613):
        for j in range(i, 613):
            covariance[j, i] = covariance[i, j] = covariance[i, j] or covariance[j, i]
    residual = observed - np.array(model)
    return -0.5 * residual @ np.linalg.inv(covariance) @ residual


def test_plik_lite_equals_loops_over_the_published_files(
    likelihoods: Likes, fixed: Spectra, rng: np.random.Generator, tmp_path: Path
) -> None:
    dl = {p: x[0].numpy() * (1 + 0.03 * rng.standard_normal(x.shape[1])) for p, x in fixed.dl.items()}
    ell = np.maximum(np.arange(2509), 1)
    cl = {p: x[:2509] * 2 * np.pi / (ell * (ell + 1)) for p, x in dl.items()}
    got = total(
        likelihoods, ("ttteee",), Spectra({p: torch.from_numpy(x)[None] for p, x in dl.items()}), 1.003
    )
    # the inverse of a covariance with condition number 1e8 costs 8 of 16 digits
    assert got == pytest.approx(oracle_log_like(cl, 1.003, tmp_path), rel=1e-7)


def test_c_l_in_place_of_d_l_is_far_off(likelihoods: Likes, fixed: Spectra) -> None:
    ell = torch.arange(fixed.lmax + 1, dtype=torch.float64).clamp(min=1)
    cl = Spectra({p: x * 2 * torch.pi / (ell * (ell + 1)) for p, x in fixed.dl.items()})
    assert total(likelihoods, ("ttteee",), cl) < -1e4


@pytest.mark.parametrize("shift", [-2, 2])
def test_an_offset_of_two_multipoles_is_seen(likelihoods: Likes, fixed: Spectra, shift: int) -> None:
    # cosmosis-standard-library #181: spectra from l = 2 read as if from l = 0. The fit worsens by 10 sigma
    moved = Spectra({p: torch.roll(x, shift, dims=1) for p, x in fixed.dl.items()})
    assert total(likelihoods, ("ttteee",), moved) < -291.33481235 - 50


def test_calibration_divides_the_model_by_its_square(likelihoods: Likes, fixed: Spectra) -> None:
    divided = Spectra({p: x / 1.01**2 for p, x in fixed.dl.items()})
    for name in ("ttteee", "tt", "bins"):
        got = total(likelihoods, (name,), fixed, 1.01)
        assert got == pytest.approx(total(likelihoods, (name,), divided), rel=1e-10)
        assert got != pytest.approx(total(likelihoods, (name,), fixed), rel=1e-3)


def test_low_l_ee_alone_wants_the_published_optical_depth(
    likelihoods: Likes, emulator: LinearEmulator
) -> None:
    """Planck 2018 V, SimAll EE alone: tau = 0.0506 +- 0.0086."""
    tau = torch.linspace(0.021, 0.149, 513, dtype=torch.float64)
    theta = torch.tensor([[0.02237, 0.12, 1.0409, 0, 0, 0.9649]], dtype=torch.float64).repeat(len(tau), 1)
    theta[:, 3] = tau
    theta[:, 4] = np.log(18.8) + 2 * tau  # A_s exp(-2 tau) = 1.88e-9, which the high l fix
    log_like = likelihoods["lowe"].log_prob(emulator.spectra(theta), {"A_planck": one(len(tau))})
    density = torch.exp(log_like - log_like.max())
    density /= density.sum()
    mean = (density * tau).sum()
    width = ((density * (tau - mean) ** 2).sum()) ** 0.5
    # A_s exp(-2 tau) is marginalised there and fixed here: a fraction of a sigma
    assert abs(mean - 0.0506) < 0.3 * 0.0086
    assert width == pytest.approx(0.0086, rel=0.15)
    assert 0.045 < tau[log_like.argmax()] < 0.056


def test_data_sets_have_their_documented_size(likelihoods: Likes) -> None:
    # 215 + 199 + 199 bandpowers (Planck 2018 V); a table has no chi2 in the usual sense
    sizes = {name: like.info.n_data for name, like in likelihoods.items()}
    assert sizes == {"ttteee": 613, "tt": 215, "bins": 2, "lowe": 0}
    assert {"planck2018_lensing", "act_dr6_cmb_only", "bkp2015"} <= set(dataset_names())


def test_unknown_data_set_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(LikelihoodError, match="did you mean 'planck2018_plik_lite_ttteee'"):
        load_likelihood("planck2018_pliklite_ttteee")


def test_spectra_that_stop_early_or_lack_a_pair_are_refused(likelihoods: Likes, fixed: Spectra) -> None:
    short = Spectra({p: x[:, :2001] for p, x in fixed.dl.items()})
    with pytest.raises(SpectrumError, match="must reach l = 2508; they stop at l = 2000"):
        total(likelihoods, ("ttteee",), short)
    with pytest.raises(SpectrumError, match="needed but not given: te, ee"):
        total(likelihoods, ("ttteee",), Spectra({"tt": fixed.dl["tt"]}))
