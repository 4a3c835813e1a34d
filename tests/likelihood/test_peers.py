"""Other people's implementations of the same data sets beside ours, at random spectra."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.peers import PLIK_LITE, clipy_plik_lite
from cmbfit import data
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.datasets.load import registry_group
from cmbfit.theory.spectra import Spectra

from .conftest import fetched
from .helpers import one


def noisy(rng: np.random.Generator, lmax: int, pairs: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Spectra with the size of the sky's and a tenth of noise, l from 0."""
    ell = np.arange(lmax + 1.0)
    size = {"tt": 2000.0, "te": 50.0, "ee": 20.0, "bb": 0.05, "pp": 1e-7}
    return {p: size[p] * (1 + 0.1 * rng.standard_normal(lmax + 1)) * (ell >= 2) for p in pairs}


def spectra_near_the_sky(rng: np.random.Generator, fixed: Spectra) -> dict[str, np.ndarray]:
    """The published test spectrum with 3% of noise, D_l from l = 0."""
    return {p: x[0].numpy() * (1 + 0.03 * rng.standard_normal(x.shape[1])) for p, x in fixed.dl.items()}


def ours(dl: dict[str, np.ndarray]) -> Spectra:
    return Spectra({p: torch.from_numpy(x)[None] for p, x in dl.items()})


@pytest.mark.slow
def test_plik_lite_beside_cobayas_own(fixed: Spectra, rng: np.random.Generator, tmp_path: Path) -> None:
    """Cobaya's class on the same files, by a definition of the form that it downloads."""
    module = pytest.importorskip("cobaya.likelihoods.base_classes.planck_pliklite", reason="no Cobaya")
    for file in PLIK_LITE:
        (tmp_path / file).write_bytes(data.read_bytes(f"planck2018_plik_lite/{file}"))
    definition = {
        "use_cl": "tt te ee", "nbintt": 215, "nbinte": 199, "nbinee": 199, "lmax": 2508, "bin_lmin_offset": 30,
        "data": "cl_cmb_plik_v22.dat", "blmin": "blmin.dat", "blmax": "blmax.dat", "weights": "bweight.dat",
        "cov_file_binary": "upper.dat", "cov_file": "cov.txt",
    }  # fmt: skip
    # it reads the triangle below the diagonal, or a whole matrix in text
    record = data.read_bytes("planck2018_plik_lite/c_matrix_plik_v22.dat")
    triangle = np.frombuffer(record[4:-4]).reshape(613, 613)
    np.savetxt(tmp_path / "cov.txt", triangle + triangle.T - np.diag(np.diag(triangle)), fmt="%.17g")
    (tmp_path / "plik.dataset").write_text("\n".join(f"{k} = {v}" for k, v in definition.items()))

    class Peer(module.PlanckPlikLite):  # it insists on files of its own otherwise
        install_options: dict[str, str] = {}  # noqa: RUF012

        @classmethod
        def is_installed(cls, **_: object) -> bool:
            return True

    peer = Peer({"path": str(tmp_path), "dataset_file": "plik.dataset"})
    mine = load_likelihood("planck2018_plik_lite_ttteee")
    for _ in range(5):
        dl, a_planck = spectra_near_the_sky(rng, fixed), float(rng.normal(1, 0.01))
        chi2 = peer.get_chi_squared(0, dl["tt"], dl["te"], dl["ee"], a_planck)
        got = mine.log_prob(ours(dl), {"A_planck": one(value=a_planck)}).item()
        # it multiplies with the inverse of a covariance of condition number 1e8: 8 of 16 digits
        assert got == pytest.approx(-0.5 * float(chi2), rel=1e-7)


@pytest.mark.slow
def test_plik_lite_beside_clipy(fixed: Spectra, rng: np.random.Generator, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("clipy", reason="clipy is not installed")
        peer = clipy_plik_lite(tmp_path / "plik_lite")
        mine = load_likelihood("planck2018_plik_lite_ttteee")
        ell = np.maximum(np.arange(2509.0), 1)
        for _ in range(5):
            dl, a_planck = spectra_near_the_sky(rng, fixed), float(rng.normal(1, 0.01))
            cl = np.zeros((6, 2509))
            for row, pair in ((0, "tt"), (1, "ee"), (3, "te")):
                cl[row] = dl[pair][:2509] * 2 * np.pi / (ell * (ell + 1))
            got = mine.log_prob(ours(dl), {"A_planck": one(value=a_planck)}).item()
            assert got == pytest.approx(float(peer(cl, {"A_planck": a_planck})), rel=1e-7)


@pytest.mark.slow
def test_planck_lensing_beside_cosmofit(rng: np.random.Generator) -> None:
    peer = pytest.importorskip("cosmofit.likelihoods.planck_lensing", reason="cosmofit is not installed")
    loaders = pytest.importorskip("cosmofit.data.loaders.cmb")
    base = pytest.importorskip("cosmofit.likelihoods.base")
    like = object.__new__(peer.PlanckLensingLikelihood)
    dataset = loaders.load_planck_lensing("planck2018")
    base.BaseLikelihood.__init__(like, name="lensing", dataset=dataset, cosmology=None)
    mine = load_likelihood("planck2018_lensing")
    for _ in range(5):
        dl = noisy(rng, 2500, ("tt", "te", "ee", "pp"))

        class Backend:
            """Hands out these spectra in the place of CAMB's."""

            table = dl

            def lensing_spectra(self, lmax: int) -> dict[str, np.ndarray]:
                return {p.upper(): x[: lmax + 1] for p, x in self.table.items()}

        like.backend = Backend()
        # cosmofit has no calibration: A_planck = 1
        expected = -0.5 * float(like.chi2())
        assert mine.log_prob(ours(dl), {"A_planck": one()}).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "file", "lmax"),
    [
        ("act_dr6_cmb_only", "ACT_DR6_CMB_only_v0/ACT_DR6_CMB_only.yaml", 8501),
        ("spt3g_2018_lite", "SPT3G_2018_TTTEEE_v0/SPT3G_2018_TTTEEE_lite.yaml", 3200),
        ("act_dr6_lensing", "ACT_DR6_Lens_v1/ACT_DR6_KK_lens_only.yaml", 3001),
        ("spt3g_2018_lensing", "SPT3G_2018_Lens_v0/SPT3G_2018_PP_lens_only.yaml", 2001),
        ("spt3g_2018_lensing_cmb", "SPT3G_2018_Lens_v0/SPT3G_2018_PP_lens_and_CMB.yaml", 2001),
    ],
)
def test_act_and_spt_beside_candl(name: str, file: str, lmax: int, rng: np.random.Generator) -> None:
    fetched(registry_group(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        candl = pytest.importorskip("candl", reason="candl is not installed")
        pytest.importorskip("jax").config.update("jax_enable_x64", True)
        folder = Path(candl.__file__).parent / "data"
        lensing = "Lens" in file
        kind: Any = candl.LensLike if lensing else candl.Like
        # without its priors: candl 1.8 and 2.2 cannot build them with jax 0.10
        peer = kind(str(folder / file), priors=[], feedback=False)
        like = load_likelihood(name)
        for _ in range(3):
            dl = noisy(rng, lmax, ("pp", "tt") if lensing else ("tt", "te", "ee"))
            values = {n: float(rng.normal(1.0, 0.01)) for n in like.info.nuisance}
            theirs = {p.upper(): x[2:] for p, x in dl.items()}
            theirs |= {"ell": np.arange(2, lmax + 1)}
            if lensing:
                theirs["pp"] = theirs.pop("PP")
                theirs["kk"] = theirs["pp"] * np.pi / 2
            expected = float(peer.chi_square({"Dl": theirs, **values}))
            got = -2 * like.log_prob(ours(dl), {n: one(value=v) for n, v in values.items()}).item()
            assert got == pytest.approx(expected, rel=1e-9)
