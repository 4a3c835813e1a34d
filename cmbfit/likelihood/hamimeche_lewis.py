"""Hamimeche-Lewis likelihood of auto- and cross-spectra of correlated fields: batched, differentiable.

Hamimeche & Lewis 2008 (arXiv:0801.0554). Few modes make a bandpower skewed, so a Gaussian is wrong
at low l and for B modes. With C the model, C^ the data and C_f a fiducial matrix of all fields in a
bin (eqs. 36-40 there),

    -2 ln L = X^T M_f^-1 X,   X = vecp(C_f^{1/2} g(C^{-1/2} C^ C^{-1/2}) C_f^{1/2}),
    g(x) = sign(x - 1) sqrt(2 (x - ln x - 1)),

M_f the covariance of vecp(C^) at the fiducial. On the full sky this is the exact Wishart likelihood.
Noise enters as an offset added to model, data and fiducial alike: the noise bias of auto-spectra, or
for cross-spectra a matrix that keeps the data positive definite (Mangilli et al. 2015, arXiv:1503.01347).
Where it does not, g is continued to negative x as sign(x) g(|x|) (the same paper, eq. 11). A covariance
of n simulations turns chi2 into n ln(1 + chi2/(n-1)) (Sellentin & Heavens 2016, arXiv:1511.05969).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, nuisance_values, sources
from cmbfit.likelihood.foregrounds import DustAndSynchrotron
from cmbfit.theory.spectra import Spectra

_CLOSE = 1e-4  # eigenvalues nearer than this share the slope at their middle: error 1e-9 of it

Function = Callable[[torch.Tensor], torch.Tensor]


def g(x: torch.Tensor) -> torch.Tensor:
    """Return sign(x - 1) sqrt(2 (x - ln x - 1)); a series near x = 1, where the terms cancel."""
    y = x - 1
    far = torch.sign(y) * torch.sqrt(torch.clamp(2 * (y - torch.log1p(y)), min=0.0))
    series = y * (1 + y * (-1 / 3 + y * (7 / 36 + y * (-73 / 540 + y * (1331 / 12960)))))
    return torch.where(y.abs() < 1e-3, series, far)


def _g_slope(x: torch.Tensor) -> torch.Tensor:
    y = x - 1
    near = y.abs() < 1e-3
    series = 1 + y * (-2 / 3 + y * (7 / 12 + y * (-73 / 135)))
    safe = torch.where(near, torch.full_like(x, 2.0), x)
    return torch.where(near, series, (1 - 1 / safe) / g(safe))


def _signed_g(x: torch.Tensor) -> torch.Tensor:
    return torch.sign(x) * g(x.abs())


def _signed_g_slope(x: torch.Tensor) -> torch.Tensor:
    return _g_slope(x.abs())


def _inverse_root(x: torch.Tensor) -> torch.Tensor:
    return x**-0.5


def _inverse_root_slope(x: torch.Tensor) -> torch.Tensor:
    return -0.5 * x**-1.5


class _SymmetricFunction(torch.autograd.Function):
    """f of a symmetric matrix; its derivative by divided differences (Daleckii & Krein).

    torch's own derivative of eigenvectors divides by differences of eigenvalues, which vanish
    exactly where a likelihood is wanted most: g is taken of the unit matrix at the best fit.
    """

    @staticmethod
    def forward(ctx: Any, matrix: torch.Tensor, f: Function, slope: Function) -> torch.Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        ctx.save_for_backward(values, vectors)
        ctx.functions = f, slope
        return (vectors * f(values)[..., None, :]) @ vectors.mT

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        values, vectors = ctx.saved_tensors
        f, slope = ctx.functions
        one, two = values[..., :, None], values[..., None, :]
        gap = one - two
        close = gap.abs() <= _CLOSE * (one.abs() + two.abs()) / 2
        quotient = (f(one) - f(two)) / torch.where(close, torch.ones_like(gap), gap)
        divided = torch.where(close, slope((one + two) / 2), quotient)
        inner = vectors.mT @ grads[0] @ vectors
        return vectors @ (divided * inner) @ vectors.mT, None, None


def canonical_pair(one: str, two: str) -> str:
    """Return the name of the spectrum of two fields as theories spell it: "te", never "et"."""
    order = "teb"
    first, second = sorted((one, two), key=order.index)
    return {"te": "te", "tb": "tb", "eb": "eb"}.get(first + second, first + second)


class HamimecheLewis(OnDevice):
    """Likelihood of the matrices of bandpowers of n fields.

    Parameters
    ----------
    info : DataSetInfo
    fields : sequence of str
        Letter "t", "e" or "b" of each field; one letter may come several times (channels).
    windows : numpy.ndarray, shape (n_elements, n_bins, lmax + 1)
        On D_l [uK^2] from l = 0, for the elements (0, 0), (0, 1), ..., (1, 1), ... of the matrix.
    data, fiducial : numpy.ndarray, shape (n_bins, n, n)
        Bandpowers without noise bias, and their expectation in the fiducial model.
    offset : numpy.ndarray, shape (n_bins, n, n)
        Noise bandpowers (or offsets), added to data, fiducial and model.
    covariance : numpy.ndarray, shape (n_bins * n_elements,) * 2
        Of the bandpowers at the fiducial; bins are the slow index, elements the fast one.
    null : sequence of str, optional
        Pairs that are zero in every model, for example ("eb", "tb"): no theory is asked for them.
    files : mapping, optional
        Data files and their sha256, for the record.
    elements : sequence of int, optional
        The elements whose transformed bandpowers are compared, in the order of the covariance; all
        when omitted. `n_elements` of the covariance is their number.
    signed : bool
        Allow data that are not positive definite, as cross-spectra may be.
    n_simulations : int, optional
        Behind the covariance; infinite when omitted.
    foregrounds : DustAndSynchrotron, optional
        Added to the model before calibration.
    calibration : mapping of str to sequence of float, optional
        Nuisance name to a power for each field: the model of two fields is multiplied by
        nuisance**(the sum of their powers), for example -1 for every map of a survey.

    Raises
    ------
    LikelihoodError
        If shapes disagree, or data, fiducial or covariance are not positive definite.
    """

    def __init__(
        self,
        info: DataSetInfo,
        fields: Sequence[str],
        windows: np.ndarray,
        data: np.ndarray,
        fiducial: np.ndarray,
        offset: np.ndarray,
        covariance: np.ndarray,
        null: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        elements: Sequence[int] | None = None,
        *,
        signed: bool = False,
        n_simulations: int | None = None,
        foregrounds: DustAndSynchrotron | None = None,
        calibration: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        n = len(fields)
        if not n or set(fields) - set("teb"):
            raise LikelihoodError(f"{info.name}: fields {list(fields)}, expected letters of 't', 'e', 'b'")
        rows, columns = np.triu_indices(n)
        used = list(range(len(rows))) if elements is None else list(elements)
        n_bins = windows.shape[1] if windows.ndim == 3 else 0
        size = n_bins * len(used)
        if windows.shape[0] != len(rows) or n_bins == 0 or covariance.shape != (size, size):
            raise LikelihoodError(
                f"{info.name}: {n} fields have {len(rows)} spectra, {len(used)} of them used; windows of shape "
                f"{windows.shape} and covariance {covariance.shape} do not fit"
            )
        for name, powers in (calibration or {}).items():
            if name not in info.nuisance or len(powers) != n:
                raise LikelihoodError(
                    f"{info.name}: calibration {name}: expected a prior for it and {n} powers, found {powers}"
                )
        for name, x in (("data", data), ("fiducial", fiducial), ("offset", offset)):
            if x.shape != (n_bins, n, n) or not np.isfinite(x).all():
                raise LikelihoodError(
                    f"{info.name}: {name}: expected finite numbers of shape {(n_bins, n, n)}"
                )
            if not np.allclose(x, x.transpose(0, 2, 1), rtol=1e-10, atol=0):
                raise LikelihoodError(f"{info.name}: {name}: expected symmetric matrices")
        for name, x in (("data", data + offset), ("fiducial", fiducial + offset)):
            if signed and name == "data":
                continue
            if bad := [b for b in range(n_bins) if not np.linalg.eigvalsh(x[b])[0] > 0]:
                raise LikelihoodError(
                    f"{info.name}: {name} plus offset is not positive definite in bin {bad[0]}: raise the offset"
                )
        if not np.isfinite(covariance).all():
            raise LikelihoodError(f"{info.name}: the covariance has non-finite numbers")
        cholesky, failed = torch.linalg.cholesky_ex(torch.from_numpy(0.5 * (covariance + covariance.T)))
        if failed:
            raise LikelihoodError(
                f"{info.name}: the covariance is not positive definite (row {int(failed)}: bin "
                f"{(int(failed) - 1) // len(used) + 1}); it must be the covariance itself, both triangles"
            )
        names = [canonical_pair(fields[int(i)], fields[int(j)]) for i, j in zip(rows, columns, strict=True)]
        self.info = info
        self.pairs = tuple(dict.fromkeys(p for p in names if p not in null))
        self.lmax = windows.shape[2] - 1
        self._names = names
        self._rows, self._columns = torch.from_numpy(rows), torch.from_numpy(columns)
        self._used = torch.tensor(used)
        self._g = (_signed_g, _signed_g_slope) if signed else (g, _g_slope)
        self._n_simulations = n_simulations
        self._foregrounds = foregrounds
        self._calibration = {name: tuple(map(float, powers)) for name, powers in (calibration or {}).items()}
        values, vectors = np.linalg.eigh(fiducial + offset)
        root = (vectors * np.sqrt(values)[:, None, :]) @ vectors.transpose(0, 2, 1)
        self._arrays = {
            "windows": torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float64)),
            "data": torch.from_numpy(np.asarray(data + offset, dtype=np.float64)),
            "offset": torch.from_numpy(np.asarray(offset, dtype=np.float64)),
            "root": torch.from_numpy(root),
            "cholesky": cholesky,
        }
        self._fields, self._null, self._files = tuple(fields), tuple(null), dict(files or {})

    def settings(self) -> dict[str, Any]:
        """Return fields, data files and what is fixed."""
        return {
            "kind": "hamimeche-lewis",
            "fields": self._fields,
            "null": self._null,
            **sources(self._files, *self._arrays.values()),
            "elements": self._used.tolist(),
            "simulations": self._n_simulations,
            "calibration": self._calibration,
            "fixed": self._foregrounds.fixed if self._foregrounds else {},
        }

    def matrices(
        self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor] | None = None
    ) -> torch.Tensor:  # shape: (batch, n_bins, n, n)
        """Return the model's matrices of bandpowers: foregrounds, calibration and offset included."""
        spectra.require(self.pairs, self.lmax)
        n = len(self._fields)
        windows = self._arrays["windows"]
        zero = torch.zeros(spectra.batch, windows.shape[1], dtype=torch.float64, device=windows.device)
        elements = [
            spectra.dl[pair][:, : self.lmax + 1] @ window.T if pair in self.pairs else zero
            for pair, window in zip(self._names, windows, strict=True)
        ]
        place = torch.zeros(n, n, dtype=torch.long, device=windows.device)
        index = torch.arange(len(elements), device=windows.device)
        place[self._rows, self._columns] = index
        place[self._columns, self._rows] = index
        stacked = torch.stack(elements, dim=-1)  # shape: (batch, n_bins, n_elements)
        if self._foregrounds is not None:
            stacked = stacked + self._foregrounds.bandpowers(nuisance or {}, spectra.batch)
        model = stacked[..., place]
        for name, powers in self._calibration.items():
            value = (nuisance or {})[name]
            factor = torch.stack([value**power for power in powers], dim=1)
            model = model * (factor[:, :, None] * factor[:, None, :])[:, None]
        return model + self._arrays["offset"]

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L, zero where the model equals the data; -inf for a model that is not positive definite."""
        nuisance = nuisance_values(self.info, nuisance, spectra.batch)
        model = self.matrices(spectra, nuisance)
        with torch.no_grad():
            failed = torch.linalg.cholesky_ex(model).info
            good = (failed == 0).all(dim=1)
        # an impossible model gives way to a possible one, so that its gradient is zero and not NaN
        root_f = self._arrays["root"]
        model = torch.where(good[:, None, None, None], model, root_f @ root_f)
        root = _SymmetricFunction.apply(model, _inverse_root, _inverse_root_slope)
        ratio = root @ self._arrays["data"] @ root
        # rounding makes the product slightly asymmetric
        transformed = _SymmetricFunction.apply(0.5 * (ratio + ratio.mT), *self._g)
        x = root_f @ transformed @ root_f
        rows, columns = self._rows[self._used], self._columns[self._used]
        vector = x[..., rows, columns].flatten(1)  # shape: (batch, n_bins * n_used)
        white = torch.linalg.solve_triangular(self._arrays["cholesky"], vector.T, upper=False)
        chi2 = white.square().sum(0)
        if self._n_simulations is not None:
            chi2 = self._n_simulations * torch.log1p(chi2 / (self._n_simulations - 1))
        return torch.where(good, -0.5 * chi2, -torch.inf)
