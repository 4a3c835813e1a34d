"""Other people's implementations of the same data sets beside ours, at random spectra."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmbfit.likelihood import load_likelihood
from cmbfit.theory.spectra import Spectra

from .conftest import fetched
from .helpers import one


def noisy(rng: np.random.Generator, lmax: int, pairs: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Spectra with the size of the sky's and a tenth of noise, l from 0."""
    ell = np.arange(lmax + 1.0)
    size = {"tt": 2000.0, "te": 50.0, "ee": 20.0, "bb": 0.05, "pp": 1e-7}
    return {p: size[p] * (1 + 0.1 * rng.standard_normal(lmax + 1)) * (ell >= 2) for p in pairs}


def ours(dl: dict[str, np.ndarray]) -> Spectra:
    return Spectra({p: torch.from_numpy(x)[None] for p, x in dl.items()})


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
    ],
)
def test_act_and_spt_beside_candl(name: str, file: str, lmax: int, rng: np.random.Generator) -> None:
    fetched(name)
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
            dl = noisy(rng, lmax, ("pp",) if lensing else ("tt", "te", "ee"))
            values = {n: float(rng.normal(1.0, 0.01)) for n in like.info.nuisance}
            theirs = {p.upper(): x[2:] for p, x in dl.items()}
            theirs |= {"ell": np.arange(2, lmax + 1)}
            if lensing:
                theirs["kk"] = theirs.pop("PP") * np.pi / 2
            expected = float(peer.chi_square({"Dl": theirs, **values}))
            got = -2 * like.log_prob(ours(dl), {n: one(value=v) for n, v in values.items()}).item()
            assert got == pytest.approx(expected, rel=1e-9)
