"""Steps and keys of candl's format against candl itself: its numbers for a small data set, and itself where installed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cmbfit.errors import CmbfitError
from cmbfit.likelihood.datasets.candl_format import Folder, read_candl
from cmbfit.likelihood.datasets.candl_likelihood import likelihood_of
from cmbfit.likelihood.priors import Uniform
from cmbfit.likelihood.selection import select
from cmbfit.likelihood.steps.sed import Band, ModifiedBlackbody
from cmbfit.theory.spectra import Spectra

from . import candl_toy as toy
from .helpers import info

CANDL: dict[str, float] = {
    "all": -12.720884661353875,
    "reversed": -13.331910329506535,
    "moving": -77.12362273121774,
    "moving, cut, hartlap": -40.45010650272424,
    "mask": -5.984643420598281,
    "list": -9.329235488504581,
    "pair": -4.019461735238637,
    "map": -2.595478620987047,
    "maps": -7.804274988388398,
    "ell": -5.8337442939700885,
    "hints": -4.110678322501631,
    "spectrum and ell": -5.8337442939700885,
    "ignored": -15.969083490725328,
    "radio": -0.44551060994838115,
    "GalacticDustBandPass": -2.474564367526739,
    "GalacticDustFixedAlphaBandPass": -1.285905939182848,
    "GalacticDustDecorrelationBandPass": -2.3944058889892808,
    "GalacticDustFixedAlphaDecorrelationBandPass": -1.2779606933116952,
    "quadratic": -2.248508771199067,
    "squared and divided": -0.1888039659276977,
    "template, amplitude, response": -24.710227810593235,
    "response, template, amplitude": -28.730128650058983,
    "cut": -21.813459432489164,
    "shorter": -27.16203318527225,
}
"""ln L without priors by candl 2.2.0, without jax: ``python tests/likelihood/candl_toy.py FOLDER``."""

CASES = {**toy.CASES, **toy.LENSING_CASES}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("candl")
    toy.write(folder / "toy")
    toy.write_lensing(folder / "lensing")
    return folder


def spectra(batch: int = 1) -> Spectra:
    dl = {p.lower(): np.concatenate([[0.0, 0.0], toy.dl(p)]) for p in ("TT", "TE", "EE", "BB", "pp")}
    return Spectra({p: torch.from_numpy(np.tile(x, (batch, 1))) for p, x in dl.items()})


def built(folder: Path, definition: dict[str, Any]) -> Any:
    (folder / "x.yaml").write_text(yaml.safe_dump(definition))
    got = read_candl(Folder(folder), "x.yaml")
    return likelihood_of(got, info(nuisance=dict.fromkeys(got.parameters, Uniform(-1e3, 1e3))))


def case(folders: Path, name: str) -> Any:
    return built(folders / ("lensing" if name in toy.LENSING_CASES else "toy"), CASES[name])


def point(like: Any, batch: int = 1) -> dict[str, torch.Tensor]:
    return {n: torch.full((batch,), toy.POINT[n], dtype=torch.float64) for n in like.info.nuisance}


@pytest.mark.parametrize("name", CASES)
def test_candls_own_number(folders: Path, name: str) -> None:
    like = case(folders, name)
    # rounding of sums of a thousand terms; of the moving covariance's toy, of rank three, likewise
    assert like.log_prob(spectra(), point(like)).item() == pytest.approx(CANDL[name], rel=1e-10)


def test_a_batch_is_its_points_and_gradients_are_differences(folders: Path) -> None:
    for name in ("moving", "GalacticDustDecorrelationBandPass", "response, template, amplitude"):
        like = case(folders, name)
        names = list(like.info.nuisance)
        rng = np.random.default_rng(3)
        start = torch.tensor([[toy.POINT[n] for n in names]], dtype=torch.float64)
        theta = (start * (1 + 0.02 * torch.from_numpy(rng.standard_normal((4, len(names)))))).requires_grad_()

        def value(theta: torch.Tensor, like: Any = like, names: list[str] = names) -> torch.Tensor:
            return like.log_prob(spectra(len(theta)), dict(zip(names, theta.unbind(1), strict=True)))

        single = torch.cat([value(row[None]) for row in theta])
        torch.testing.assert_close(value(theta), single, rtol=1e-11, atol=0)
        assert torch.autograd.gradcheck(value, (theta[:1],), eps=1e-6, atol=1e-5, rtol=1e-5)


def test_a_zero_of_a_correlation_has_a_finite_gradient(folders: Path) -> None:
    like = case(folders, "all")
    values = point(like) | {"tsz": torch.zeros(1, dtype=torch.float64).requires_grad_()}
    (slope,) = torch.autograd.grad(like.log_prob(spectra(), values).sum(), values["tsz"])
    assert bool(torch.isfinite(slope))


def test_frequency_spectra_in_closed_form() -> None:
    """A band of one frequency is that frequency; far below h nu = kT a modified blackbody is a power law."""
    narrow = Band(np.array([[149.9, 0.0], [150.0, 1.0], [150.1, 0.0]]))
    weights, log_nu = narrow.dust(353.0, 19.6)
    body = ModifiedBlackbody([150.0], 353.0, 19.6)
    for beta in (1.2, 1.9):
        in_band = float(weights @ torch.exp(beta * log_nu))
        assert in_band == pytest.approx(float(body.constant * torch.exp(beta * body.log_nu)), rel=1e-12)
    # Rayleigh-Jeans in both functions: nu^beta nu^2 / nu^2, at h nu / kT = 5e-4 for the CMB
    low = ModifiedBlackbody([0.02], 0.01, 20.0)
    assert float(low.constant * torch.exp(1.5 * low.log_nu)) == pytest.approx(2**1.5, rel=1e-3)
    # synchrotron in intensity nu^(2 + beta), in CMB units over dB/dT ~ nu^2: nu^beta
    wide = Band(np.array([[0.019, 0.0], [0.02, 1.0], [0.021, 0.0]]))
    weights, log_nu = wide.power(0.01, 2.0)
    assert float(weights @ torch.exp(-3.0 * log_nu)) == pytest.approx(2**-3.0, rel=1e-3)


SYNC = {
    "amp_param": "s",
    "beta_param": "s_beta",
    "affected_specs": toy.BB,
    "ell_ref": 20,
    "nu_ref": 23.0,
}
CORRELATED = {
    "correlation_param": "eps",
    "dust_amp_param": "bd",
    "dust_beta_param": "bd_beta",
    "sync_amp_param": "s",
    "sync_beta_param": "s_beta",
    "affected_specs": toy.BB,
    "ell_ref": 20,
    "nu_ref_dust": 353.0,
    "nu_ref_sync": 23.0,
    "T_GALDUST": 19.6,
}


@pytest.mark.parametrize("fixed", [True, False])
def test_synchrotron_and_its_correlation_make_a_square(folders: Path, fixed: bool) -> None:
    """Dust and synchrotron fully correlated with equal exponents are one field: (d + s)^2 in an auto spectrum.

    candl names these steps and lacks the function that they call.
    """
    kind = "FixedAlpha" if fixed else ""
    alphas = {
        "sync": {"alpha_param": "s_alpha"},
        "both": {"dust_alpha_param": "bd_alpha", "sync_alpha_param": "s_alpha"},
    }
    sync = {"Module": f"low_ell_BB.Synchrotron{kind}BandPass", **SYNC} | ({} if fixed else alphas["sync"])
    both = {"Module": f"low_ell_BB.GalacticDustSynchrotronCorrelation{kind}BandPass", **CORRELATED} | (
        {} if fixed else alphas["both"]
    )
    dust = toy.LOW_ELL[1 if fixed else 0]
    values = {
        "s": 5.0,
        "s_beta": -3.1,
        "bd": 400.0,
        "bd_beta": 1.6,
        "eps": 1.0,
        "bd_alpha": -2.4,
        "s_alpha": -0.4,
    }

    def added(*steps: dict[str, Any]) -> np.ndarray:
        like = built(folders / "toy", toy.spec(list(steps)))
        nuisance = {n: torch.tensor([values[n]], dtype=torch.float64) for n in like.info.nuisance}
        bare = built(folders / "toy", toy.spec([])).bandpowers(spectra(), {})
        return (like.bandpowers(spectra(), nuisance) - bare)[0].numpy()

    rows = slice(21, 24)  # BB 150x150
    d, s, c = added(dust)[rows], added(sync)[rows], added(both)[rows]
    assert (d > 0).all()
    assert (s > 0).all()
    # exponents -0.4, -0.6 and -0.5 where they are fixed: the middle one is the geometric mean up to the window's width
    np.testing.assert_allclose(c, 2 * np.sqrt(d * s), rtol=3e-3 if fixed else 1e-12)


def refused(folders: Path, definition: dict[str, Any], message: str) -> None:
    with pytest.raises(CmbfitError, match=message):
        built(folders / "toy", definition)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        (
            {"likelihood_form": "hamimeche_lewis"},
            "likelihood_form: expected gaussian or gaussian_beam_detcov",
        ),
        ({"likelihood_form": "gaussian_beam_detcov"}, "needs a beam_correlation_file"),
        ({"beam_correlation_file": "b.txt"}, "beam_correlation_file is not used by"),
        ({"blinding": 3}, "blinding: 3"),
        ({"data_set_path": "/data"}, "data_set_path is not supported"),
        ({"offset_lognorm_mean": "m.txt"}, "offset_lognorm_mean is not supported"),
        ({"data_selection": "TT 90x90"}, "expected it to end in remove or only"),
        ({"data_selection": "TB remove"}, "expected a spectrum, a pair, a map"),
        ({"data_selection": "220 remove"}, "expected a spectrum, a pair, a map"),
        ({"data_selection": "90x220 remove"}, "no spectrum of these maps"),
        ({"data_selection": [1, 0]}, "a mask of 27 zeros and ones"),
        ({"data_selection": {"TT": 3}}, "expected a mask"),
        ({"data_selection": "ell>5000 only"}, "leaves no bandpower"),
        ({"hartlap_correction": {"N_sims": 29}}, "29 simulations do not give"),
        ({"hartlap_correction": 100}, "expected N_sims: NUMBER alone"),
        ({"force_ignore_transformations": "dust"}, "unknown descriptor 'dust'"),
        ({"priors": [{"par_names": "kappa", "sigma": 1}]}, "priors: unknown key 'sigma'"),
        (
            {"priors": [{"par_names": "one", "prior_std": 1, "multiplicative_par": True}]},
            "multiplicative_par",
        ),
        (
            {"priors": [{"par_names": ["one", "tau"], "prior_covariance": [[1, 0], [0, 1]]}]},
            "together with tau",
        ),
        ({"priors": 2 * [{"par_names": "one", "central_value": 1, "prior_std": 1}]}, "two priors on one"),
        ({"priors": [{"par_names": "one", "central_value": 1, "prior_std": 0}]}, "variances above zero"),
        ({"spectra_info": [{"TX 90x90": 4}]}, "unknown spectrum 'TX 90x90'"),
        ({"spectra_info": [{"TT": 4}]}, "expected a pair and two maps"),
        ({"spectra_info": [{"TT 90x90": 4}, {"pp": 4}]}, "a lensing spectrum stands among others"),
        ({"spectra_info": [{"TT 90x90": 4}, {"TT 90x90": 4}]}, "lists 'TT 90x90' twice"),
    ],
)
def test_keys_that_are_not_honoured_are_refused_by_name(
    folders: Path, changes: dict[str, Any], message: str
) -> None:
    refused(folders, toy.spec(toy.STEPS, **changes), message)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"Module": "common.PolarisedDust"}, "unknown step of the data model 'common.PolarisedDust'"),
        ({"module": "common.PoissonPower"}, "expected Module: NAME"),
        ({"Block": "none.yaml"}, "none.yaml: named by"),
        ({"Module": "common.FGSpectraInterfaceFactorizedCrossSpectrum"}, "fgspectra"),
        ({"Module": "common_lensing.LensingAmplitude"}, "the option amp_param is missing"),
        (toy.LENSING[0], "t.txt: named by"),
        (toy.STEPS[0] | {"kapa": 1}, "unknown option 'kapa'"),
        (toy.STEPS[2] | {"spec_param_dict": {"TT 95x95": "p"}}, "unknown spectrum 'TT 95x95'"),
        (toy.STEPS[3] | {"affected_specs": ["TT 220x220"]}, "affected_specs: unknown spectrum"),
        (toy.STEPS[3] | {"effective_frequencies": "SZ"}, "unknown source 'SZ'"),
        (toy.STEPS[4] | {"template_file": "templates/none.txt"}, "none.txt: named by"),
        (toy.STEPS[4] | {"ell_ref": 3000}, "expected a value at ell_ref = 3000"),
        (toy.STEPS[4] | {"template_file": "d.txt"}, "expected l and the template in two columns"),
        (toy.STEPS[4] | {"template_file": "band90.txt"}, "expected l = 2 to 41 in steps of one"),
        (toy.STEPS[5], "expected a CIBClustering among the steps before it"),
        (toy.STEPS[8] | {"spec_param_dict": {"TT 90x90": ["a", "b"]}}, "expected four parameters"),
        (toy.LOW_ELL[2] | {"ell_scaling": "cubic"}, "expected linear, quadratic or nothing"),
    ],
)
def test_steps_that_cannot_be_made_are_refused_by_name(
    folders: Path, step: dict[str, Any], message: str
) -> None:
    refused(folders, toy.spec([step]), message)


@pytest.mark.parametrize(
    ("beam", "message"),
    [
        (np.eye(3), "expected a row and a column for each of 27"),
        (np.diag([*np.ones(26), -1.0]), "negative eigenvalue"),
        (np.triu(np.ones((27, 27))), "not symmetric"),
    ],
)
def test_beam_correlations_that_are_no_covariance_are_refused(
    folders: Path, beam: np.ndarray, message: str
) -> None:
    np.savetxt(folders / "toy/wrong.txt", beam)
    refused(folders, toy.spec(toy.STEPS, **toy.MOVING | {"beam_correlation_file": "wrong.txt"}), message)


def test_blocks_and_packages_are_found(folders: Path, tmp_path: Path) -> None:
    """Steps in a block's file, whose own paths are relative to it, and templates named from a package's root."""
    folder = tmp_path / "package/data/toy"
    toy.write(folder)
    (folder / "block").mkdir()
    (folder / "templates").rename(folder.parent.parent / "templates")
    blocked = [toy.STEPS[4] | {"template_file": "../templates/tsz.txt"}]
    (folder / "block/sz.yaml").write_text(yaml.safe_dump(blocked))
    (folder / "templates").mkdir()
    (folder.parent.parent / "templates/tsz.txt").rename(folder / "templates/tsz.txt")
    steps = [*toy.STEPS[:4], {"Block": "block/sz.yaml"}, *toy.STEPS[5:]]
    like = built(folder, toy.spec(steps))
    assert like.log_prob(spectra(), point(like)).item() == pytest.approx(CANDL["all"], rel=1e-10)
    hashed = select([{"candl": str(folder / "x.yaml")}])[0].user_hashes()
    assert (
        str(folder.parent.parent / "templates/ksz.txt") in hashed
    )  # what a fit depends on, wherever it lies
    (folder.parent.parent / "templates/ksz.txt").unlink()
    with pytest.raises(
        CmbfitError, match=r"ksz.txt: named by.*looked for templates/ksz.txt, .*/package/templates/ksz.txt"
    ):
        built(folder, toy.spec(steps))


def test_an_index_leads_to_its_variants(folders: Path) -> None:
    folder = folders / "toy"
    (folder / "x.yaml").write_text(yaml.safe_dump(CASES["all"]))
    (folder / "m.yaml").write_text(yaml.safe_dump(CASES["pair"]))
    (folder / "toy_index.yaml").write_text(yaml.safe_dump({"default": "x.yaml", "short": "m.yaml"}))
    files = Folder(folder)
    assert len(read_candl(files, "toy_index.yaml").data) == 27
    assert len(read_candl(files, "toy_index.yaml", variant="short").data) == 21
    with pytest.raises(CmbfitError, match="unknown variant 'long'"):
        read_candl(files, "toy_index.yaml", variant="long")
    with pytest.raises(CmbfitError, match="only an index file has variants"):
        read_candl(files, "x.yaml", variant="short")


def test_a_users_own_step(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class in a file beside the definition, which is trusted first."""
    folder = folders / "toy"
    (folder / "mine.py").write_text(
        """
import torch
from cmbfit.likelihood.steps import Rescale


class Gain(Rescale):
    def __init__(self, setting, *, gain_param):
        self.parameters, self.n = (gain_param,), len(setting.spectra)

    def factors(self, nuisance):
        return nuisance[self.parameters[0]][:, None].expand(-1, self.n)
"""
    )
    definition = toy.spec([{"Module": "./mine.py:Gain", "gain_param": "g"}])
    refused(folders, definition, "expected code that you allow to run")
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    like = built(folder, definition)
    two = like.bandpowers(spectra(), {"g": torch.tensor([2.0], dtype=torch.float64)})
    bare = built(folder, toy.spec([])).bandpowers(spectra(), {})
    torch.testing.assert_close(two, 2 * bare, rtol=1e-14, atol=0)


def test_priors_of_parameters_that_a_cut_idles_are_integrated_out(folders: Path) -> None:
    covariance = np.array([[4e-4, 1e-4], [1e-4, 9e-4]])
    np.savetxt(folders / "toy/cal.txt", covariance)
    step = {"Module": "common.CalibrationAuto", "spec_param_dict": {"TT 90x90": ["a"], "EE 90x90": ["b"]}}
    rows = [{"par_names": ["a", "b"], "central_value": [1.0, 1.1], "prior_covariance": "cal.txt"}]
    (folders / "toy/x.yaml").write_text(
        yaml.safe_dump(toy.spec([step], priors=rows, data_selection="TT remove"))
    )
    got = read_candl(Folder(folders / "toy"), "x.yaml")
    assert got.parameters == ("b",)
    assert got.joint_priors == ()
    prior = got.nuisance["b"]
    assert prior.describe() == {"gaussian": [1.1, pytest.approx(0.03)]}


@pytest.mark.slow
def test_candl_itself(tmp_path: Path) -> None:
    """The numbers above, made again by whatever candl is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("candl", reason="candl is not installed")
        numbers = toy.candls_numbers(tmp_path)
    assert numbers == pytest.approx({name: CANDL[name] for name in numbers}, rel=1e-9)
