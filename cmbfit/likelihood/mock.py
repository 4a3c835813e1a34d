"""Likelihood of simulated spectra of Gaussian fields: the exact Wishart form, which forecasts and mock fits share.

T, E, B and the lensing potential are Gaussian fields seen on a fraction f of the sky, so that the spectra C^_l of one
multipole are a Wishart matrix of nu = f (2 l + 1) modes around C_l = signal + noise (Hamimeche & Lewis 2008,
arXiv:0801.0554, eq. 9; f as Perotto et al. 2006, astro-ph/0606227, section 3, and MontePython's mock data have it):

    -2 ln L = sum_l f (2 l + 1) [tr(C^_l C_l^-1) - ln |C^_l C_l^-1| - n].

Left out: the correlation of T and E with the lensing potential, the lensing-induced correlations between multipoles, what a
mask couples, foreground residuals beyond the given noise. Errors are those of an idealised survey.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, nuisance_values, sources
from cmbfit.theory.spectra import Spectra

FIELDS = ("t", "e", "b", "p")
"""Temperature, E, B and the lensing potential, by the letters of their spectra."""

_CORRELATED = {("t", "e"): "te", ("t", "b"): "tb", ("e", "b"): "eb"}


@dataclass(frozen=True)
class Bands:
    """An auto-spectrum in bands of multipoles.

    Attributes
    ----------
    ell, signal, sigma, noise : numpy.ndarray, shape (bands,)
        Middle; data less noise, and its error (Knox 1995, astro-ph/9504054), averaged over the band; noise of its middle.
    """

    ell: np.ndarray
    signal: np.ndarray
    sigma: np.ndarray
    noise: np.ndarray


@dataclass
class _Block(OnDevice):
    """Neighbouring multipoles in which the same fields are seen, of which each correlates with another."""

    fields: tuple[str, ...]
    lmin: int
    lmax: int
    noise: torch.Tensor  # shape: (n_l, n, n)
    data: torch.Tensor  # shape: (n_l, n, n)
    weight: torch.Tensor  # shape: (n_l,), f (2 l + 1)
    log_det: torch.Tensor  # shape: (n_l,), of the data

    def model(self, spectra: Spectra) -> torch.Tensor:  # shape: (batch, n_l, n, n)
        return signal(spectra, self.fields, self.lmin, self.lmax) + self.noise


def signal(
    spectra: Spectra, fields: tuple[str, ...], lmin: int, lmax: int
) -> torch.Tensor:  # shape: (batch, n_l, n, n)
    """Return the matrices of spectra of some fields, as D_l; a pair that the theory does not have is zero."""
    zero = torch.zeros_like(next(iter(spectra.dl.values()))[:, lmin : lmax + 1])

    def of(a: str, b: str) -> torch.Tensor:
        name = a + b if a == b else _CORRELATED.get((a, b)) or _CORRELATED.get((b, a), "")
        return spectra.dl[name][:, lmin : lmax + 1] if name in spectra.dl else zero

    return torch.stack([torch.stack([of(a, b) for b in fields], -1) for a in fields], -2)


class MockSpectra(OnDevice):
    """ln L of mock spectra.

    Parameters
    ----------
    info : DataSetInfo
        Its `sky` says which multipoles of which pairs count: a field is seen where its auto-spectrum is.
    truth : Spectra
        Signal of the mock data, a batch of one.
    noise : mapping of str to numpy.ndarray, shape (> lmax,)
        Field to noise, in the units of the field's auto-spectrum in `truth` (D_l; [L(L+1)]^2 C_L / 2 pi for "p"), beam
        divided out, from l = 0.
    f_sky : float
    seed : int, optional
        Draw the data from the Wishart distribution; without it they are their own mean (an Asimov data set), with
        which the best fit is the truth and the curvature the Fisher matrix.
    parameters : mapping, optional
        The parameters of the truth, for whoever asks.
    files : mapping, optional
        Data files and their sha256, for the record.

    Raises
    ------
    LikelihoodError
        For a fraction of the sky outside (0, 1], missing or negative noise, pairs of fields that are not seen together, or
        fewer modes than fields at a multipole of drawn data.
    """

    def __init__(
        self,
        info: DataSetInfo,
        truth: Spectra,
        noise: Mapping[str, np.ndarray],
        f_sky: float,
        *,
        seed: int | None = None,
        parameters: Mapping[str, float] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        if not 0 < f_sky <= 1:
            raise LikelihoodError(f"{info.name}: fsky {f_sky:g}, expected a number in (0, 1]")
        ranges = _ranges(info)
        self.info, self.f_sky, self.seed = info, float(f_sky), seed
        self.truth = dict(parameters or {})
        """The parameters of which the data were made."""
        self.pairs = tuple(ranges)
        self.lmax = max(high for _, high in ranges.values())
        self.noise = {x: torch.from_numpy(np.array(noise[x], dtype=np.float64)) for x in FIELDS if x in noise}
        """Field to noise, from l = 0."""
        for x in (p[0] for p in ranges if p[0] == p[1]):
            if x not in self.noise or len(self.noise[x]) <= ranges[x + x][1]:
                raise LikelihoodError(f"{info.name}: no noise of {x!r} up to l = {ranges[x + x][1]}")
            low, high = ranges[x + x]
            part = self.noise[x][low : high + 1]
            if not bool((torch.isfinite(part) & (part >= 0)).all()):
                raise LikelihoodError(
                    f"{info.name}: noise of {x!r}: expected finite numbers from zero at l = {low}-{high}"
                )
        truth.require(self.pairs, self.lmax)
        self._files = dict(files or {})
        rng = None if seed is None else np.random.default_rng(seed)
        self._blocks = [b for part in _layout(ranges) for b in [self._block(*part, truth, rng)]]

    def _block(
        self, fields: tuple[str, ...], lmin: int, lmax: int, truth: Spectra, rng: np.random.Generator | None
    ) -> _Block:
        noise = torch.diag_embed(torch.stack([self.noise[x][lmin : lmax + 1] for x in fields], -1))
        mean = signal(_only(truth, self.pairs), fields, lmin, lmax)[0] + noise
        weight = self.f_sky * (2 * torch.arange(lmin, lmax + 1, dtype=torch.float64) + 1)
        if bool((torch.linalg.cholesky_ex(mean).info != 0).any()):
            raise LikelihoodError(
                f"{self.info.name}: signal plus noise of {', '.join(fields)} is not positive definite at l = {lmin}-{lmax}"
            )
        data = mean
        if rng is not None:
            if weight[0] < len(fields):
                raise LikelihoodError(
                    f"{self.info.name}: fsky (2 l + 1) = {float(weight[0]):.3g} modes at l = {lmin} are fewer than the "
                    f"{len(fields)} fields: data cannot be drawn there; start at a higher multipole"
                )
            data = _draw(mean, weight, rng)
        return _Block(fields, lmin, lmax, noise, data, weight, torch.logdet(data))

    def bands(self, count: int) -> dict[str, Bands]:
        """Return the auto-spectra of each field in at most `count` bands, equal in log l; for figures."""
        out = {}
        for x in (f for f in FIELDS if f + f in self.pairs):
            parts = [(b, b.fields.index(x)) for b in self._blocks if x in b.fields]
            parts.sort(key=lambda part: part[0].lmin)
            ell = np.concatenate([np.arange(b.lmin, b.lmax + 1) for b, _ in parts])
            total = torch.cat([b.data[:, i, i] for b, i in parts]).numpy()
            weight = torch.cat([b.weight for b, _ in parts]).numpy()
            noise = self.noise[x].numpy()[ell]
            edges = np.unique(np.rint(np.geomspace(ell[0], ell[-1] + 1, count + 1)).astype(int))
            band = np.searchsorted(edges, ell, side="right") - 1
            sums = [
                np.bincount(band, w, len(edges) - 1) for w in (weight, weight * ell, weight * (total - noise))
            ]
            spread = np.bincount(band, 2 * weight * total**2, len(edges) - 1)
            middle = sums[1] / sums[0]
            out[x] = Bands(
                middle, sums[2] / sums[0], np.sqrt(spread) / sums[0], np.interp(middle, ell, noise)
            )
        return out

    def settings(self) -> dict[str, Any]:
        """Return what the mock data are made of."""
        return {
            "kind": "mock",
            "fsky": self.f_sky,
            "seed": self.seed,
            "truth": self.truth,
            **sources(self._files, *(x for b in self._blocks for x in (b.data, b.noise))),
        }

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L, zero where signal plus noise equals the data; -inf where it is not positive definite."""
        spectra.require(self.pairs, self.lmax)
        nuisance_values(self.info, nuisance, spectra.batch)
        spectra = _only(spectra, self.pairs)
        chi2 = torch.zeros(spectra.batch, dtype=torch.float64, device=next(iter(spectra.dl.values())).device)
        good = torch.ones_like(chi2, dtype=torch.bool)
        for block in self._blocks:
            model = block.model(spectra)
            root, failed = torch.linalg.cholesky_ex(model)
            fine = (failed == 0).all(dim=1)
            # an impossible model gives way to a possible one, so that its gradient is zero and not NaN
            root = torch.where(fine[:, None, None, None], root, torch.linalg.cholesky(block.data))
            inner = torch.cholesky_solve(block.data.expand_as(root), root)
            trace = inner.diagonal(dim1=-2, dim2=-1).sum(-1)
            log_det = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            terms = trace + log_det - block.log_det - len(block.fields)
            chi2 = chi2 + terms @ block.weight
            good = good & fine
        return torch.where(good, -0.5 * chi2, -torch.inf)


def _draw(
    mean: torch.Tensor,  # shape: (n_l, n, n)
    modes: torch.Tensor,  # shape: (n_l,)
    rng: np.random.Generator,
) -> torch.Tensor:  # shape: (n_l, n, n)
    """Return W / nu of Wishart matrices W of nu modes, by Bartlett's decomposition: scipy draws one nu at a time."""
    n = mean.shape[-1]
    root = np.tril(rng.standard_normal(mean.shape), -1)
    for i in range(n):
        root[:, i, i] = np.sqrt(rng.chisquare(modes.numpy() - i))
    spread = torch.linalg.cholesky(mean) @ torch.from_numpy(root)
    return spread @ spread.mT / modes[:, None, None]


def _only(spectra: Spectra, pairs: tuple[str, ...]) -> Spectra:
    """Return the pairs that count: a mock without tb and eb is not moved by a theory that has them."""
    return Spectra({p: spectra.dl[p] for p in pairs})


def _ranges(info: DataSetInfo) -> dict[str, tuple[int, int]]:
    """Return pair to multipoles, checked: a cross-spectrum is where both its fields are, and there alone."""
    if len(info.sky) != 1:
        raise LikelihoodError(f"{info.name}: mock data are of one survey, found {len(info.sky)} under sky")
    (ranges,) = info.sky.values()
    known = [*(x + x for x in FIELDS), *_CORRELATED.values()]
    for pair, (low, high) in ranges.items():
        if pair not in known:
            raise LikelihoodError(f"{info.name}: sky: {pair}: expected one of {', '.join(known)}")
        if not 2 <= low <= high:
            raise LikelihoodError(
                f"{info.name}: sky: {pair}: [{low}, {high}] is no range of multipoles from 2"
            )
        if pair[0] != pair[1]:
            parts = [ranges.get(x + x) for x in pair]
            if None in parts:
                raise LikelihoodError(f"{info.name}: sky: {pair} without {' and '.join(x + x for x in pair)}")
            both = max(p[0] for p in parts if p), min(p[1] for p in parts if p)
            if (low, high) != both:
                raise LikelihoodError(
                    f"{info.name}: sky: {pair}: [{low}, {high}], expected {list(both)}, where both of its fields are seen"
                )
    if not any(p[0] == p[1] for p in ranges):
        raise LikelihoodError(f"{info.name}: sky: no auto-spectrum, expected at least one")
    return {p: (int(a), int(b)) for p, (a, b) in ranges.items()}


def _layout(ranges: Mapping[str, tuple[int, int]]) -> list[tuple[tuple[str, ...], int, int]]:
    """Return (correlated fields, lmin, lmax) so that within each the same fields are seen."""
    edges = sorted({low for low, _ in ranges.values()} | {high + 1 for _, high in ranges.values()})
    out = []
    for low, end in itertools.pairwise(edges):
        seen = [x for x in FIELDS if x + x in ranges and ranges[x + x][0] <= low <= ranges[x + x][1]]
        groups: list[set[str]] = [{x} for x in seen]
        for (a, b), pair in _CORRELATED.items():
            if pair in ranges and a in seen and b in seen:
                joined = set().union(*(g for g in groups if a in g or b in g))
                groups = [g for g in groups if not g & joined] + [joined]
        out += [(tuple(x for x in FIELDS if x in g), low, end - 1) for g in groups]
    return out
