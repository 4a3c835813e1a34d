"""Files of the user's: candl-format data sets (SPT-3G D1's layout among them), SACC, units and orders that are wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacc
import torch
import yaml
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import ConfigError, DataError, DownloadError, LikelihoodError
from cmbfit.fit import build_posterior, complete_fit
from cmbfit.fit.build import load_data
from cmbfit.likelihood import Gaussian, Uniform, load_likelihood
from cmbfit.likelihood.bandpower_model import calibrated
from cmbfit.likelihood.datasets import check_reference, reference_of
from cmbfit.likelihood.datasets.load import description
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.plausible import amplitudes, check_against_lcdm
from cmbfit.likelihood.selection import select
from cmbfit.likelihood.tau_prior import ParameterGaussian
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.spectra import Spectra

from .helpers import info, one

POINT = torch.tensor([[0.0224, 0.1195, 1.0410, 0.055, 3.05, 0.967]], dtype=torch.float64)
COUNTS = {"TT lxl": 52, "TE lxl": 72, "EE lxl": 72}  # bandpowers of SPT-3G D1 lite
DIVISORS = {
    "TT lxl": ["Tcal", "Tcal"],
    "TE lxl": ["Tcal", "Tcal", "Ecal"],
    "EE lxl": ["Tcal", "Tcal", "Ecal", "Ecal"],
}


def d1_spec() -> dict[str, Any]:
    """The published definition of SPT-3G D1 lite, but for its title."""
    calibration = [
        {"Module": "common.CalibrationAuto", "descriptor": name, "spec_param_dict": {name: names}}
        for name, names in DIVISORS.items()
    ]
    return {
        "name": "SPT-3G D1 - Main field (lite)",
        "likelihood_form": "gaussian",
        "feedback": True,
        "band_power_file": "SPT3G_D1_TnE_lite_bdp.txt",
        "covariance_file": "SPT3G_D1_TnE_lite_cov.txt",
        "window_functions_folder": "windows/",
        "spectra_info": [{name: n} for name, n in COUNTS.items()],
        "data_model": [
            {
                "Module": "common.AberrationCorrection",
                "aberration_coefficient": -0.0004826,
                "descriptor": "A",
            },
            *calibration,
        ],
        "priors": [
            {"par_names": "tau", "central_value": 0.051, "prior_std": 0.006},
            {"par_names": "Tcal", "central_value": 1.0, "prior_std": 0.00360},
        ],
    }


@pytest.fixture(scope="module")
def sky(emulator: LinearEmulator) -> Spectra:
    return emulator.spectra(POINT)


@pytest.fixture
def d1(tmp_path: Path, sky: Spectra) -> Path:
    """Files of SPT-3G D1 lite's layout: LCDM's bandpowers in bins of 30, errors of 1%."""
    folder = tmp_path / "d1"
    (folder / "windows").mkdir(parents=True)
    ell = np.arange(2, 2600)
    data = []
    for name, n in COUNTS.items():
        windows = np.zeros((len(ell), n))
        for b in range(n):
            windows[(ell >= 400 + 30 * b) & (ell < 430 + 30 * b), b] = 1 / 30
        np.savetxt(
            folder / f"windows/{name.replace(' ', '_')}_window_functions.txt", np.column_stack([ell, windows])
        )
        data.append(windows.T @ sky.dl[name[:2].lower()][0, 2:2600].numpy())
    vector = np.concatenate(data)
    np.savetxt(folder / "SPT3G_D1_TnE_lite_bdp.txt", vector)
    np.savetxt(folder / "SPT3G_D1_TnE_lite_cov.txt", np.diag((0.01 * np.abs(vector) + 0.1) ** 2))
    path = folder / "SPT3G_D1_TnE_lite.yaml"
    path.write_text(yaml.safe_dump(d1_spec()))
    return path


def load(path: Path, **options: Any) -> GaussianBandpowers:
    (like,) = load_data([{"candl": str(path), **options}])
    assert isinstance(like, GaussianBandpowers)
    return like


ECAL = {"Ecal": {"uniform": [0.8, 1.2]}}


def test_spt_d1s_calibration_and_aberration(d1: Path, sky: Spectra) -> None:
    """TT / Tcal^2, TE / Tcal^2 Ecal, EE / Tcal^2 Ecal^2 (Camphuis et al. 2025); aberration of a few 1e-4 l dlnC/dl."""
    like = load(d1, priors=ECAL)
    t, e = one(value=1.02), one(value=0.97)
    for pair, divisor in (("tt", 1.02**2), ("te", 1.02**2 * 0.97), ("ee", 1.02**2 * 0.97**2)):
        factor = calibrated(one(), like.powers(pair), {"Tcal": t, "Ecal": e})
        assert factor.item() == pytest.approx(1 / divisor, rel=1e-14)
    unit = {"Tcal": one(), "Ecal": one()}
    ratio = (like.bandpowers(sky, unit)[0] / like.data - 1)[:52]
    # -c l dlnC_l/dl: dlnC/dlnl is between -7 and 0 in the damping tail, c = -4.8e-4
    assert 1e-4 < ratio.abs().max() < 1e-2
    assert like.info.nuisance == {"Tcal": Gaussian(1.0, 0.0036), "Ecal": Uniform(0.8, 1.2)}
    assert "tau" in like.info.approximation  # its prior on tau is named, and not used


@pytest.mark.slow
def test_the_shipped_description_of_d1_fits_the_published_definition(d1: Path) -> None:
    spec = description("spt3g_d1_lite")
    assert spec["definition"] == d1.name
    assert spec["nuisance"]["Tcal"] == {"gaussian": [1.0, 0.0036]}
    with pytest.raises(DownloadError, match=r"could not be had|no sha256"):
        load_likelihood("spt3g_d1_lite")


def test_a_calibration_without_a_prior_is_flat(d1: Path) -> None:
    """As candl leaves it: D1's release gives Ecal none."""
    like = load(d1)
    assert like.info.nuisance["Ecal"] == Uniform(0.5, 1.5)
    assert "Ecal without a prior in the definition: flat" in like.info.approximation
    with pytest.raises(LikelihoodError, match="unknown parameter 'Acal'; did you mean"):
        load(d1, priors={**ECAL, "Acal": {"gaussian": [1, 1]}})


def test_a_prior_of_two_together_is_replaced_whole(d1: Path) -> None:
    spec = d1_spec()
    spec["priors"] = [
        {"par_names": ["Tcal", "Ecal"], "central_value": [1, 1], "prior_covariance": "calibration.txt"}
    ]
    d1.write_text(yaml.safe_dump(spec))
    np.savetxt(d1.parent / "calibration.txt", [[1e-4, 5e-5], [5e-5, 4e-4]])
    (joint,) = load(d1).info.joint_priors
    assert joint.describe()["covariance"] == [[1e-4, 5e-5], [5e-5, 4e-4]]
    with pytest.raises(
        LikelihoodError, match="one prior together; give all of them or none, found none for Tcal"
    ):
        load(d1, priors=ECAL)
    both = load(d1, priors=ECAL | {"Tcal": {"gaussian": [1.0, 0.01]}})
    assert both.info.joint_priors == ()
    assert both.info.nuisance == {"Tcal": Gaussian(1.0, 0.01), "Ecal": Uniform(0.8, 1.2)}


def test_cuts_and_surveys_of_a_users_file(d1: Path) -> None:
    like = load(d1, priors=ECAL, cuts={"tt": [1000, 2000]}, survey="planck")
    assert like.info.n_data == 32 + 72 + 72  # centres 1014.5, 1044.5, ..., 1944.5
    with pytest.raises(LikelihoodError, match="count the same planck TT"):
        load_data([{"candl": str(d1), "priors": ECAL, "survey": "planck"}, "planck2018_plik_lite_tt"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 1e-12, r"tt: the bandpowers are .*e-1[23] times those of LCDM \(K\^2: multiply"),
        (lambda x: x * 1e12, r"tt: the bandpowers are 1\.\d+e\+12 times those of LCDM\. Expected"),
        (
            lambda x: np.concatenate([x[:52], x[124:], x[52:124]]),
            r"te: the bandpowers are .* \(it looks like EE",
        ),
        (lambda x: x * 2 * np.pi / 1000**2, r"\(C_l, which falls like 1/l\^2: multiply"),
    ],
)
def test_wrong_units_and_orders_are_seen(d1: Path, change: Any, message: str) -> None:
    file = d1.parent / "SPT3G_D1_TnE_lite_bdp.txt"
    np.savetxt(file, change(np.loadtxt(file)))
    with pytest.raises(LikelihoodError, match=message):
        load(d1, priors=ECAL)
    assert load(d1, priors=ECAL, units_checked=True).info.n_data == 196


def test_amplitudes_are_those_that_were_put_in(sky: Spectra) -> None:
    windows = {p: np.eye(40, 900, 500) for p in ("tt", "ee", "te")}
    data = np.concatenate(
        [f * sky.dl[p][0, 500:540].numpy() for p, f in (("tt", 1.2), ("ee", 0.7), ("te", 1.0))]
    )
    like = GaussianBandpowers(info(), windows, data, np.eye(120))
    found = amplitudes(like)
    # the sky differs from the reference LCDM by 2% here
    assert found["tt"][0] == pytest.approx(1.2, rel=0.03)
    assert found["ee"][0] == pytest.approx(0.7, rel=0.05)
    check_against_lcdm(like, "x")


def test_damaged_candl_files_are_named(d1: Path) -> None:
    window = d1.parent / "windows/TE_lxl_window_functions.txt"
    rows = window.read_text().splitlines()
    window.write_text("\n".join(rows[:700] + rows[701:]))
    with pytest.raises(DataError, match=r"TE_lxl_window_functions.txt: row 701: .* so l = 702, found 703"):
        load(d1, priors=ECAL)
    covariance = d1.parent / "SPT3G_D1_TnE_lite_cov.txt"
    window.write_text("\n".join(rows))
    matrix = np.loadtxt(covariance)
    matrix[60, 60] *= -1
    np.savetxt(covariance, matrix)
    with pytest.raises(LikelihoodError, match=r"not positive definite \(row 61, te bandpower 9\)"):
        load(d1, priors=ECAL)


def write_sacc(path: Path, sky: Spectra, *, unit: str = "dl", step: int = 1) -> None:
    file = sacc.Sacc()
    file.add_tracer("Map", "m", 0, ell=np.arange(10), beam=np.ones(10), quantity="cmb_temperature")
    ell = np.arange(2, 1200, step)
    weights = np.stack([((ell >= a) & (ell < a + 50)).astype(float) for a in range(100, 1000, 50)])
    weights /= weights.sum(1, keepdims=True)
    theory = sky.dl["tt"][0, ell].numpy()
    if unit == "cl":
        theory = theory * 2 * np.pi / (ell * (ell + 1.0))
    window = sacc.BandpowerWindow(ell, weights.T)
    values = weights @ theory
    file.add_ell_cl("cl_00", "m", "m", np.arange(125, 1025, 50), values, window=window)
    file.add_covariance(np.diag((0.02 * values) ** 2))
    file.save_fits(str(path), overwrite=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("unit", ["dl", "cl"])
def test_sacc_files_by_configuration(tmp_path: Path, sky: Spectra, unit: str) -> None:
    path = tmp_path / "own.fits"
    write_sacc(path, sky, unit=unit)
    item = {"sacc": str(path), "unit": unit, "pairs": ["tt"], "survey": "mine", "ranges": {"tt": [100, 600]}}
    (like,) = load_data([item])
    assert like.info.n_data == 10
    # made from this sky: windows and units right, chi2 is rounding
    assert like.log_prob(sky, {}).item() == pytest.approx(0.0, abs=1e-12)
    gain = {"A_mine": {"prior": {"gaussian": [1.0, 0.02]}, "powers": {"tt": -2}}}
    (calibrated,) = load_data([item | {"calibration": gain}])
    # errors of 2%: a model 1.1^2 lower is 1 - 1/1.21 of each of ten bandpowers off
    chi2 = -2 * calibrated.log_prob(sky, {"A_mine": one(value=1.1)}).item()
    assert chi2 == pytest.approx(10 * ((1 - 1 / 1.21) / 0.02) ** 2, rel=1e-9)
    assert select([item | {"calibration": gain}])[0].nuisance_names == ["A_mine"]
    with pytest.raises(ConfigError, match="calibration: A_mine: expected"):
        load_data([item | {"calibration": {"A_mine": {"powers": {"tt": -2}}}}])
    with pytest.raises(LikelihoodError, match="times those of LCDM"):
        load_data([item | {"unit": "cl" if unit == "dl" else "dl"}])
    with pytest.raises(ConfigError, match="give unit: dl or unit: cl"):
        load_data([{"sacc": str(path)}])


@pytest.mark.filterwarnings("ignore")
def test_windows_that_miss_multipoles_are_refused(tmp_path: Path, sky: Spectra) -> None:
    path = tmp_path / "gaps.fits"
    write_sacc(path, sky, step=2)
    with pytest.raises(LikelihoodError, match="windows miss l = 3"):
        load_data([{"sacc": str(path), "unit": "dl", "pairs": ["tt"]}])


def test_tau_as_a_data_set(sky: Spectra) -> None:
    like = load_likelihood("tau_lowe")
    assert isinstance(like, ParameterGaussian)
    expected = -0.5 * ((0.055 - 0.0506) / 0.0086) ** 2
    assert like.log_prob(sky, {}).item() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(LikelihoodError, match="needs the parameter tau beside the spectra"):
        like.log_prob(Spectra(dict(sky.dl)), {})
    section = {"data": ["planck2018_plik_lite_tt", "tau_lowe"]}
    posterior = build_posterior(complete_fit("mine", section, "lcdm_planck2018"))
    theta = torch.cat([POINT, one()[:, None]], dim=1)
    assert posterior.log_likelihoods(theta)["tau_lowe"].item() == pytest.approx(expected, rel=1e-12)


def loglike(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["loglike", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_the_command_line_knows_files_combinations_and_cuts(d1: Path, sky: Spectra, tmp_path: Path) -> None:
    from cmbfit.theory.textfile import write_spectrum

    spectrum = str(tmp_path / "sky.txt")
    write_spectrum(spectrum, sky)
    both = loglike("--data", "planck2018", "--spectrum", spectrum)
    assert {"planck2018_plik_lite_ttteee", "planck2018_lowl_tt_2bin", "planck2018_lowl_ee"} <= set(both)
    cut = loglike("--data", "{planck2018_plik_lite_tt: {cuts: {tt: [30, 999]}}}", "--spectrum", spectrum)
    whole = loglike("--data", "planck2018_plik_lite_tt", "--spectrum", spectrum)
    assert 0 < cut["chi2"] < whole["chi2"]
    item = f"{{candl: {d1}, priors: {{Ecal: {{uniform: [0.8, 1.2]}}}}}}"
    own = loglike("--data", item, "--spectrum", spectrum, "--nuisance", "Tcal=1.01")
    like = load(d1, priors=ECAL)
    expected = like.log_prob(sky, {"Tcal": one(value=1.01), "Ecal": one()}).item()
    assert own["log_like"] == pytest.approx(expected, rel=1e-6)  # digits of the text file
    unlike = like.log_prob(sky, {"Tcal": one(), "Ecal": one()}).item()
    assert loglike("--data", str(d1), "--spectrum", spectrum)["log_like"] == pytest.approx(unlike, rel=1e-6)


def test_a_failing_self_check_stops_the_command(fixed_spectrum: Path) -> None:
    """Published: -291.33481235418026 and -2.62105266 (planck-lite-py); none for the table of low-l EE."""
    got = loglike("--data", "planck2018", "--spectrum", str(fixed_spectrum), "--self-check")["self_check"]
    assert abs(got["planck2018_plik_lite_ttteee"]) < 1e-8
    assert abs(got["planck2018_lowl_tt_2bin"]) < 1e-8
    assert got["planck2018_lowl_ee"] is None
    reference = reference_of("planck2018_plik_lite_tt")
    like = load_likelihood("planck2018_plik_lite_tt", cuts={"tt": (30, 2400)})
    with pytest.raises(LikelihoodError, match=r"self-check failed: ln L = -\d+.*published is -101.58123"):
        check_reference(like, reference)


@pytest.mark.parametrize(
    ("item", "names"),
    [
        ("planck2018", {"A_planck"}),
        ("p_act", {"A_act", "P_act"}),
        ("bkp2015", {"BBdust", "BBbetadust"}),
        ({"bkp2015": {"priors": {"BBsync": {"uniform": [0, 1]}}}}, {"BBdust", "BBbetadust", "BBsync"}),
    ],
)
def test_nuisances_are_known_without_the_data(item: str | Mapping[str, Any], names: set[str]) -> None:
    assert {n for s in select([item]) for n in s.nuisance_names} == names


def test_a_users_files_have_hashes(d1: Path) -> None:
    (chosen,) = select([{"candl": str(d1), "priors": ECAL}])
    assert chosen.nuisance_names == ["Tcal", "Ecal"]
    assert len(chosen.user_hashes()) == 6
    assert select(["planck2018_lowl_ee"])[0].user_hashes() == {}
