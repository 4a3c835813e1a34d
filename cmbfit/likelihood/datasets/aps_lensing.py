"""Lensing bandpowers of ACT DR6, Planck PR4 and SPT-3G with the correlations between them.

Qu et al. 2025 (arXiv:2504.20038), ACT as in Madhavacheril et al. 2024 (arXiv:2304.05203), Planck as in Carron et al. 2022
(arXiv:2206.07773), SPT-3G as in Ge et al. 2024 (arXiv:2411.06000). Bandpowers are of C_L^kappakappa = pi/2 of the D_L^phiphi
of this package; the covariances hold the uncertainty of the CMB that normalised the reconstructions.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cmbfit.errors import DataError, LikelihoodError, unknown_name
from cmbfit.likelihood.bandpower_model import Block
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info, refuse_idle
from cmbfit.likelihood.datasets.tables import embed, lookup, read_numbers
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.steps.lensing import KK_OF_PP

_BINS = {"act": 18, "planck": 9, "spt3g": 16}
"""Bandpowers of each survey in the files, in the order of the joint covariance."""

_COVARIANCES = {
    ("act",): "covmat_act_cmbmarg.txt",
    ("act", "planck"): "covmat_actplanck_cmbmarg.txt",
    ("act", "spt3g"): "covmat_actspt3g.txt",
    ("act", "planck", "spt3g"): "covmat_actplanckspt3g_analytic_offdiagonal.txt",
}
_MUSE = "muse_likelihood.npz"


@dataclass(frozen=True)
class LensingBandpowers:
    """Windows on C_L^kappakappa from L = 0, bandpowers and covariance of one survey after the other."""

    windows: dict[str, np.ndarray]
    data: np.ndarray
    covariance: np.ndarray


def _muse(files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """Return windows (L from 1), bandpowers and covariance of SPT-3G."""
    shapes = {"bpwf": (16, 5000), "d_kk": (16,), "cov_kk": (16, 16)}
    try:
        with np.load(io.BytesIO(lookup(files, _MUSE)), allow_pickle=False) as table:
            out = {name: np.asarray(table[name], dtype=np.float64) for name in shapes}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{_MUSE}: expected the arrays {', '.join(shapes)} ({error})") from error
    for name, shape in shapes.items():
        if out[name].shape != shape or not np.isfinite(out[name]).all():
            raise DataError(
                f"{_MUSE}: {name}: expected {shape} finite numbers, found shape {out[name].shape}"
            )
    return out


def _table(files: Mapping[str, bytes], name: str, shape: tuple[int, ...]) -> np.ndarray:
    table = read_numbers(files, name)
    if table.shape != shape:
        raise DataError(f"{name}: expected shape {shape}, found {table.shape}")
    return table


def read_aps(
    files: Mapping[str, bytes], surveys: tuple[str, ...], act_bins: tuple[int, int], lmax: Mapping[str, int]
) -> LensingBandpowers:
    """Read the release for some of the surveys.

    Parameters
    ----------
    surveys : tuple of str
        Of act, planck, spt3g. Planck with SPT-3G alone are rows of the covariance of all three.
    act_bins : tuple of int
        First bandpower of ACT that is used, from 0, and the one after the last.
    lmax : mapping of str to int
        Survey to the last multipole of its windows that is used.

    Raises
    ------
    DataError
        If a file is missing or has another form.
    LikelihoodError
        For an unknown survey.
    """
    if unknown := [s for s in surveys if s not in _BINS]:
        raise LikelihoodError(f"surveys: {unknown_name('survey', unknown[0], list(_BINS))}")
    surveys = tuple(s for s in _BINS if s in surveys)
    muse = _muse(files) if "spt3g" in surveys else {}
    if surveys == ("spt3g",):
        inside: tuple[str, ...] = surveys
        covariance = muse["cov_kk"]
    else:
        inside = surveys if surveys in _COVARIANCES else tuple(_BINS)
        n = sum(_BINS[s] for s in inside)
        covariance = _table(files, _COVARIANCES[inside], (n, n))
    windows: dict[str, np.ndarray] = {}
    data, rows, start = [], [], 0
    for survey in inside:
        kept = range(*act_bins) if survey == "act" else range(_BINS[survey])
        if survey in surveys:
            if survey == "spt3g":
                own, values = np.pad(muse["bpwf"], ((0, 0), (1, 0))), muse["d_kk"]
            else:
                n = _BINS[survey]
                own = _table(files, f"binning_matrix_{survey}.txt", (n, 3000))
                values = _table(files, f"clkk_bandpowers_{survey}.txt", (n,))
            window = own[kept.start : kept.stop, : lmax[survey] + 1]
            windows[survey] = embed(window, np.arange(window.shape[1]))
            data.append(values[kept.start : kept.stop])
            rows += [start + i for i in kept]
        start += _BINS[survey]
    return LensingBandpowers(windows, np.concatenate(data), covariance[np.ix_(rows, rows)])


def read(source: Source, options: Options) -> Likelihood:
    """Return the lensing of the ``surveys`` of a ``dataset.yaml``, with Hartlap's factor of ``n_simulations``."""
    spec = source.spec
    got = read_aps(source.files, tuple(spec["surveys"]), tuple(spec.get("act_bins", (2, 12))), spec["lmax"])
    n, sims = len(got.data), spec["n_simulations"]
    info = data_set_info(source, n, options.without_cuts(source.name))
    refuse_idle(info, ())
    blocks = [Block(f"pp {survey}", "pp", KK_OF_PP * w) for survey, w in got.windows.items()]
    covariance = got.covariance * (sims - 1) / (sims - n - 2)
    return GaussianBandpowers(info, blocks, got.data, covariance, files=source.sums)
