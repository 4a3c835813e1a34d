"""Distances of galaxies and supernovae: against Cobaya's likelihoods on the same files, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cmbfit import data
from cmbfit.errors import CmbfitError, DataError, DownloadError, LikelihoodError
from cmbfit.fit import build_posterior, complete_fit
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.base import Likelihood, refuse_double_counting
from cmbfit.likelihood.datasets import dataset_names
from cmbfit.likelihood.datasets.catalog import description
from cmbfit.likelihood.low_redshift.bao_table import Spline
from cmbfit.likelihood.low_redshift.supernovae import Supernovae
from cmbfit.likelihood.selection import combinations
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
    from cobaya.likelihoods.base_classes import BAO, SN  # noqa: PLC0415
    from cobaya.model import get_model  # noqa: PLC0415

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
    assert load_likelihood(name).log_prob(emulator.spectra(theta), {}).item() == pytest.approx(expected, rel=1e-9)


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
    sigmas = tuple(np.sqrt(q @ (x - m) ** 2) for q, x, m in zip((p.sum(1), p.sum(0)), (om, hrd), means, strict=True))
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
    from cmbfit.likelihood.priors import Uniform  # noqa: PLC0415

    return Uniform(low, high)


def supernovae(rng: np.random.Generator, n: int, offset: str | None = None) -> Supernovae:
    """Return many supernovae at random redshifts with a dense covariance."""
    info = load_likelihood("union3", priors={"M_union3": _uniform(-1, 1)}).info if offset else load_likelihood("union3").info
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
    value, gradient = alone.log_prob_and_gradient(row)
    step = 1e-5 * row
    for i in range(3):
        up, down = row.clone(), row.clone()
        up[0, i] += step[0, i]
        down[0, i] -= step[0, i]
        slope = (alone.log_prob(up) - alone.log_prob(down)).item() / (2 * step[0, i].item())
        assert gradient[0, i].item() == pytest.approx(slope, rel=1e-5)


def test_splines_are_exact_for_cubics(rng: np.random.Generator) -> None:
    x, y = np.sort(rng.uniform(0, 3, 9)), np.sort(rng.uniform(-1, 1, 7))
    cubic = lambda a, b: (1 + a - 2 * a**2 + 0.3 * a**3) * (2 - b + b**3)  # noqa: E731
    spline = Spline([x, y], cubic(*np.meshgrid(x, y, indexing="ij")))
    at = (torch.from_numpy(rng.uniform(x[0], x[-1], 50)), torch.from_numpy(rng.uniform(y[0], y[-1], 50)))
    np.testing.assert_allclose(spline(*at), cubic(*at), rtol=1e-10, atol=1e-12)
    beyond = spline(torch.tensor([-0.1], dtype=torch.float64), at[1][:1])
    assert torch.isneginf(beyond).all()


# Counted once


@pytest.mark.parametrize(
    ("one", "two"),
    [("desi_dr1", "desi_dr2"), ("desi_dr2", "sdss_dr16_lrg"), ("union3", "pantheonplus"), ("des5yr", "des_dovekie")],
)
def test_the_same_objects_are_refused(one: str, two: str) -> None:
    infos = [info_of(x) for x in (one, two)]
    with pytest.raises(LikelihoodError, match="count the same objects"):
        refuse_double_counting(infos)


def info_of(name: str) -> Any:
    """Return what a data set says of itself, without its files."""
    from cmbfit.likelihood.datasets.source import Options, Source, data_set_info  # noqa: PLC0415

    return data_set_info(Source(name, description(name), {}, {}), 1, Options())


@pytest.mark.parametrize("name", [c for c, x in combinations().items() if "redshift" in x.get("about", "")])
def test_combinations_count_each_thing_once(name: str) -> None:
    refuse_double_counting([info_of(x) for x in flattened(name)])


def flattened(name: str) -> list[str]:
    from cmbfit.likelihood.selection import select  # noqa: PLC0415

    return [s.name for s in select([name])]


def test_a_fit_refuses_two_of_one_survey() -> None:
    with pytest.raises(LikelihoodError, match="desi_dr2 and desi_dr2|listed twice"):
        build_posterior(complete_fit("x", {"data": ["desi_dr2", "desi_dr2"]}, "lcdm_planck2018"))
    both = [info_of("sixdf_bao"), info_of("sdss_dr7_mgs"), info_of("sdss_dr12_lrg"), info_of("sdss_dr16_lrg")]
    refuse_double_counting(both)  # other galaxies


# Bad input


def described(tmp_path: Path, kind: str, **changes: Any) -> Path:
    """Write a data set of the user's with its files, and return its description."""
    if kind == "bao":
        (tmp_path / "mean.txt").write_text("0.3 8.0 DV_over_rs\n0.5 13.4 DM_over_rs\n0.5 22.0 DH_over_rs\n")
        (tmp_path / "cov.txt").write_text("0.01 0 0\n0 0.03 -0.01\n0 -0.01 0.2\n")
        spec: dict[str, Any] = {"values": "mean.txt", "covariance": "cov.txt"}
        files = ["mean.txt", "cov.txt"]
    else:
        (tmp_path / "sn.txt").write_text("#name zcmb zhel mb\na 0.1 0.1 38.3\nb 0.2 0.2 40.0\nc 0.3 0.3 40.9\n")
        (tmp_path / "cov.txt").write_text("# a b c\n0.01 0 0\n0 0.01 0\n0 0 0.01\n")
        columns = {"name": "name", "z": "zcmb", "z_hel": "zhel", "magnitude": "mb"}
        spec, files = {"table": "sn.txt", "columns": columns, "covariance": "cov.txt"}, ["sn.txt", "cov.txt"]
    spec |= {"title": "mine", "kind": kind, "files": files, "sky": {}, "nuisance": {}, "citation": "me"}
    spec |= {"redshifts": {"mine": [0.0, 1.0]}} | changes
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


@pytest.mark.parametrize("kind", ["bao", "supernovae"])
def test_a_users_own_distances(kind: str, tmp_path: Path) -> None:
    like = load_likelihood(str(described(tmp_path, kind)))
    assert like.info.n_data == 3
    assert like.info.redshifts == {"mine": (0.0, 1.0)}
    assert torch.isfinite(like.log_prob(background(), {})).all()


def rewritten(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("bao", rewritten("mean.txt", "0.3 8.0 DV_over_r\n0.5 1 DM_over_rs\n0.5 2 DH_over_rs\n"), "unknown quantity 'DV_over_r'"),
        ("bao", rewritten("mean.txt", "0.5 8.0 DV_over_rs\n0.3 1 DM_over_rs\n0.5 2 DH_over_rs\n"), "row 2: z = 0.3 after 0.5"),
        ("bao", rewritten("mean.txt", "0.3 8.0 DV_over_rs\n0.5 1 DM_over_rs\n"), "expected .*2, 2"),
        ("bao", rewritten("mean.txt", "0.3 8.0\n"), "line 1: expected z, value and quantity"),
        ("bao", rewritten("mean.txt", "-0.3 8.0 DV_over_rs\n"), "redshifts above zero"),
        ("bao", rewritten("cov.txt", "0.01 0 0\n0 0.03 -0.2\n0 -0.2 0.2\n"), "not positive definite"),
        ("bao", rewritten("cov.txt", "0.01 0 0\n0 0.03 -0.2\n0 0.1 0.2\n"), "symmetric"),
        ("bao", rewritten("cov.txt", "a b\n"), "expected a table of numbers"),
        ("supernovae", rewritten("cov.txt", "# a c b\n0.01 0 0\n0 0.01 0\n0 0 0.01\n"), "row 2: the covariance names c, the table b"),
        ("supernovae", rewritten("cov.txt", "# a b\n0.01 0 0\n0 0.01 0\n0 0 0.01\n"), "names 2 objects, the table 3"),
        ("supernovae", rewritten("cov.txt", "0.01 0\n0 0.01\n"), "of 2 supernovae, the table sn.txt of 3"),
        ("supernovae", rewritten("cov.txt", "1 2 3\n"), "expected n x n numbers"),
        ("supernovae", rewritten("cov.txt", "0.01 0 0\n0 -0.01 0\n0 0 0.01\n"), "not positive definite"),
        ("supernovae", rewritten("sn.txt", "#name zcmb zhel\na 0.1 0.1\n"), "magnitude: unknown column 'mb'"),
        ("supernovae", rewritten("sn.txt", "#name zcmb zhel mb\na 0.1 0.1\n"), "row 1: expected 4 values, found 3"),
        ("supernovae", rewritten("sn.txt", "#name zcmb zhel mb\na -0.1 0.1 38\nb 0.2 0.2 40\nc 0.3 0.3 40\n"), "supernova 1: expected a redshift above zero"),
        ("supernovae", rewritten("sn.txt", "#name zcmb zhel mb\n"), "found none"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(kind: str, change: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    path = described(tmp_path, kind)
    change(tmp_path)
    with pytest.raises(CmbfitError, match=message):
        load_likelihood(str(path))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("bao", {"sigma": [1, 1, 1]}, "covariance .* or sigma"),
        ("bao", {"values": [[0.3, 8.0]]}, "expected rows"),
        ("bao", {"horizon_scale": -1}, "horizon_scale"),
        ("supernovae", {"columns": {"z": "zcmb"}}, "found no z_hel"),
        ("supernovae", {"above": 5}, "no supernova is left"),
        ("supernovae", {"columns": {"z": "zcmb", "z_hel": "zhel", "magnitude": "mb", "colour": "c"}}, "unknown column 'colour'"),
        ("supernovae", {"columns": {"z": "zcmb", "z_hel": "zhel", "magnitude": "mb"}}, "say which column"),
    ],
)  # fmt: skip
def test_bad_descriptions_are_refused(kind: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CmbfitError, match=message):
        load_likelihood(str(described(tmp_path, kind, **changes)))


def test_tables_that_are_no_grids(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    (tmp_path / "t.txt").write_text("1 1 0.5\n1 2 0.4\n2 1 0.3\n")
    row = {"file": "t.txt", "z": 2.3, "quantities": ["DM_over_rs", "DH_over_rs"], "holds": "likelihood"}
    spec = {"title": "t", "kind": "bao_tables", "files": ["t.txt"], "sky": {}, "nuisance": {}, "citation": "me"}
    for tables, message in (
        ([row], "expected the points of a grid"),
        ([{**row, "quantities": ["DM_over_rs"]}], "expected 2 columns"),
        ([{**row, "holds": "evidence"}], "expected likelihood or chi2"),
        ([], "expected a table"),
    ):
        path.write_text(yaml.safe_dump({**spec, "tables": tables}))
        with pytest.raises(CmbfitError, match=message):
            load_likelihood(str(path))


def test_what_is_not_there_is_said() -> None:
    like = load_likelihood("desi_dr2")
    with pytest.raises(LikelihoodError, match="found no ombh2"):
        like.log_prob(flat(H0=67.0), {})
    with pytest.raises(LikelihoodError, match="sound horizon rdrag"):
        like.log_prob(flat(ombh2=0.02, omch2=0.12, H0=67.0), {})
    with pytest.raises(LikelihoodError, match="cannot be cut"):
        load_likelihood("desi_dr2", cuts={"tt": (2, 30)})
    for name in (*EMBEDDED, *DOWNLOADED):
        assert name in dataset_names()


def test_inverse_covariances_that_are_none(tmp_path: Path) -> None:
    path = described(tmp_path, "supernovae", covariance="cov.npz", files=["sn.txt", "cov.npz"])
    for arrays, message in (
        ({"nsn": np.array([3]), "cov": np.ones(5)}, "expected 6 elements"),
        ({"nsn": np.array([3]), "cov": np.array([1.0, 2, 0, 1, 0, 1])}, "not positive definite"),
        ({"n": np.array([3])}, "expected an npz"),
    ):
        np.savez(tmp_path / "cov.npz", **arrays)
        with pytest.raises((DataError, LikelihoodError), match=message):
            load_likelihood(str(path))
