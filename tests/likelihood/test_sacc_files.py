"""SACC files as the sacc library writes them: nothing of a pair unused in silence, own products with their leakage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import sacc
import torch
from astropy.io import fits
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import ConfigError, LikelihoodError, SpectrumError
from cmbfit.likelihood.sacc_data import read_own_spectra, read_sacc
from cmbfit.likelihood.selection import select
from cmbfit.likelihood.user_files import read_user_sacc
from cmbfit.spectra import Bins
from cmbfit.spectra.combination import combine
from cmbfit.spectra.covariance import multi_covariance
from cmbfit.spectra.estimate import cl_from_dl
from cmbfit.spectra.multi import make_plan
from cmbfit.spectra.product import leakage_path, write_combined
from cmbfit.theory.spectra import Spectra
from tests.spectra.fields_simulation import FieldSky, make_fields, simulate
from tests.spectra.simulation import EDGES, LMAX, input_dl

N, WIDTH, ELL = 4, 7, np.arange(2, 31)
WEIGHTS = np.zeros((ELL.size, N))
for _b in range(N):
    WEIGHTS[WIDTH * _b : WIDTH * (_b + 1), _b] = 1 / WIDTH
TRACERS = {
    "T": (0, "cmb_temperature"),
    "P": (2, "cmb_polarization"),
    "K": (0, "cmb_convergence"),
    "G": (2, "galaxy_shear"),
    "X": (0, "generic"),
}


def write(path: Path, *spectra: tuple[str, str, str, float], unit: str = "uK_CMB") -> Path:
    file = sacc.Sacc()
    for name, (spin, quantity) in TRACERS.items():
        file.add_tracer(
            "Map", name, quantity=quantity, spin=spin, ell=ELL, beam=np.ones(ELL.size), map_unit=unit
        )
    for kind, one, two, level in spectra:
        file.add_ell_cl(
            kind, one, two, np.arange(N) * WIDTH + 5.0, np.full(N, level),
            window=sacc.BandpowerWindow(ELL, WEIGHTS),
        )  # fmt: skip
    file.add_covariance(np.diag(np.full(N * len(spectra), 0.25)))
    if path.suffix == ".h5":
        file.save_hdf5(str(path), overwrite=True)
    else:
        file.save_fits(str(path), overwrite=True)
    return path


def flat(**levels: float) -> Spectra:
    return Spectra({p: torch.full((1, 41), x, dtype=torch.float64) for p, x in levels.items()})


@pytest.mark.parametrize(
    ("pair", "one", "other"),
    [
        ("te", ("cl_0e", "T", "P"), ("cl_e0", "P", "T")),
        ("tb", ("cl_0b", "T", "P"), ("cl_b0", "P", "T")),
        ("eb", ("cl_eb", "P", "P"), ("cl_be", "P", "P")),
        ("te", ("cmb_temperaturePolarization_cl_e", "T", "P"), ("cl_e0", "P", "X")),
        ("bb", ("cmb_polarization_cl_bb", "P", "P"), ("cl_bb", "P", "P")),
    ],
)
def test_both_orders_of_a_pair_count(tmp_path, pair, one, other) -> None:
    """chi2 = N (a - t)^2 / 0.25 + N (b - t)^2 / 0.25, whichever order a file has, or both."""
    for spectra in ([(*one, 3.0)], [(*other, 5.0)], [(*one, 3.0), (*other, 5.0)]):
        path = write(tmp_path / "x.fits", *spectra)
        like = read_sacc(path, "x", survey="s", unit="dl", pairs=(pair,))
        wanted = sum(N * (level - 2) ** 2 / 0.25 for *_, level in spectra)
        assert -2 * like.log_prob(flat(**{pair: 2.0}), {}).item() == pytest.approx(wanted, rel=1e-9)


def test_other_quantities_are_no_temperature(tmp_path) -> None:
    path = write(tmp_path / "x.fits", ("cl_00", "K", "K", 1e-7), ("cl_ee", "G", "G", 1e-9))
    with pytest.raises(
        LikelihoodError, match=r"no spectrum tt of the CMB; found cl_00 of K x K \(cmb_convergence x cmb_con"
    ):
        read_sacc(path, "x", survey="s", unit="dl", pairs=("tt",))
    spectra = (
        ("cl_00", "T", "T", 3.0),
        ("cl_00", "T", "K", 1e-3),
        ("cl_00", "K", "K", 1e-7),
        ("cl_00", "X", "X", 4.0),
    )
    like = read_sacc(write(tmp_path / "x.fits", *spectra), "x", survey="s", unit="dl", pairs=("tt",))
    assert like.info.n_data == 2 * N  # T x T, and one that does not say what it is
    assert (
        "left out: cl_00 of T x K (cmb_temperature x cmb_convergence), cl_00 of K x K"
        in like.info.approximation
    )


def test_units_of_tracers(tmp_path) -> None:
    path = write(tmp_path / "x.fits", ("cl_00", "T", "T", 3e-12), unit="K_CMB")
    like = read_sacc(path, "x", survey="s", unit="dl", pairs=("tt",))
    np.testing.assert_allclose(like.data.numpy(), 3.0)
    np.testing.assert_allclose(like.sigma.numpy(), 0.5e12)
    path = write(tmp_path / "x.fits", ("cl_00", "T", "T", 3.0), unit="furlong")
    with pytest.raises(LikelihoodError, match="unit 'furlong'"):
        read_sacc(path, "x", survey="s", unit="dl", pairs=("tt",))


def test_hdf5_is_the_same_file(tmp_path) -> None:
    spectra = (("cl_00", "T", "T", 3.0), ("cl_ee", "P", "P", 2.0))
    two = [
        read_sacc(write(tmp_path / name, *spectra), "x", survey="s", unit="dl", pairs=("tt", "ee"))
        for name in ("x.fits", "x.h5")
    ]
    model = flat(tt=2.0, ee=1.5)
    assert two[0].log_prob(model, {}).item() == two[1].log_prob(model, {}).item() < 0
    (tmp_path / "bad.h5").write_bytes((tmp_path / "x.h5").read_bytes()[:900])
    with pytest.raises(LikelihoodError, match="expected a SACC file"):
        read_sacc(tmp_path / "bad.h5", "x", survey="s", unit="dl")


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """Combined spectra of a sky behind a mask, and its input."""
    dl, fields = input_dl(), make_fields()
    plan = make_plan(fields, Bins(EDGES))
    matrix = multi_covariance(plan, fields, cl_from_dl(dl, LMAX))
    (values,) = simulate(FieldSky(dl, fields), plan, np.random.default_rng(78), 1)
    path = tmp_path_factory.mktemp("own") / "VxW.sacc.fits"
    write_combined(path, combine(plan, values, matrix, {"fsky": 0.6}))
    return path, dl


def test_our_own_file_keeps_its_leakage(product) -> None:
    """The user's door gives the run's likelihood, with what E leaks into B; the unit is not guessed."""
    path, dl = product
    spectra = Spectra({p: torch.from_numpy(dl[p][None]) for p in ("tt", "te", "ee", "bb")})
    like = read_user_sacc(path, pairs=("bb",), units_checked=True)
    plain = read_sacc(path, "x", survey="s", unit="dl", pairs=("bb",))
    leaked = (like.bandpowers(spectra, {}) - plain.bandpowers(spectra, {})).numpy()[0]
    with fits.open(leakage_path(path)) as hdus:  # what the two files say, read without us
        window = np.asarray(hdus["BB_EE"].data, dtype=np.float64)
    np.testing.assert_allclose(leaked, window @ dl["ee"], atol=1e-5 * np.abs(leaked).max())
    assert np.abs(leaked).max() > 1e-3
    run = read_own_spectra(path, "x", survey="x")
    user = read_user_sacc(path, units_checked=True)
    assert user.log_prob(spectra, {}).item() == run.log_prob(spectra, {}).item()
    with pytest.raises(ConfigError, match="cmbfit wrote this file and it holds D_l"):
        read_user_sacc(path, unit="cl")
    assert leakage_path(path).name in user.settings()["files"]
    hashes = select([{"sacc": str(path)}])[0].user_hashes()
    assert set(hashes) == {str(path), str(leakage_path(path))}


def test_calibration_of_our_own_file(product) -> None:
    path, dl = product
    given = {"a": {"prior": {"gaussian": [1.0, 0.01]}, "powers": {"tt": -2}}}
    like = read_user_sacc(path, pairs=("tt",), calibration=given, units_checked=True)
    spectra = Spectra({"tt": torch.from_numpy(dl["tt"][None])})
    one, two = (
        like.bandpowers(spectra, {"a": torch.tensor([x], dtype=torch.float64)}).numpy()[0] for x in (1.0, 1.1)
    )
    np.testing.assert_allclose(two, one / 1.21, rtol=1e-12)


def test_the_leakage_file_is_named(product, tmp_path) -> None:
    path = tmp_path / "copy.sacc.fits"
    shutil.copy(product[0], path)
    with pytest.raises(SpectrumError, match=r"expected .*copy\.leakage\.fits, which cmbfit wrote beside it"):
        read_user_sacc(path)


def test_tracers_say_that_beams_are_divided_out(product) -> None:
    """One meaning of a tracer's beam: what the bandpowers still hold."""
    file = sacc.Sacc.load_fits(str(product[0]))
    assert file.metadata["beams"].startswith("deconvolved")
    for tracer in file.tracers.values():
        np.testing.assert_array_equal(tracer.beam, 1)


def test_loglike_reads_our_own_file(product, tmp_path) -> None:
    path, dl = product
    table = np.column_stack([np.arange(2, LMAX + 1)] + [dl[k][2:] for k in ("tt", "te", "ee", "bb")])
    np.savetxt(tmp_path / "t.txt", table, header="units_checked\nell tt te ee bb")
    item = f"{{sacc: {path}, pairs: [tt, te, ee], units_checked: true}}"
    result = CliRunner().invoke(app, ["loglike", "--data", item, "--spectrum", str(tmp_path / "t.txt")])
    assert result.exit_code == 0, result.output
    like = read_own_spectra(path, "x", survey="x")
    spectra = Spectra({p: torch.from_numpy(dl[p][None]) for p in ("tt", "te", "ee")})
    wanted = -2 * like.log_prob(spectra, {}).item()
    assert json.loads(result.stdout)["chi2"] == pytest.approx(wanted, rel=1e-6)
