"""Mock data: scipy's Wishart density, closed forms, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import wishart

from cmbfit.errors import CmbfitError, DataError, LikelihoodError
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.datasets.catalog import description_file
from cmbfit.likelihood.mock import MockSpectra
from cmbfit.theory.spectra import Spectra

LMAX = 40
ELL = np.arange(LMAX + 1)
NOISE = {"t": np.full(LMAX + 1, 2.0), "e": np.full(LMAX + 1, 1.0), "b": np.full(LMAX + 1, 0.5)}


def spectra(scale: float = 1.0, **changes: float) -> Spectra:
    levels = {"tt": 10.0, "te": 1.5, "ee": 3.0, "bb": 0.4, "tb": 0.3, "eb": 0.2, **changes}
    return Spectra({p: torch.full((1, LMAX + 1), scale * x, dtype=torch.float64) for p, x in levels.items()})


def mock(sky: dict[str, tuple[int, int]], **options: Any) -> MockSpectra:
    info = DataSetInfo("mock", "mock", {"mock": sky}, 1, "none")
    return MockSpectra(info, spectra(), NOISE, options.pop("f_sky", 0.5), **options)


ALL = dict.fromkeys(("tt", "te", "ee", "bb", "tb", "eb"), (10, LMAX))


def test_drawn_data_have_scipys_wishart_density() -> None:
    """Differences of ln L between models are those of the density of W = nu C^ with nu = f (2 l + 1) modes."""
    like = mock(ALL, seed=5)
    models = [spectra(), spectra(1.1), spectra(te=2.5, eb=-0.4)]
    expected = []
    for model in models:
        level = {p: x[0, 0].item() for p, x in model.dl.items()}
        c = np.array([[level["tt"] + 2, level["te"], level["tb"]], [level["te"], level["ee"] + 1, level["eb"]],
                      [level["tb"], level["eb"], level["bb"] + 0.5]])  # fmt: skip
        (block,) = like._blocks
        total = 0.0
        for ell, data in zip(range(10, LMAX + 1), block.data.numpy(), strict=True):
            nu = 0.5 * (2 * ell + 1)
            total += wishart(df=nu, scale=c / nu).logpdf(data)
        expected.append(total)
    got = [like.log_prob(m, {}).item() for m in models]
    assert np.diff(got) == pytest.approx(np.diff(expected), rel=1e-9)


def test_fields_that_are_not_seen_together_do_not_meet() -> None:
    """T from l = 20 and E from 10, without TB, EB: ln L is that of T and E where both are, of E below, of B apart."""
    whole = mock({"tt": (20, LMAX), "te": (20, LMAX), "ee": (10, LMAX), "bb": (10, 30)})
    parts = [
        mock({"tt": (20, LMAX), "te": (20, LMAX), "ee": (20, LMAX)}),
        mock({"ee": (10, 19)}),
        mock({"bb": (10, 30)}),
    ]
    model = spectra(1.3, te=1.0)
    assert whole.log_prob(model, {}).item() == pytest.approx(
        sum(p.log_prob(model, {}).item() for p in parts), rel=1e-12
    )
    assert whole.log_prob(spectra(), {}).item() == pytest.approx(0, abs=1e-9)


def test_a_model_that_is_not_positive_has_no_probability_and_a_clean_gradient() -> None:
    like = mock(ALL)
    te = torch.full((2, LMAX + 1), 1.5, dtype=torch.float64)
    te[0] = 50.0
    te.requires_grad_()
    both = Spectra({**{p: x.expand(2, -1) for p, x in spectra().dl.items()}, "te": te})
    value = like.log_prob(both, {})
    assert value[0] == -torch.inf
    assert value[1].item() == pytest.approx(0, abs=1e-9)
    value[1].backward()
    assert te.grad is not None
    assert torch.isfinite(te.grad).all()


@pytest.mark.parametrize(
    ("sky", "options", "words"),
    [
        (ALL, {"f_sky": 1.5}, "fsky"),
        ({"tt": (10, 50)}, {}, "no noise of 't' up to l = 50"),
        ({"tt": (10, 30), "te": (10, 30)}, {}, "te without tt and ee"),
        ({"tt": (10, 30), "ee": (20, 40), "te": (10, 30)}, {}, r"expected \[20, 30\]"),
        ({"tt": (1, 30)}, {}, "no range of multipoles"),
        ({"xx": (2, 30)}, {}, "expected one of tt"),
        ({**ALL, **dict.fromkeys(ALL, (2, LMAX))}, {"f_sky": 0.1, "seed": 1}, "fewer than the 3 fields"),
    ],
)
def test_what_cannot_be_is_refused_by_name(sky: Any, options: Any, words: str) -> None:
    with pytest.raises(LikelihoodError, match=words):
        mock(sky, **options)


def own(tmp_path: Path, **changes: Any) -> str:
    """A user's dataset.yaml: LiteBIRD's with changes."""
    spec = yaml.safe_load(description_file("mock_litebird").read_text())
    spec.update(changes)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(spec))
    return str(path)


def test_a_users_survey_is_a_data_set(tmp_path: Path) -> None:
    like = load_likelihood(own(tmp_path, fsky=0.3, seed=4, name="mine"), cuts={"tt": (0, 0), "ee": (2, 500)})
    assert like.info.sky == {"litebird": {"ee": (2, 500), "bb": (2, 1000)}}
    assert like.settings()["fsky"] == 0.3
    assert like.settings()["seed"] == 4
    again = load_likelihood(own(tmp_path, fsky=0.3, seed=4, name="mine"), cuts={"tt": (0, 0), "ee": (2, 500)})
    assert again.settings() == like.settings()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"f_sky": 0.4}, "did you mean 'fsky'"),
        ({"noise": {"t": {"white": [[30, -1]]}}}, "uK arcmin"),
        ({"noise": {"t": {"level": 3}}}, r"expected \{file, column\} or \{white\}"),
        ({"noise": {"x": {"white": [[30, 1]]}}}, "field"),
        ({"truth": {"emulator": "lcdm_planck2018"}}, "emulator and parameters"),
        (
            {
                "sky": {"litebird": {"tt": [2, 4000]}},
                "truth": {"emulator": "lcdm_planck2018", "parameters": {}},
            },
            "missing",
        ),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_by_name(
    tmp_path: Path, changes: Any, words: str
) -> None:
    with pytest.raises(CmbfitError, match=words):
        load_likelihood(own(tmp_path, **changes))


def test_noise_of_a_file_is_in_the_units_of_the_spectra(tmp_path: Path) -> None:
    """N_l of T is that of C_l, the same as white noise of its level; of lensing N_L^kk, kk = [L(L+1)]^2 pp / 4, as [L(L+1)]^2 pp / 2 pi."""
    level, kappa = 5.0, 1e-7
    rows = np.column_stack([np.arange(2, 101), np.full(99, (level * np.pi / 10800) ** 2), np.full(99, kappa)])
    np.savetxt(tmp_path / "noise.txt", rows)
    noise = {"t": {"file": "noise.txt", "column": 1}, "p": {"file": "noise.txt", "column": 2}}
    sky = {"mine": {"tt": [2, 100], "pp": [2, 100]}}
    like = load_likelihood(own(tmp_path, sky=sky, noise=noise, files=["noise.txt"]))
    white = load_likelihood(
        own(tmp_path, sky={"mine": {"tt": [2, 100]}}, noise={"t": {"white": [[0.0, level]]}})
    )
    assert isinstance(like, MockSpectra)
    assert isinstance(white, MockSpectra)
    np.testing.assert_allclose(like.noise["t"][2:], white.noise["t"][2:], rtol=1e-12)
    ell = 30
    phi = 4 * kappa / (ell * (ell + 1)) ** 2
    assert like.noise["p"][ell].item() == pytest.approx((ell * (ell + 1)) ** 2 * phi / (2 * np.pi), rel=1e-12)


def test_cuts_of_cross_spectra_and_cuts_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LikelihoodError, match="where both of their fields are"):
        load_likelihood("mock_litebird", cuts={"te": (2, 100)})
    with pytest.raises(LikelihoodError, match="leave nothing"):
        load_likelihood(own(tmp_path, sky={"litebird": {"bb": [2, 1000]}}), cuts={"bb": (0, 0)})
    spec = yaml.safe_load(description_file("mock_planck").read_text(encoding="utf-8"))
    short = {**spec["truth"], "emulator": "lcdm_planck2018"}
    path = own(tmp_path, sky={"x": {"tt": [2, 3000]}}, noise={"t": {"white": [[1.0, 1.0]]}}, truth=short)
    with pytest.raises(DataError, match="reaches l = 2600"):
        load_likelihood(path)
