"""LoLLiPoP's EE on files of the release's layout: its own package where installed, its formula by hand."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.io import fits

from cmbfit.errors import DataError, LikelihoodError
from cmbfit.likelihood.base import refuse_double_counting
from cmbfit.likelihood.datasets import load_likelihood
from cmbfit.likelihood.datasets.catalog import description
from cmbfit.likelihood.datasets.lollipop import offsets, read
from cmbfit.likelihood.datasets.source import Options, Source
from cmbfit.likelihood.hamimeche_lewis import HamimecheLewis
from cmbfit.theory.spectra import Spectra

NAME, TOP = "planck_pr4_lollipop_ee", 35
SPEC = description(NAME)


def model(tau: float) -> np.ndarray:
    """C_l of EE [uK^2] with a bump of reionisation, from l = 0."""
    ell = np.arange(TOP + 1.0)
    dl = 0.04 * (tau / 0.055) ** 2 * np.exp(-(((ell - 4) / 3) ** 2)) + 1e-5 * ell**2.2
    return np.where(ell < 2, 0, dl * 2 * np.pi / np.maximum(ell * (ell + 1), 1))


def release(rng: np.random.Generator) -> dict[str, bytes]:
    """Spectra, model and covariance of noisy skies; the data of one of them, some of it negative."""
    ell = np.arange(TOP + 1)
    fiducial, noise = model(0.055), 2e-4
    width = np.sqrt(2 / ((2 * ell + 1) * 0.52)) * (fiducial + noise)
    n = TOP - 1
    mixing = np.eye(n) + 0.05 * rng.standard_normal((n, n))
    block = (mixing @ mixing.T) * np.outer(width[2:], width[2:])
    covariance = np.kron(np.eye(3), block)
    data = fiducial + width * rng.standard_normal(TOP + 1)
    data[25] = -abs(data[25])

    def table(cl: np.ndarray) -> bytes:
        rows = np.column_stack([ell, cl, 0.01 * cl, 0 * cl])[2:]
        return "\n".join(" ".join(f"{x:.17g}" for x in row) for row in rows).encode()

    image = io.BytesIO()
    fits.PrimaryHDU(covariance).writeto(image)
    return {
        SPEC["data"]: table(data),
        SPEC["fiducial"]: table(fiducial),
        SPEC["covariance"]: image.getvalue(),
    }


def archived(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, raw in files.items():
            entry = tarfile.TarInfo(f"{SPEC['folder']}/{name}")
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    return buffer.getvalue()


def read_files(files: dict[str, bytes]) -> HamimecheLewis:
    source = Source(NAME, SPEC, {SPEC["archive"]: archived(files)}, {})
    like = read(source, Options())
    assert isinstance(like, HamimecheLewis)
    return like


def ours(like: HamimecheLewis, cl: np.ndarray) -> float:
    ell = np.arange(TOP + 1)
    dl = torch.from_numpy(cl * ell * (ell + 1) / (2 * np.pi))[None]
    return like.log_prob(Spectra({"ee": dl}), {}).item()


def test_its_formula_by_hand(rng: np.random.Generator) -> None:
    """In C_l, where ours is in D_l: X_l = sqrt(F + O) sign(x) g(|x|) sqrt(F + O), x = (D + O)/(M + O)."""
    files = release(rng)
    like = read_files(files)
    data, fiducial = (np.loadtxt(io.BytesIO(files[SPEC[k]]))[:29, 1] for k in ("data", "fiducial"))
    covariance = np.asarray(fits.getdata(io.BytesIO(files[SPEC["covariance"]])))[:29, :29]
    o = offsets(np.arange(2, 31), np.diag(covariance), fiducial, 0.52)
    # without a signal it is the noise that gives the variance, times sqrt(l + 1/2)
    bare = offsets(np.arange(2, 31), np.diag(covariance), np.zeros(29), 0.52)
    np.testing.assert_allclose(bare, np.sqrt(np.diag(covariance) * (np.arange(2, 31) + 0.5)), rtol=1e-12)
    for tau in (0.055, 0.07, 0.05):
        x = (data + o) / (model(tau)[2:31] + o)
        y = np.abs(x)
        transformed = np.sign(x) * np.sign(y - 1) * np.sqrt(2 * (y - np.log(y) - 1)) * (fiducial + o)
        chi2 = transformed @ np.linalg.solve(covariance, transformed)
        assert ours(like, model(tau)) == pytest.approx(-0.5 * 400 * np.log(1 + chi2 / 399), rel=1e-9)


def test_the_packages_own_likelihood(rng: np.random.Generator, tmp_path: Path) -> None:
    package: Any = pytest.importorskip("planck_2020_lollipop", reason="planck-2020-lollipop is not installed")
    files = release(rng)
    folder = tmp_path / "data" / SPEC["folder"]
    folder.mkdir(parents=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)

    class lowlE(package.lowlE):  # type: ignore[misc]  # noqa: N801 (its name is its mode); Cobaya asks for installed files
        @classmethod
        def is_installed(cls, **_: object) -> bool:
            return True

    peer = lowlE({"path": str(tmp_path / "data")})
    like = read_files(files)
    for tau in (0.04, 0.055, 0.08):
        expected = float(peer.loglike({"ee": model(tau)}, A_planck=1.0))
        assert ours(like, model(tau)) == pytest.approx(expected, rel=1e-9)


def test_damaged_files_and_a_second_tau_are_refused(rng: np.random.Generator) -> None:
    files = release(rng)
    for changes, message in (
        ({SPEC["data"]: b"2 1 1 1\n4 1 1 1"}, "l = 3 is missing"),
        ({SPEC["covariance"]: b"no FITS"}, "expected a FITS image"),
        ({SPEC["fiducial"]: b"2 nan 1 1"}, "not finite"),
    ):
        with pytest.raises(DataError, match=message):
            read_files(files | changes)
    with pytest.raises(DataError, match="named by the data set"):
        read_files({k: v for k, v in files.items() if k != SPEC["covariance"]})
    like = read_files(files)
    with pytest.raises(LikelihoodError, match="both measure tau"):
        refuse_double_counting([like.info, load_likelihood("planck2018_lowl_ee").info])
