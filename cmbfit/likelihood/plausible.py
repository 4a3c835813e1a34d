"""A rough comparison with LCDM that finds wrong units and a wrong order of bandpowers."""

from __future__ import annotations

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.cuts import centres
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.theory.plausible import compare, reference

_PRECISE = 0.1  # amplitudes known better than this are judged
_OFF = 0.5


def amplitudes(like: GaussianBandpowers) -> dict[str, tuple[float, float]]:
    """Fit a factor on LCDM's bandpowers, pair by pair, with the diagonal of the covariance.

    Returns
    -------
    dict of str to (float, float)
        Pair to the best factor and its error; pairs without a bandpower inside LCDM's range are left out.
    """
    theory = reference()
    out, start = {}, 0
    for pair, window in like.windows.items():
        rows = slice(start, start + len(window))
        start = rows.stop
        if pair not in theory.dl:
            continue
        width = min(window.shape[1], theory.lmax + 1)
        inside = window[:, width:].abs().sum(1) < 0.01 * window.abs().sum(1)
        model = (window[:, :width] @ theory.dl[pair][0, :width])[inside]
        data, sigma = like.data[rows][inside], like.sigma[rows][inside]
        weight = float((model**2 / sigma**2).sum())
        if weight > 0:
            out[pair] = float((model * data / sigma**2).sum()) / weight, weight**-0.5
    return out


def _cause(like: GaussianBandpowers, pair: str) -> str:
    """Return what the bandpowers of a pair look like, in brackets, or nothing."""
    names = [name for name, window in like.windows.items() for _ in window]
    data = like.data[[name == pair for name in names]].numpy()
    found = compare(pair, centres(like.windows[pair].numpy()), data)
    return f" ({found.cause})" if found and found.cause else ""


def check_against_lcdm(like: GaussianBandpowers, where: str) -> None:
    """Refuse bandpowers that no calibration brings near LCDM.

    Parameters
    ----------
    where : str
        The file, for the message.

    Raises
    ------
    LikelihoodError
        If a pair whose amplitude is measured to 10% is off by more than 50%: K^2, C_l in place of
        D_l, pairs in another order.
    """
    # judged by the sharper of both amplitudes' errors: in wrong units the error is off by the same factor
    for pair, (factor, error) in amplitudes(like).items():
        precise = error < _PRECISE * max(abs(factor), 1e-30) or error < _PRECISE
        if precise and abs(factor - 1) > _OFF:
            raise LikelihoodError(
                f"{where}: {pair}: the bandpowers are {factor:.3g} times those of LCDM{_cause(like, pair)}. Expected "
                f"D_l = l(l+1)C_l/2pi in uK^2, pairs in the order {', '.join(like.windows)}. If the data are right as "
                "they are, set units_checked: true"
            )
