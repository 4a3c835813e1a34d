"""BKP 2015: foregrounds by scipy's integrals, the likelihood by scipy's matrix roots and by Cobaya, r as published."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, linalg

from cmbfit.errors import DataError, LikelihoodError
from cmbfit.likelihood import Gaussian, Posterior, Uniform, load_likelihood
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.datasets.bicep import read_bicep
from cmbfit.likelihood.datasets.candl_format import Folder
from cmbfit.likelihood.datasets.kinds import KINDS
from cmbfit.likelihood.datasets.load import description
from cmbfit.likelihood.datasets.source import Options, Source
from cmbfit.likelihood.foregrounds import PARAMETERS, Bandpass, DustAndSynchrotron
from cmbfit.likelihood.hamimeche_lewis import HamimecheLewis
from cmbfit.theory.spectra import Spectra
from cmbfit.theory.tensor_template import TensorTemplate, tensor_template

from .helpers import one

VALUES = {
    "BBdust": 3.3, "BBsync": 0.02, "BBalphadust": -0.42, "BBbetadust": 1.62, "BBTdust": 19.6,
    "BBalphasync": -0.6, "BBbetasync": -3.1, "BBdustsynccorr": 0.3, "EEtoBB_dust": 2.0, "EEtoBB_sync": 1.7,
}  # fmt: skip


def all_free(**changes: object) -> tuple[DataSetInfo, dict[str, object]]:
    """BKP with every foreground parameter varying."""
    info = DataSetInfo("bkp", "", {}, 1, "", nuisance={p: Uniform(-50.0, 50.0) for p in PARAMETERS})
    return info, {**description("bkp2015"), **changes}


def test_band_averages_are_integrals_over_frequency() -> None:
    """Greybody and power law in CMB units, over a wide smooth band, by adaptive quadrature."""
    h_over_k = 0.0479924307  # K/GHz
    low, high = 120.0, 180.0
    nu = np.linspace(low, high, 2001)

    def response(x: float) -> float:
        return float(np.exp(-(((x - 150) / 7) ** 2)))

    def unit(x: float) -> float:
        y = h_over_k * x / 2.7255
        return x**4 * np.exp(y) / np.expm1(y) ** 2

    def average(signal: object) -> float:
        top = integrate.quad(lambda x: response(x) * signal(x), low, high)[0]  # type: ignore[operator]
        return top / integrate.quad(lambda x: response(x) * unit(x), low, high)[0]

    band = Bandpass(nu, np.array([response(x) for x in nu]))
    model = DustAndSynchrotron(
        ["b"], [band], np.ones((1, 1, 5)), pivot_dust=353.0, pivot_synchrotron=23.0, fixed=VALUES
    )
    beta, temperature = 1.62, 19.6

    def greybody(x: float) -> float:
        return x ** (3 + beta) / np.expm1(h_over_k * x / temperature)

    expected = average(greybody) / (greybody(353.0) / unit(353.0))
    # 0.03 GHz steps of a band that is zero at its ends: the rule errs by less than 1e-7
    assert model.dust_scaling(one(value=beta), one(value=temperature)).item() == pytest.approx(
        expected, rel=1e-6
    )
    expected = average(lambda x: x ** (2 - 3.1)) / (23.0 ** (2 - 3.1) / unit(23.0))
    assert model.synchrotron_scaling(one(value=-3.1)).item() == pytest.approx(expected, rel=1e-6)
    with pytest.raises(LikelihoodError, match="unknown foreground parameter 'BBduts'"):
        DustAndSynchrotron(
            ["b"], [band], np.ones((1, 1, 5)), pivot_dust=353, pivot_synchrotron=23, fixed={"BBduts": 1}
        )


def test_foregrounds_of_e_and_b_maps(rng: np.random.Generator) -> None:
    """By loops: EE is the ratio times BB, EB has none; a zero amplitude has a gradient."""
    nu = np.linspace(140.0, 160.0, 11)
    bands = [Bandpass(nu + shift, rng.random(11)) for shift in (0, 0, 67)]
    fields, windows = ["e", "b", "b"], rng.random((6, 2, 20))
    model = DustAndSynchrotron(fields, bands, windows, pivot_dust=353.0, pivot_synchrotron=23.0, fixed={})
    p = {k: one(value=v) for k, v in VALUES.items()}
    f = model.dust_scaling(p["BBbetadust"], p["BBTdust"])[0].numpy()
    s = model.synchrotron_scaling(p["BBbetasync"])[0].numpy()
    v = VALUES
    ell = np.arange(2, 20) / 80.0
    got = model.bandpowers(p, 1)[0].numpy()  # shape: (bins, elements)
    element = 0
    for i in range(3):
        for j in range(i, 3):
            for b in range(2):
                w = windows[element, b, 2:]
                dust = v["BBdust"] * f[i] * f[j] * ell ** v["BBalphadust"]
                sync = v["BBsync"] * s[i] * s[j] * ell ** v["BBalphasync"]
                mixed = v["BBdustsynccorr"] * (v["BBdust"] * v["BBsync"]) ** 0.5 * (f[i] * s[j] + s[i] * f[j])
                mixed = mixed * ell ** ((v["BBalphadust"] + v["BBalphasync"]) / 2)
                if fields[i] != fields[j]:
                    expected = 0.0
                elif fields[i] == "e":
                    ratio = v["EEtoBB_dust"], v["EEtoBB_sync"]
                    expected = w @ (ratio[0] * dust + ratio[1] * sync + (ratio[0] * ratio[1]) ** 0.5 * mixed)
                else:
                    expected = w @ (dust + sync + mixed)
                assert got[b, element] == pytest.approx(expected, rel=1e-12)
            element += 1
    zero = {**p, "BBsync": one(value=0.0).requires_grad_(True)}
    model.bandpowers(zero, 1).sum().backward()
    assert torch.isfinite(zero["BBsync"].grad).all()


def scipy_log_like(like: HamimecheLewis, spectra: Spectra, nuisance: dict[str, torch.Tensor]) -> float:
    """Hamimeche & Lewis 2008, eqs. 36-40, with scipy's roots and functions of matrices."""
    model = like.matrices(spectra, nuisance)[0].numpy()
    data, root = like._arrays["data"].numpy(), like._arrays["root"].numpy()
    upper = np.triu_indices(data.shape[1])
    vector = []
    for c, d, r in zip(model, data, root, strict=True):
        inverse = linalg.inv(linalg.sqrtm(c))
        values, vectors = linalg.eig(inverse @ d @ inverse)
        x = values.real
        g = np.sign(x - 1) * np.sqrt(2 * (x - np.log(x) - 1))
        vector.append((r @ (vectors.real @ np.diag(g) @ linalg.inv(vectors.real)) @ r)[upper])
    flat = np.concatenate(vector)
    factor = like._arrays["cholesky"].numpy()
    return -0.5 * flat @ linalg.inv(factor @ factor.T) @ flat


def test_bkp_equals_a_reading_with_scipy(bkp: Path) -> None:
    like = load_likelihood("bkp2015")
    assert like.pairs == ("bb",)
    assert isinstance(like, HamimecheLewis)
    ell = torch.arange(601, dtype=torch.float64)
    spectra = Spectra({"bb": (2e-3 * (ell / 80) ** 2)[None]})
    nuisance = {"BBdust": one(value=3.0), "BBbetadust": one(value=1.5)}
    got = like.log_prob(spectra, nuisance).item()
    assert got == pytest.approx(scipy_log_like(like, spectra, nuisance), rel=1e-9)
    # 30 bandpowers, near their best fit: chi2 of 30 +- 8, if HL's scatter is a Gaussian's
    assert 15 < -2 * got < 60


def test_a_fixed_parameter_varies_when_given_a_prior(bkp: Path) -> None:
    like = load_likelihood("bkp2015", priors={"BBsync": Uniform(0.0, 1.0), "BBbetadust": Gaussian(1.6, 0.02)})
    assert set(like.info.nuisance) == {"BBdust", "BBbetadust", "BBsync"}
    assert "BBsync" not in like.settings()["fixed"]
    with pytest.raises(LikelihoodError, match="unknown nuisance parameter 'BBsink'"):
        load_likelihood("bkp2015", priors={"BBsink": Uniform(0.0, 1.0)})


def test_damaged_b_mode_files_are_named(bkp: Path) -> None:
    files = dict(Folder(bkp))
    info, spec = all_free()
    window = "windows/BKPlanck_detset_comb_bpwf_bin3.txt"
    rows = files[window].decode().splitlines()
    short = {**files, window: "\n".join(rows[:-200]).encode()}
    with pytest.raises(DataError, match=r"bin3.txt: windows of l = 1-\d+ miss some of l = 2-600"):
        read_bicep(info, short, spec)
    gap = {**files, window: "\n".join(rows[:40] + rows[41:]).encode()}
    with pytest.raises(DataError, match=r"bin3.txt: row \d+: expected l = "):
        read_bicep(info, gap, spec)
    with pytest.raises(LikelihoodError, match="no map 'P545_B'"):
        read_bicep(info, files, {**spec, "maps": ["B2K_B", "P545_B"]})
    with pytest.raises(DataError, match="bins 1-12: it has 1-9"):
        read_bicep(info, files, {**spec, "bins": [1, 12]})
    with pytest.raises(DataError, match=r"covmat_dust.dat: expected 9 bins x 55 spectra = 495 rows"):
        read_bicep(info, {**files, "BKPlanck_detset_comb_covmat_dust.dat": b"1 0\n0 1"}, spec)
    with pytest.raises(DataError, match=r"bandpass_P353.txt: named by"):
        read_bicep(info, {k: v for k, v in files.items() if k != "bandpass_P353.txt"}, spec)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("maps", "bins"),
    [(["B2K_B", "P217_B", "P353_B"], [1, 5]), (description("bkp2015")["maps"] + ["B2K_E", "P100_E"], [2, 9])],
)
def test_cobayas_reader_of_the_same_files_agrees(
    bkp: Path, camb_planck_point: Spectra, rng: np.random.Generator, maps: list[str], bins: list[int]
) -> None:
    bk = pytest.importorskip("cobaya.likelihoods.bicep_keck_2018", reason="Cobaya is not installed")

    class Peer(bk.bicep_keck_2018):  # BK18's class reads any release; it insists on its own data otherwise
        install_options: dict[str, str] = {}  # noqa: RUF012

        @classmethod
        def is_installed(cls, **_: object) -> bool:
            return True

    peer = Peer(
        {
            "path": f"{bkp}/",
            "dataset_file": "BKPlanck_detset_comb_dust.dataset",
            "dataset_params": {"maps_use": " ".join(maps), "use_min": bins[0], "use_max": bins[1]},
        }
    )
    info, spec = all_free(maps=maps, bins=bins)
    like = read_bicep(info, Folder(bkp), spec)
    rest = {
        "delta_dust": 1.0,
        "delta_sync": 1.0,
        "gamma_corr": 0.0,
        "gamma_95": 0.0,
        "gamma_150": 0.0,
        "gamma_220": 0.0,
    }
    for _ in range(5):
        values = VALUES | {"BBdust": 3.3 * rng.lognormal(0, 0.3), "BBbetadust": rng.normal(1.59, 0.11)}
        factor = rng.lognormal(0, 0.2)
        dl = {p: factor * camb_planck_point.dl[p] for p in ("ee", "bb")}
        dl["eb"] = torch.zeros_like(dl["ee"])
        expected = peer.log_likelihood({p: x[0].numpy() for p, x in dl.items()}, **values, **rest)
        got = like.log_prob(Spectra(dl), {k: one(value=v) for k, v in values.items()}).item()
        assert got == pytest.approx(float(expected), rel=1e-9)


def test_a_template_is_linear_in_r() -> None:
    lensing, tensors = (
        torch.linspace(0, 1, 30, dtype=torch.float64),
        torch.linspace(2, 1, 30, dtype=torch.float64),
    )
    theory = TensorTemplate(lensing, tensors, {})
    r = torch.tensor([[0.0], [0.1]], dtype=torch.float64)
    np.testing.assert_allclose(theory.spectra(r).dl["bb"][1], lensing + 0.1 * tensors)
    assert torch.equal(theory.spectra(r).parameters["r"], r[:, 0])


@pytest.mark.slow
def test_r_as_published(bkp: Path) -> None:
    """BICEP2/Keck and Planck 2015: r = 0.048 +0.035 -0.032, r < 0.12 (95%), L0/Lpeak 0.38, A_d = 3.3 +0.9 -0.8.

    On a grid: r and A_d flat, the dust's slope with its prior; the cosmology of their configuration.
    """
    cosmology = {
        "ombh2": 0.0220323, "omch2": 0.1203761, "theta_mc": 1.0411, "tau": 0.0924518, "logA": 3.1, "ns": 0.9619123,
    }  # fmt: skip
    posterior = Posterior(tensor_template(cosmology), [load_likelihood("bkp2015")], {"r": Uniform(0.0, 0.5)})
    assert posterior.parameters == ("r", "BBdust", "BBbetadust")
    r = torch.linspace(0.0, 0.5, 51, dtype=torch.float64)
    dust = torch.linspace(0.0, 8.0, 33, dtype=torch.float64)
    beta = torch.linspace(1.26, 1.92, 9, dtype=torch.float64)
    with torch.no_grad():
        log_prob = posterior.log_prob(torch.cartesian_prod(r, dust, beta)).reshape(51, 33, 9)
    density = torch.exp(log_prob - log_prob.max())
    of_r, of_dust = density.sum((1, 2)), density.sum((0, 2))
    cumulative = torch.cumsum(of_r, 0) / of_r.sum()
    assert 0.035 < r[of_r.argmax()] < 0.06  # 0.048; the grid's step is 0.01
    assert 0.105 < np.interp(0.95, cumulative, r) < 0.125  # 0.12, of which one digit is known
    assert of_r[0] / of_r.max() == pytest.approx(0.38, abs=0.05)
    assert dust[of_dust.argmax()] == pytest.approx(3.3, abs=0.3)  # a third of its error


BK18 = description("bk18")


def bk18_release(rng: np.random.Generator) -> dict[str, bytes]:
    """Made-up numbers in the layout of BICEP/Keck's 2018 release: 11 B maps, 9 bins, l up to 40."""
    maps = BK18["maps"]
    n, lmax = len(maps), 40
    order = [f"{maps[i]}x{maps[j]}" for i in range(n) for j in range(i, n)]
    rows, columns = np.triu_indices(n)

    def text(table: np.ndarray) -> bytes:
        return "\n".join(" ".join(f"{v:.17g}" for v in row) for row in table).encode()

    def bandpowers(matrices: np.ndarray) -> bytes:
        return text(np.column_stack([np.arange(1, 10), matrices[:, rows, columns]]))

    shape = rng.uniform(0.5, 3.0, n)
    signal = 0.02 * np.outer(shape, shape) + 0.01 * np.eye(n)
    noise = np.diag(rng.uniform(0.01, 0.1, n))
    scatter = rng.standard_normal((9, n, n)) * 0.0005
    n_all = 9 * len(order)
    # neighbours are correlated; most elements are zero, which keeps the file small
    covariance = 1e-4 * np.diag(rng.uniform(1, 2, n_all)) + 3e-5 * (np.eye(n_all, k=1) + np.eye(n_all, k=-1))
    settings = {
        "like_approx": "HL",
        "map_names": " ".join(maps),
        "map_fields": " ".join("B" * n),
        "binned": "T",
        "nbins": "9",
        "cl_lmin": "2",
        "cl_lmax": str(lmax),
        "bin_window_files": "windows/BK18lf_bpwf_bin%u.txt",
        "bin_window_in_order": " ".join(order),
        "covmat_fiducial": "BK18lf_covmat_dust.dat",
        "covmat_cl": " ".join(order),
        "fpivot_dust": "353.0",
        "fpivot_sync": "23.0",
        # noise is taken off the fiducial model, and still in the bandpowers
        "cl_hat_includes_noise": "T",
        "cl_fiducial_includes_noise": "F",
    }
    for stem in ("cl_hat", "cl_noise", "cl_fiducial"):
        settings |= {f"{stem}_file": f"BK18lf_{stem}.dat", f"{stem}_order": " ".join(order)}
    settings |= {f"bandpass[{m}]": f"bandpass_{m}.txt" for m in maps}
    files = {
        "BK18lf_dust.dataset": "\n".join(f"{k} = {v}" for k, v in settings.items()).encode(),
        "BK18lf_cl_hat.dat": bandpowers(signal + noise + (scatter + scatter.transpose(0, 2, 1))),
        "BK18lf_cl_noise.dat": bandpowers(np.repeat(noise[None], 9, 0)),
        "BK18lf_cl_fiducial.dat": bandpowers(np.repeat(signal[None], 9, 0)),
        "BK18lf_covmat_dust.dat": text(covariance),
    }
    ell = np.arange(2, lmax + 1.0)
    gain = rng.uniform(0.9, 1.1, n)  # a factor a map: the model stays a covariance
    for b in range(1, 10):
        window = np.where(np.abs(ell - 4 * b) < 3, 1.0, 0.0)[:, None] * 0.15 * gain[rows] * gain[columns]
        files[f"windows/BK18lf_bpwf_bin{b}.txt"] = text(np.column_stack([ell, window]))
    centres = [95, 150, 220, 95, 23, 30, 33, 44, 143, 217, 353]
    for name, centre in zip(maps, centres, strict=True):
        nu = np.linspace(0.85 * centre, 1.15 * centre, 15)
        files[f"bandpass_{name}.txt"] = text(np.column_stack([nu, rng.uniform(0.5, 1.0, 15)]))
    return files


def tarred(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, raw in files.items():
            member = tarfile.TarInfo(f"{BK18['folder']}/{name}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return out.getvalue()


def bk18(archive: bytes) -> HamimecheLewis:
    like = KINDS.get("bicep")(Source("bk18", BK18, {BK18["archive"]: archive}, {}), Options())
    assert isinstance(like, HamimecheLewis)
    return like


def bk18_values(rng: np.random.Generator, like: HamimecheLewis) -> dict[str, float]:
    values = {
        "BBdust": 4.0, "BBsync": 1.0, "BBalphadust": -0.4, "BBbetadust": 1.6, "BBalphasync": -0.6,
        "BBbetasync": -3.1, "BBdustsynccorr": 0.2,
    }  # fmt: skip
    assert set(values) == set(like.info.nuisance)
    return {k: v * rng.lognormal(0, 0.1) for k, v in values.items()}


def test_a_release_of_bk18s_layout_is_read_from_its_archive(rng: np.random.Generator) -> None:
    """Against scipy's roots of matrices; the size is that of the description."""
    files = bk18_release(rng)
    like = bk18(tarred(files))
    assert like._arrays["data"].shape == (9, 11, 11)
    assert like._arrays["cholesky"].shape == (BK18["n_data"], BK18["n_data"])
    ell = torch.arange(41, dtype=torch.float64)
    spectra = Spectra({"bb": (2e-3 * (ell / 80) ** 2)[None]})
    nuisance = {k: one(value=v) for k, v in bk18_values(rng, like).items()}
    got = like.log_prob(spectra, nuisance).item()
    assert got == pytest.approx(scipy_log_like(like, spectra, nuisance), rel=1e-8)
    lost = {k: v for k, v in files.items() if k != "BK18lf_cl_noise.dat"}
    for archive, message in (
        (tarred(files)[:-3000], "BK18_cosmomc.tgz: damaged, or not a tar archive"),
        (tarred({}), "no files under BK18_cosmomc/data/BK18lf_dust/"),
        (tarred(lost), "BK18lf_cl_noise.dat: named by"),
        (tarred({"../x": b""} | files), "is refused"),
    ):
        with pytest.raises(DataError, match=message):
            bk18(archive)


@pytest.mark.slow
def test_cobayas_baseline_of_bk18_is_ours(tmp_path: Path, rng: np.random.Generator) -> None:
    """Maps, bins, fixed parameters and the form of the files: Cobaya's own defaults for BK18."""
    module = pytest.importorskip("cobaya.likelihoods.bicep_keck_2018", reason="Cobaya is not installed")
    archive = tarred(bk18_release(rng))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path, filter="data")

    class Peer(module.bicep_keck_2018):  # without the check for the released archive
        install_options: dict[str, str] = {}  # noqa: RUF012

        @classmethod
        def is_installed(cls, **_: object) -> bool:
            return True

    peer = Peer({"path": str(tmp_path)})
    like = bk18(archive)
    defaults = module.bicep_keck_2018.get_defaults()["params"]
    given = {k: v for k, v in defaults.items() if isinstance(v, int | float)}
    for name, prior in like.info.nuisance.items():
        spec = defaults[name]["prior"]
        if isinstance(prior, Uniform):
            assert (prior.low, prior.high) == (spec["min"], spec["max"])
        else:
            assert (prior.mean, prior.std) == (spec["loc"], spec["scale"])
    ell = np.arange(41)
    for _ in range(5):
        values = bk18_values(rng, like)
        bb = 2e-3 * rng.lognormal(0, 0.3) * (ell / 80) ** 2
        zeros = np.zeros_like(bb)
        expected = peer.log_likelihood({"bb": bb, "ee": zeros, "eb": zeros}, **values, **given)
        got = like.log_prob(
            Spectra({"bb": torch.from_numpy(bb)[None]}), {k: one(value=v) for k, v in values.items()}
        ).item()
        assert got == pytest.approx(float(expected), rel=1e-9)
