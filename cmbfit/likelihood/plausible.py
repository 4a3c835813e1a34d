"""A rough comparison with LCDM that finds wrong units and a wrong order of bandpowers."""

from __future__ import annotations

import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.theory.spectra import Spectra

# Planck 2018 VI, table 2; any other LCDM that describes the sky would do: factors are looked for
_POINT = (0.02236, 0.1202, 1.0409, 0.0544, 3.045, 0.9649)
_PRECISE = 0.1  # amplitudes known better than this are judged
_OFF = 0.5


def _lcdm() -> Spectra:
    from cmbfit.theory.emulator.bundle import load_emulator  # noqa: PLC0415  only for files of the user's

    emulator = load_emulator("lcdm_planck2018")
    return emulator.spectra(torch.tensor([_POINT], dtype=torch.float64))


def amplitudes(like: GaussianBandpowers) -> dict[str, tuple[float, float]]:
    """Fit a factor on LCDM's bandpowers, block by block, with the diagonal of the covariance.

    Returns
    -------
    dict of str to (float, float)
        Name of a block (its pair) to the best factor and its error; those without a bandpower inside LCDM's range are left out.
    """
    theory = _lcdm()
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
    found = amplitudes(like)
    # judged by the sharper of both amplitudes' errors: in wrong units the error is off by the same factor
    for pair, (factor, error) in found.items():
        precise = error < _PRECISE * max(abs(factor), 1e-30) or error < _PRECISE
        if precise and abs(factor - 1) > _OFF:
            raise LikelihoodError(
                f"{where}: {pair}: the bandpowers are {factor:.3g} times those of LCDM. Expected D_l = l(l+1)C_l/2pi "
                f"in uK^2, pairs in the order {', '.join(like.sections)}; K^2 would give 1e-12, C_l less than 0.01. "
                "If the data are right as they are, set units_checked: true"
            )
