"""Distances of galaxies and supernovae: against Cobaya's likelihoods on the same files, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmbfit import data
from cmbfit.errors import DownloadError, LikelihoodError
from cmbfit.fit import build_posterior, complete_fit
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.base import Likelihood, refuse_double_counting
from cmbfit.likelihood.datasets.catalog import description
from cmbfit.likelihood.low_redshift.bao_table import Spline
from cmbfit.likelihood.low_redshift.supernovae import Supernovae
from cmbfit.likelihood.selection import combinations, select
from cmbfit.theory.background.theory import BackgroundTheory
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.spectra import Spectra

POINT = [0.02237, 0.12, 1.0409, 0.0544, 3.044, 0.9649]
EMBEDDED = ("desi_dr2", "union3", "sixdf_bao")
DOWNLOADED = (
    "desi_dr1",
    "sdss_dr12_lrg",
    "sdss_dr16_lrg",
    "sdss_dr16_qso",
    "sdss_dr16_elg",
    "sdss_dr16_lya",
    "pantheonplus",
    "des_dovekie",
)


def loaded(name: str, **options: Any) -> Likelihood:
    """Load a data set, or skip where its source is out of reach."""
    try:
        return load_likelihood(name, **options)
    except DownloadError as error:
        pytest.skip(f"no source within reach: {str(error)[:200]}")


def flat(**values: float) -> Spectra:
    """Return parameters beside an empty spectrum."""
    table = {p: torch.tensor([x], dtype=torch.float64) for p, x in values.items()}
    return Spectra({"tt": torch.zeros(1, 1, dtype=torch.float64)}, table)


def background(**values: float) -> Spectra:
    point = {"ombh2": 0.02237, "omch2": 0.12, "H0": 67.36, "rdrag": 147.09} | values
    return flat(**point)


# Outside truths


def by_cobaya(
    tmp_path: Path, module: str, files: dict[str, str], emulator: LinearEmulator, **options: Any
) -> float:
    """Return ln L of one of Cobaya's own likelihoods on registered files, with our emulator's distances."""
    pytest.importorskip("cobaya", reason="the optional dependency cobaya is not installed")
    from cobaya.likelihoods.base_classes import BAO, SN
    from cobaya.model import get_model

    for place, name in files.items():  # they are not where its installer would put them
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.read_bytes(name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BAO, "install_options", {})
        patch.setattr(SN, "install_options", {})
        model = get_model(
            {
                "likelihood": {module: {"path": str(tmp_path), **options}},
                "theory": {"emulator": {"class": "cmbfit.cobaya.Emulator"}},
                "params": dict(zip(emulator.parameters, POINT, strict=True)),
            }
        )
    value = float(model.loglikes({})[0][0])
    model.close()
    return value


GAUSSIAN = {
    "desi_dr2": (
        "bao.desi_dr2.desi_bao_all",
        {
            f"bao_data/desi_bao_dr2/desi_gaussian_bao_ALL_GCcomb_{x}.txt": f"desi_dr2_bao/desi_gaussian_bao_ALL_GCcomb_{x}.txt"
            for x in ("mean", "cov")
        },
    ),
    "sixdf_bao": ("bao.sixdf_2011_bao", {}),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", GAUSSIAN)
def test_bao_are_those_of_cobaya(name: str, tmp_path: Path, emulator: LinearEmulator) -> None:
    """The same numbers on the same distances: rounding alone is left."""
    expected = by_cobaya(tmp_path, *GAUSSIAN[name], emulator)
    theta = torch.tensor([POINT], dtype=torch.float64)
    assert load_likelihood(name).log_prob(emulator.spectra(theta), {}).item() == pytest.approx(
        expected, rel=1e-9
    )


SDSS = {
    "desi_dr1": (
        "bao.desi_2024_bao_all",
        [f"desi_dr1_bao/desi_2024_gaussian_bao_ALL_GCcomb_{x}.txt" for x in ("mean", "cov")],
    ),
    "sdss_dr12_lrg": ("bao.sdss_dr12_lrg_bao_dmdh", ["sdss_bao/sdss_DR12_LRG_BAO_DMDH.dat", "sdss_bao/sdss_DR12_LRG_BAO_DMDH_covtot.txt"]),
    "sdss_dr16_lrg": ("bao.sdss_dr16_lrg_bao_dmdh", ["sdss_bao/sdss_DR16_LRG_BAO_DMDH.dat", "sdss_bao/sdss_DR16_LRG_BAO_DMDH_covtot.txt"]),
    "sdss_dr16_qso": ("bao.sdss_dr16_qso_bao_dmdh", ["sdss_bao/sdss_DR16_QSO_BAO_DMDH.txt", "sdss_bao/sdss_DR16_QSO_BAO_DMDH_covtot.txt"]),
    "sdss_dr16_elg": ("bao.sdss_dr16_bao_elg", ["sdss_bao/sdss_DR16_ELG_BAO_DVtable.txt"]),
    "sdss_dr7_mgs": ("bao.sdss_dr7_mgs", ["sdss_bao/sdss_MGS_prob.txt"]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", SDSS)
def test_downloaded_bao_are_those_of_cobaya(name: str, tmp_path: Path, emulator: LinearEmulator) -> None:
    module, files = SDSS[name]
    like = loaded(name)
    expected = by_cobaya(tmp_path, module, {f"bao_data/{x.rpartition('/')[2]}": x for x in files}, emulator)
    theta = torch.tensor([POINT], dtype=torch.float64)
    # splines through the same points by two libraries differ in their ends: 1e-6 of ln L
    rel = 1e-9 if description(name)["kind"] == "bao" else 1e-5
    assert like.log_prob(emulator.spectra(theta), {}).item() == pytest.approx(expected, rel=rel, abs=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_lyman_alpha_is_that_of_cobaya(tmp_path: Path, emulator: LinearEmulator) -> None:
    """Cobaya has the two correlations of SDSS as two likelihoods; here they are one data set."""
    like, expected = loaded("sdss_dr16_lya"), 0.0
    for module, file in (("lyauto", "LYAUTO"), ("lyxqso", "LYxQSO")):
        name = f"sdss_DR16_{file}_BAO_DMDHgrid.txt"
        files = {f"bao_data/{name}": f"sdss_bao/{name}"}
        expected += by_cobaya(tmp_path, f"bao.sdss_dr16_baoplus_{module}", files, emulator)
    theta = torch.tensor([POINT], dtype=torch.float64)
    assert like.log_prob(emulator.spectra(theta), {}).item() == pytest.approx(expected, rel=1e-6)


UNION3 = "name = U\ndata_file = lcparam_full.txt\nmag_covmat_file = mag_covmat.txt\n"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_union3_is_that_of_cobaya(tmp_path: Path, emulator: LinearEmulator) -> None:
    (tmp_path / "union3.dataset").write_text(UNION3)
    files = {name: f"union3/{name}" for name in ("lcparam_full.txt", "mag_covmat.txt")}
    expected = by_cobaya(tmp_path, "sn.union3", files, emulator, dataset_file="union3.dataset")
    theta = torch.tensor([POINT], dtype=torch.float64)
    got = load_likelihood("union3").log_prob(emulator.spectra(theta), {}).item()
    assert got == pytest.approx(expected, rel=1e-8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_pantheon_is_that_of_cobaya(tmp_path: Path, emulator: LinearEmulator) -> None:
    like = loaded("pantheonplus")
    text = "name = P\ndata_file = Pantheon+SH0ES.dat\nmag_covmat_file = Pantheon+SH0ES_STAT+SYS.cov\n"
    (tmp_path / "p.dataset").write_text(text)
    files = {x: f"pantheonplus/{x}" for x in ("Pantheon+SH0ES.dat", "Pantheon+SH0ES_STAT+SYS.cov")}
    expected = by_cobaya(tmp_path, "sn.pantheonplus", files, emulator, dataset_file="p.dataset")
    theta = torch.tensor([POINT], dtype=torch.float64)
    assert like.log_prob(emulator.spectra(theta), {}).item() == pytest.approx(expected, rel=1e-8)


def grid_posterior(data: list[str], names: tuple[str, ...], **axes: np.ndarray) -> np.ndarray:
    """Return the normalised posterior of a free sound horizon at the points of a grid."""
    theory = BackgroundTheory(horizon="free", extra=names[2:])
    points = torch.from_numpy(np.stack([x.ravel() for x in np.meshgrid(*axes.values(), indexing="ij")], 1))
    spectra = theory.spectra(points)
    log = sum(load_likelihood(name).log_prob(spectra, {}) for name in data)
    weight = torch.softmax(log, 0)  # type: ignore[arg-type]
    return weight.reshape([len(x) for x in axes.values()]).numpy()


def test_desi_alone_gives_what_was_published() -> None:
    """DESI DR2 (arXiv:2503.14738), section V: Omega_m 0.2975 +- 0.0086, h r_d 101.54 +- 0.73 Mpc, correlation -0.92."""
    om, hrd = np.linspace(0.25, 0.35, 201), np.linspace(98, 105, 201)
    p = grid_posterior(["desi_dr2"], ("omegam", "hrdrag"), omegam=om, hrdrag=hrd)
    means = (p.sum(1) @ om, p.sum(0) @ hrd)
    sigmas = tuple(
        np.sqrt(q @ (x - m) ** 2) for q, x, m in zip((p.sum(1), p.sum(0)), (om, hrd), means, strict=True)
    )
    # Monte Carlo and rounding of the published numbers
    assert abs(means[0] - 0.2975) < 3e-4
    assert abs(means[1] - 101.54) < 0.03
    assert sigmas == pytest.approx((0.0086, 0.73), rel=0.03)
    correlation = (om - means[0]) @ p @ (hrd - means[1]) / (sigmas[0] * sigmas[1])
    assert correlation == pytest.approx(-0.92, abs=0.01)


# What follows from what


def test_marginal_over_the_magnitude_is_the_integral(rng: np.random.Generator) -> None:
    """Of the sampled one over M, up to a constant: the same difference of ln L between two universes."""
    marginal = load_likelihood("union3")
    sampled = load_likelihood("union3", priors={"M_union3": _uniform(-1, 1)})
    m = torch.linspace(-1.0, 1.0, 4001, dtype=torch.float64)
    integrals = []
    for omch2 in (0.10, 0.13):
        one = background(omch2=omch2)
        many = Spectra(
            {"tt": torch.zeros(len(m), 1, dtype=torch.float64)},
            {p: x.expand(len(m)) for p, x in one.parameters.items()},
        )
        integral = torch.logsumexp(sampled.log_prob(many, {"M_union3": m}), 0).item()
        integrals.append(integral - marginal.log_prob(one, {}).item())
    assert integrals[0] == pytest.approx(integrals[1], abs=1e-6)


def _uniform(low: float, high: float) -> Any:
    from cmbfit.likelihood.priors import Uniform

    return Uniform(low, high)


def supernovae(rng: np.random.Generator, n: int, offset: str | None = None) -> Supernovae:
    """Return many supernovae at random redshifts with a dense covariance."""
    info = (
        load_likelihood("union3", priors={"M_union3": _uniform(-1, 1)}).info
        if offset
        else load_likelihood("union3").info
    )
    z = rng.uniform(0.01, 2.3, n)
    mixing = rng.normal(size=(n, 20)) * 0.02
    covariance = np.diag(rng.uniform(0.1, 0.3, n) ** 2) + mixing @ mixing.T
    return Supernovae(info, z, z * 1.001, 43 + 5 * np.log10(z), covariance, offset)


@pytest.mark.parametrize("offset", [None, "M_union3"])
def test_many_supernovae_fold_without_a_loss(offset: str | None, rng: np.random.Generator) -> None:
    """To 1e-6 in ln L all over the box of w0-wa with curvature, where chi2 reaches thousands."""
    like = supernovae(rng, 400, offset)
    folded = like.folded()
    assert len(folded.z) < 40
    theory = BackgroundTheory(extra=["omk", "w", "wa"], horizon="free")
    low, high = torch.tensor(list(theory.box.values()), dtype=torch.float64).T
    theta = low + (high - low) * torch.from_numpy(rng.uniform(size=(200, len(low))))
    spectra, nuisance = theory.spectra(theta), {}
    if offset:
        nuisance = {offset: torch.from_numpy(rng.uniform(-1, 1, 200))}
    one, two = like.log_prob(spectra, nuisance), folded.log_prob(spectra, nuisance)
    real = torch.isfinite(one) & theory.allowed(theta)
    assert real.sum() > 100
    assert (one - two)[real].abs().max() < 1e-6 * max(1.0, one[real].abs().median().item() / 1000)
    assert torch.isfinite(two[real]).all()


def test_folded_with_the_cmb_it_is_the_same(emulator: LinearEmulator) -> None:
    fit = complete_fit("x", {"data": ["planck2018", "desi_dr2", "union3"]}, "lcdm_planck2018")
    posterior = build_posterior(fit)
    assert posterior.not_folded is None
    theta = torch.tensor([[*POINT, 1.0]], dtype=torch.float64)
    terms = posterior.log_likelihoods(theta)
    # what is dropped of the CMB is a thousandth of the emulator's error
    assert posterior.log_like(theta).item() == pytest.approx(sum(terms.values()).item(), abs=1e-3)
    alone = build_posterior(complete_fit("x", {"data": ["desi_dr2", "union3"]}, "lcdm_planck2018"))
    row = theta[:, :6]
    expected = sum(load_likelihood(n).log_prob(emulator.spectra(row), {}) for n in ("desi_dr2", "union3"))
    assert alone.log_like(row).item() == pytest.approx(expected.item(), rel=1e-10)  # type: ignore[union-attr]
    _, gradient = alone.log_prob_and_gradient(row)
    step = 1e-5 * row
    for i in range(3):
        up, down = row.clone(), row.clone()
        up[0, i] += step[0, i]
        down[0, i] -= step[0, i]
        slope = (alone.log_prob(up) - alone.log_prob(down)).item() / (2 * step[0, i].item())
        assert gradient[0, i].item() == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("horizon", ["free", "computed"])
def test_folded_without_the_cmb_it_is_the_same(horizon: str) -> None:
    """With M sampled; a set of another kind is not folded, with the reason."""
    union3 = {"union3": {"priors": {"M_union3": {"uniform": [-1, 1]}}}}
    theory = {"class": "background", "options": {"horizon": horizon, "extra": ["w", "wa"]}}
    section = {"data": ["desi_dr2", union3], "theory": theory}
    posterior = build_posterior(complete_fit("x", section, "lcdm_planck2018"))
    assert posterior.not_folded is None
    assert posterior.fold_difference is not None
    assert posterior.fold_difference < 1e-7
    early = {"w": -0.1, "wa": 0.5}  # dark energy before recombination: no fit goes there
    point = {"omegam": 0.3, "hrdrag": 100, "ombh2": 0.022, "omch2": 0.12, "H0": 68, "M_union3": 0.0} | early
    row = torch.tensor([[float(point[p]) for p in posterior.parameters]], dtype=torch.float64)
    assert torch.isneginf(posterior.log_prob(row)).all()


def test_splines_are_exact_for_cubics(rng: np.random.Generator) -> None:
    x, y = np.sort(rng.uniform(0, 3, 9)), np.sort(rng.uniform(-1, 1, 7))
    cubic = lambda a, b: (1 + a - 2 * a**2 + 0.3 * a**3) * (2 - b + b**3)
    spline = Spline([x, y], cubic(*np.meshgrid(x, y, indexing="ij")))
    at = (torch.from_numpy(rng.uniform(x[0], x[-1], 50)), torch.from_numpy(rng.uniform(y[0], y[-1], 50)))
    np.testing.assert_allclose(spline(*at), cubic(*at), rtol=1e-10, atol=1e-12)
    beyond = spline(torch.tensor([-0.1], dtype=torch.float64), at[1][:1])
    assert torch.isneginf(beyond).all()


# Counted once


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("desi_dr1", "desi_dr2"),
        ("desi_dr2", "sdss_dr16_lrg"),
        ("union3", "pantheonplus"),
        ("des5yr", "des_dovekie"),
    ],
)
def test_the_same_objects_are_refused(one: str, two: str) -> None:
    infos = [info_of(x) for x in (one, two)]
    with pytest.raises(LikelihoodError, match="count the same objects"):
        refuse_double_counting(infos)


def info_of(name: str) -> Any:
    """Return what a data set says of itself, without its files."""
    from cmbfit.likelihood.datasets.source import Options, Source, data_set_info

    return data_set_info(Source(name, description(name), {}, {}), 1, Options())


@pytest.mark.parametrize("cmb", ["planck2018", "p_act", "planck_act_spt"])
@pytest.mark.parametrize("bao", ["desi_dr2", "sdss_bao"])
@pytest.mark.parametrize("supernovae", ["union3", "pantheonplus", "des5yr"])
def test_combinations_count_each_thing_once(cmb: str, bao: str, supernovae: str) -> None:
    """No sky and no galaxy twice, and each nuisance parameter with one prior, which is the CMB's."""
    chosen = select([cmb, bao, supernovae])
    refuse_double_counting([info_of(s.name) for s in chosen if s.name not in names_of(cmb)])
    fit = complete_fit("x", {"data": [cmb, bao, supernovae]}, "lcdm_planck2018")
    alone = complete_fit("x", {"data": [cmb]}, "lcdm_planck2018")
    assert set(fit.start) == set(alone.start)
    names = [s.name for s in chosen]
    assert len(set(names)) == len(names)


def names_of(name: str) -> list[str]:
    return [s.name for s in select([name])]


@pytest.mark.parametrize("name", ["planck_desi", "planck_act_spt_desi", "sdss_bao"])
def test_named_combinations(name: str) -> None:
    assert complete_fit("x", {"data": [name]}, "lcdm_planck2018").data == (name,)
    assert combinations()[name]["title"]
    refuse_double_counting([info_of(x) for x in names_of(name) if "redshifts" in description(x)])


def test_a_fit_refuses_two_of_one_survey() -> None:
    with pytest.raises(LikelihoodError, match="listed twice"):
        build_posterior(complete_fit("x", {"data": ["desi_dr2", "desi_dr2"]}, "lcdm_planck2018"))
    both = [info_of("sixdf_bao"), info_of("sdss_dr7_mgs"), info_of("sdss_dr12_lrg"), info_of("sdss_dr16_lrg")]
    refuse_double_counting(both)  # other galaxies
