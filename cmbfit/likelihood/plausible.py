"""A rough comparison with LCDM that finds wrong units and a wrong order of bandpowers."""

from __future__ import annotations

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.cuts import centres
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.theory.plausible import compare, reference

_PRECISE = 0.1  # amplitudes known better than this are judged
_OFF = 0.5


def amplitudes(like: GaussianBandpowers) -> dict[str, tuple[float, float]]:
    """Fit a factor on LCDM's bandpowers, block by block, with the diagonal of the covariance.

    Returns
    -------
    dict of str to (float, float)
        Name of a block (its pair) to the best factor and its error; those without a bandpower inside LCDM's range are left out.
    """
    theory = reference()
    out = {}
    for block, rows in zip(like.blocks, like.sections.values(), strict=True):
        window, pair = block.window, block.pair
        if pair not in theory.dl:
            continue
        width = min(window.shape[1], theory.lmax + 1)
        inside = window[:, width:].abs().sum(1) < 0.01 * window.abs().sum(1)
        model = (window[:, :width] @ theory.dl[pair][0, :width])[inside]
        data, sigma = like.data[rows][inside], like.sigma[rows][inside]
        weight = float((model**2 / sigma**2).sum())
        if weight > 0:
            out[block.name] = float((model * data / sigma**2).sum()) / weight, weight**-0.5
    return out


def _cause(like: GaussianBandpowers, name: str) -> str:
    """Return what the bandpowers of a block look like, in brackets, or nothing."""
    block = next(b for b in like.blocks if b.name == name)
    found = compare(block.pair, centres(block.window.numpy()), like.data[like.sections[name]].numpy())
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
                f"D_l = l(l+1)C_l/2pi in uK^2, pairs in the order {', '.join(like.sections)}. If the data are right as "
                "they are, set units_checked: true"
            )
