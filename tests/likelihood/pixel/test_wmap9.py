"""The WMAP9 low-l reader on files written in the released layout, at nside 2; its likelihood against scipy.

The released archive itself is not on this machine: layouts are those that public readers of it use.
"""

from __future__ import annotations

import io
import tarfile

import healpy
import numpy as np
import pytest
import torch
from astropy.io import fits
from scipy.stats import multivariate_normal

from cmbfit.errors import DataError
from cmbfit.likelihood.pixel.harmonics import PixelSet, mode_ell, mode_matrix
from cmbfit.likelihood.pixel.wmap9 import MEMBERS, WmapLowlPolarisation, read_wmap9_lowl
from cmbfit.theory.spectra import Spectra
from tests.likelihood.pixel import oracle
from tests.likelihood.pixel.helpers import all_spectra, batch, info, to_cl

NSIDE, NPIX, LMAX = 2, 48, 5
ROOT = "wmap_likelihood_v5/data/"


def _fits_image(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    fits.PrimaryHDU(np.ascontiguousarray(values.T)).writeto(out)  # Fortran wrote it: axes reversed
    return out.getvalue()


def _fits_table(*columns: np.ndarray) -> bytes:
    table = [fits.Column(name=f"C{k}", format="E", array=x) for k, x in enumerate(columns)]
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(table)]).writeto(out)
    return out.getvalue()


def _archive(files: dict[str, bytes], link: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, raw in files.items():
            member = tarfile.TarInfo(ROOT + name)
            member.size = len(raw)
            if name == link:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0
            tar.addfile(member, io.BytesIO(raw))
    return out.getvalue()


class Released:
    """A synthetic release with a known sky; numbers that the files hold are rounded to float32."""

    def __init__(self, rng: np.random.Generator) -> None:
        mask = np.zeros(NPIX)
        self.good = np.arange(20)
        mask[self.good] = 1
        n = 2 * len(self.good)
        use = np.concatenate([self.good, NPIX + self.good])
        a = rng.standard_normal((n, n))
        self.noise = 1e-6 * (a @ a.T / n + np.eye(n))  # mK^2
        inverse = np.linalg.inv(self.noise)
        self.data = 1e-3 * rng.standard_normal(n)
        self.window = np.exp(-0.01 * np.arange(LMAX + 1.0) ** 2)
        modes = mode_matrix(PixelSet(NSIDE, np.zeros(0, dtype=int), self.good), 2, LMAX)
        ell = mode_ell(2, LMAX)
        products = np.zeros((2, LMAX + 1, 2 * NPIX, 2 * NPIX), dtype=np.float32)
        y = np.zeros((2, 2 * NPIX, 21), dtype=np.float32)
        for multipole in range(2, LMAX + 1):
            for field in range(2):
                v = inverse @ modes[:, field, ell == multipole]
                products[field, multipole][np.ix_(use, use)] = v @ v.T
            block = inverse @ modes[:, 0, ell == multipole]
            for m in range(multipole + 1):
                k = multipole * (multipole + 1) // 2 + m
                y[0, use, k] = block[:, 0] if m == 0 else block[:, 2 * m - 1] / np.sqrt(2)
                y[1, use, k] = 0 if m == 0 else -block[:, 2 * m] / np.sqrt(2)
        full = np.zeros((2 * NPIX, 2 * NPIX), dtype=np.float32)
        full[np.ix_(use, use)] = inverse
        weighted = np.zeros(2 * NPIX)
        weighted[use] = inverse @ self.data
        # a_lm in mK; lines in order of l, then m
        self.alm = {
            (el, m): complex(*rng.standard_normal(2)) * 1e-2 for el in range(LMAX + 1) for m in range(el + 1)
        }
        self.alm = {(el, m): complex(x.real, 0 if m == 0 else x.imag) for (el, m), x in self.alm.items()}
        lines = "".join(f" ({x.real:.9E},{x.imag:.9E})\n" for x in self.alm.values())
        self.files = {
            MEMBERS["p_ee"]: _fits_image(products[0]),
            MEMBERS["p_bb"]: _fits_image(products[1]),
            MEMBERS["inverse"]: _fits_image(full),
            MEMBERS["inverse_y"]: _fits_image(y),
            MEMBERS["map_q"]: _fits_table(weighted[:NPIX]),
            MEMBERS["map_u"]: _fits_table(weighted[NPIX:]),
            MEMBERS["alm"]: lines.encode(),
            MEMBERS["mask"]: _fits_table(np.ones(NPIX), mask),
            MEMBERS["window"]: "".join(f"{w:.10f}\n" for w in np.append(self.window, [0.1, 0.1])).encode(),
            "highl/unrelated.dat": b"0",
        }

    def expected(self, dl: dict[str, np.ndarray]) -> float:
        """-2 ln L by the conditional density of Q, U given T, with scipy and the Legendre-sum covariance."""
        cl = {k: 1e-6 * v for k, v in to_cl(dl).items()}
        ratio = np.divide(cl["te"], cl["tt"], out=np.zeros(LMAX + 1), where=cl["tt"] > 0)
        residual = {"ee": (cl["ee"] - ratio * cl["te"]) * self.window**2, "bb": cl["bb"] * self.window**2}
        signal = oracle.covariance(NSIDE, np.zeros(0, dtype=int), self.good, residual, 2, LMAX)
        e = np.zeros(healpy.Alm.getsize(LMAX), dtype=complex)
        for (ell, m), x in self.alm.items():
            e[healpy.Alm.getidx(LMAX, ell, m)] = ratio[ell] * self.window[ell] * x if ell >= 2 else 0
        _, q, u = healpy.alm2map([0 * e, e, 0 * e], NSIDE, lmax=LMAX)
        mean = np.concatenate([q[self.good], u[self.good]])
        n = len(self.data)
        minus2 = -2 * multivariate_normal.logpdf(self.data, mean, self.noise + signal) - n * np.log(2 * np.pi)
        return minus2 - 2 * np.linalg.slogdet(self.noise)[1]  # |D| = |N + S| / |N|^2


def test_reader_and_likelihood_against_scipy(rng: np.random.Generator) -> None:
    released = Released(rng)
    like = WmapLowlPolarisation(info("wmap9"), read_wmap9_lowl(_archive(released.files)), offset=100.0)
    assert (like.pairs, like.lmax) == (("tt", "te", "ee"), LMAX)
    dl = {k: v for k, v in all_spectra(LMAX).items() if k in ("tt", "te", "ee", "bb")}
    for factor in (1.0, 0.2):
        scaled = {k: factor * v for k, v in dl.items()}
        got = -2 * like.log_prob(batch(scaled), {}).item()
        # the files' float32: 1e-7 of numbers that cancel by a factor of some hundred
        assert got == pytest.approx(released.expected(scaled) - 100.0, abs=0.02)
    without = {k: v for k, v in dl.items() if k != "bb"}
    zero = {**dl, "bb": 0 * dl["bb"]}
    torch.testing.assert_close(like.log_prob(batch(without), {}), like.log_prob(batch(zero), {}))
    many = batch(dl, np.array([1.0, 0.5, 2.0]))
    like.chunk = 2
    singles = torch.cat([like.log_prob(batch(dl, f), {}) for f in (1.0, 0.5, 2.0)])
    torch.testing.assert_close(like.log_prob(many, {}), singles, rtol=0, atol=1e-9)


def test_impossible_spectra_and_gradient(rng: np.random.Generator) -> None:
    like = WmapLowlPolarisation(info("wmap9"), read_wmap9_lowl(_archive(Released(rng).files)))
    dl = {k: v for k, v in all_spectra(LMAX).items() if k in ("tt", "te", "ee", "bb")}
    bad = {k: x.clone() for k, x in batch(dl, np.ones(4)).dl.items()}
    bad["tt"][1, 3] = 0.0
    bad["ee"][2, 2] = torch.nan
    bad["bb"][3, 2] = -1e6
    assert torch.isneginf(like.log_prob(Spectra(bad), {})).tolist() == [False, True, True, True]
    model = batch(dl)
    model.dl["ee"].requires_grad_(True)
    value = like.log_prob(model, {})
    value.sum().backward()
    moved = {k: x.detach().clone() for k, x in model.dl.items()}
    moved["ee"][0, 3] += 1e-4
    slope = (like.log_prob(Spectra(moved), {}) - value).item() / 1e-4
    assert model.dl["ee"].grad[0, 3].item() == pytest.approx(slope, rel=1e-3)


def test_bad_archives(rng: np.random.Generator) -> None:
    files = Released(rng).files
    without = {k: v for k, v in files.items() if k != MEMBERS["mask"]}
    cases = [
        (b"not a tar", "not a tar archive"),
        (_archive(files)[:2000], "damaged, or not a tar archive"),
        (_archive(without), "no member lowlP/mask_r3"),
        (_archive(files | {"copy/" + MEMBERS["alm"]: b""}), "is there twice"),
        (_archive(files, link=MEMBERS["map_q"]), "expected a regular file"),
        (_archive(files | {MEMBERS["alm"]: b" (0.1,0.2)\n"}), "expected 21 a_lm"),
        (_archive(files | {MEMBERS["alm"]: b" (a,0.2)\n"}), "expected complex numbers"),
        (_archive(files | {MEMBERS["p_bb"]: files[MEMBERS["inverse"]]}), r"expected shape \(6, 96, 96\)"),
        (_archive(files | {MEMBERS["inverse"]: b"SIMPLE"}), "expected a whole FITS file"),
        (_archive(files | {MEMBERS["map_q"]: _fits_table(np.ones(12))}), "expected 48 pixels"),
        (_archive(files | {MEMBERS["window"]: b"1.0\n"}), "1 rows, expected at least 6"),
        (_archive(files | {MEMBERS["mask"]: _fits_table(np.ones(NPIX))}), "a FITS table with column 2"),
    ]
    for archive, message in cases:
        with pytest.raises(DataError, match=message):
            read_wmap9_lowl(archive)
    data = read_wmap9_lowl(_archive(files))
    data.inverse[0, 0] = -1.0
    with pytest.raises(DataError, match="not positive definite"):
        WmapLowlPolarisation(info("wmap9"), data)
