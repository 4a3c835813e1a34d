"""ACT DR6 and SPT-3G 2018 lite against candl's own numbers; aberration and joint priors in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from cmbfit import data
from cmbfit.errors import ConfigError, DataError, DownloadError, LikelihoodError
from cmbfit.likelihood import Posterior, Uniform, load_likelihood
from cmbfit.likelihood.bandpower_model import calibrated
from cmbfit.likelihood.datasets import reference_of
from cmbfit.likelihood.datasets.candl_format import read_candl
from cmbfit.likelihood.datasets.candl_likelihood import likelihood_of
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.priors import Gaussian, JointGaussian
from cmbfit.likelihood.steps.local_sky import derivative_matrix
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.textfile import read_spectrum

from .helpers import info, one, random_covariance


def _fetched(name: str) -> None:
    """Have a data set's files (a 72 MB wheel, once) or skip."""
    try:
        data.fetch_group(name, progress=False)
    except DownloadError as error:
        pytest.skip(f"no source of {name} within reach: {str(error)[:200]}")


@pytest.mark.network
@pytest.mark.parametrize("name", ["act_dr6_cmb_only", "spt3g_2018_lite"])
def test_candls_own_test_numbers(name: str) -> None:
    _fetched(name)
    reference = reference_of(name)
    spectra = read_spectrum(data.fetch(reference["spectrum"], progress=False))
    nuisance = {k: one(value=v) for k, v in reference["nuisance"].items()}
    like = load_likelihood(name)
    # candl prints 141.74004888: its digits end at 1e-8
    assert like.log_prob(spectra, nuisance).item() == pytest.approx(reference["log_like"], abs=1e-8)
    doubled = {k: 2 * v for k, v in nuisance.items()}
    assert like.log_prob(spectra, doubled).item() < reference["log_like"] - 1000


@pytest.mark.parametrize("slope", [-1.0, -2.5])
def test_aberration_of_a_power_law_is_a_factor(slope: float) -> None:
    """C_l = l^n: l dC/dl = n C, so D_l -> (1 - c n) D_l (Jeong et al. 2014, eq. 23)."""
    lmax, coefficient = 3000, -0.0004826
    ell = np.arange(2, lmax + 1.0)
    dl = ell * (ell + 1) * ell**slope
    ratio = (dl - coefficient * (derivative_matrix(lmax) @ dl)) / dl
    # central differences err by (n-1)(n-2)/6 l^-2 of the derivative: 1e-4 of the effect at l = 200
    np.testing.assert_allclose(ratio[200:-1] - 1, -coefficient * slope, rtol=5e-4)


def _toy_files(rng: np.random.Generator, **changes: object) -> dict[str, bytes]:
    spec = {
        "band_power_file": "d.txt",
        "covariance_file": "c.txt",
        "window_functions_folder": "windows/",
        "spectra_info": [{"TT lxl": 2}, {"TE lxl": 2}],
        "data_model": [
            {"Module": "common.CalibrationSingleScalarSquared", "cal_param": "A"},
            {"Module": "common.PolarisationCalibrationDivision", "cal_param": "P"},
        ],
    } | changes

    def text(x: np.ndarray) -> bytes:
        return "\n".join(" ".join(f"{v:.17g}" for v in row) for row in np.atleast_2d(x)).encode()

    ell = np.arange(2, 12.0)
    windows = {p: np.column_stack([ell, rng.random((10, 2))]) for p in ("TT", "TE")}
    return {
        "x.yaml": yaml.safe_dump(spec).encode(),
        "d.txt": text(rng.random((4, 1))),
        "c.txt": text(random_covariance(rng, 4)),
        **{f"windows/{p}_lxl_window_functions.txt": text(w) for p, w in windows.items()},
    }


def test_windows_start_at_two_and_calibration_divides(rng: np.random.Generator) -> None:
    files = _toy_files(rng)
    got = read_candl(files, "x.yaml")
    assert not got.windows()["TT lxl"][:, :2].any()
    raw = np.array(
        [
            [float(v) for v in row.split()]
            for row in files["windows/TE_lxl_window_functions.txt"].decode().splitlines()
        ]
    )
    np.testing.assert_array_equal(got.windows()["TE lxl"][:, 2:], raw[:, 1:].T)
    nuisance = {"A": Gaussian(1, 0.01), "P": Uniform(0.5, 1.5)}
    like = likelihood_of(got, info(nuisance=nuisance))
    assert isinstance(like, GaussianBandpowers)
    values = {"A": one(value=2.0), "P": one(value=3.0)}
    assert calibrated(one(), like.powers("tt"), values).item() == pytest.approx(1 / 4)
    assert calibrated(one(), like.powers("te"), values).item() == pytest.approx(1 / 12)


def test_windows_in_one_file_a_bin_are_the_same_windows(rng: np.random.Generator) -> None:
    """candl's other layout: window_1.txt, ...: l and a column for each spectrum."""
    files = _toy_files(rng)
    expected = read_candl(files, "x.yaml").windows()
    other = {k: v for k, v in files.items() if not k.startswith("windows/")}
    for b in range(2):
        rows = (
            f"{el} {expected['TT lxl'][b, el]:.17g} {expected['TE lxl'][b, el]:.17g}" for el in range(2, 12)
        )
        other[f"windows/window_{b + 1}.txt"] = "\n".join(rows).encode()
    got = read_candl(other, "x.yaml").windows()
    for pair in ("TT lxl", "TE lxl"):
        np.testing.assert_array_equal(got[pair], expected[pair])


def test_what_is_not_supported_is_named(rng: np.random.Generator) -> None:
    dust = _toy_files(rng, data_model=[{"Module": "common.PolarisedDust", "amp": "x"}])
    with pytest.raises(LikelihoodError, match="PolarisedDust"):
        read_candl(dust, "x.yaml")


def test_damaged_definitions_and_files_are_named(rng: np.random.Generator) -> None:
    files = _toy_files(rng)
    with pytest.raises(DataError, match=r"TE_lxl_window_functions.txt: named"):
        read_candl({k: v for k, v in files.items() if "TE" not in k}, "x.yaml")
    with pytest.raises(DataError, match="not a candl data set"):
        read_candl(files | {"x.yaml": b"spectra_info: 3"}, "x.yaml")
    with pytest.raises(DataError, match=r"d.txt: expected a table"):
        read_candl(files | {"d.txt": b"a b"}, "x.yaml")
    shifted = files["windows/TT_lxl_window_functions.txt"].replace(b"2 ", b"1 ", 1)
    with pytest.raises(DataError, match="expected l from 2"):
        read_candl(files | {"windows/TT_lxl_window_functions.txt": shifted}, "x.yaml")


def test_a_joint_prior_is_scipys_normal(rng: np.random.Generator) -> None:
    covariance = random_covariance(rng, 2)
    prior = JointGaussian(("a", "b"), (1.0, 2.0), tuple(map(tuple, covariance.tolist())))
    x = rng.standard_normal((5, 2))
    expected = stats.multivariate_normal([1.0, 2.0], covariance).logpdf(x)
    np.testing.assert_allclose(prior.log_prob(torch.from_numpy(x)).numpy(), expected, rtol=1e-12)
    assert prior.marginal("b").std == pytest.approx(covariance[1, 1] ** 0.5)
    with pytest.raises(ConfigError, match="positive definite"):
        JointGaussian(("a", "b"), (0, 0), ((1.0, 2.0), (2.0, 1.0)))


def test_a_joint_prior_counts_once_and_is_replaced_whole(
    rng: np.random.Generator, emulator: LinearEmulator
) -> None:
    covariance = ((4e-4, 1e-4), (1e-4, 9e-4))
    joint = JointGaussian(("Tcal", "Ecal"), (1.0, 1.0), covariance)
    single = {n: joint.marginal(n) for n in joint.names}
    windows = {"tt": np.zeros((2, 50))}
    windows["tt"][0, 40], windows["tt"][1, 45] = 1.0, 1.0
    sets = [
        GaussianBandpowers(
            replace(info(name, survey=name, nuisance=single), joint_priors=(joint,)),
            windows,
            np.ones(2),
            np.eye(2),
            {"Tcal": {"tt": -2}},
        )
        for name in ("first", "second")
    ]
    box = {p: Uniform(*emulator.box[p]) for p in emulator.parameters}
    posterior = Posterior(emulator, sets, box)
    point = np.array([(low + high) / 2 for low, high in emulator.box.values()] + [1.01, 0.98])
    flat = -sum(np.log(high - low) for low, high in emulator.box.values())
    expected = flat + stats.multivariate_normal([1, 1], covariance).logpdf(point[-2:])
    assert posterior.log_prior(torch.from_numpy(point)[None]).item() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(LikelihoodError, match="all of them"):
        Posterior(emulator, sets, box | {"Tcal": Gaussian(1, 0.1)})
    own = Posterior(emulator, sets, box | {"Tcal": Gaussian(1, 0.1), "Ecal": Gaussian(1, 0.2)})
    expected = flat + stats.norm(1, 0.1).logpdf(1.01) + stats.norm(1, 0.2).logpdf(0.98)
    assert own.log_prior(torch.from_numpy(point)[None]).item() == pytest.approx(expected, rel=1e-12)
