"""What bandpowers are made of: blocks that see spectra through windows, calibrations and templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError

Powers = tuple[tuple[str, float], ...]
"""Nuisance parameters, and the powers of them that multiply a model."""


def calibrated(
    model: torch.Tensor,
    powers: Powers,
    nuisance: Mapping[str, torch.Tensor],  # name -> of a shape that broadcasts with the model's
) -> torch.Tensor:
    """Return a model times the product of nuisance**power."""
    for name, power in powers:
        model = model * nuisance[name] ** power
    return model


class Block(OnDevice):
    """Bandpowers of one spectrum, which stand together in a data vector.

    Parameters
    ----------
    name : str
        Of this block alone among those of its data set: a pair measured at several frequencies has several.
    pair : str
        Spectrum that is measured.
    window : numpy.ndarray, shape (n_bins, lmax + 1)
        On D_l [uK^2] of the pair, l from 0.
    leakage : mapping of str to numpy.ndarray, shape (n_bins, any lmax + 1)
        What other spectra add: E leaks into B under a mask; a lensing spectrum depends on the CMB through the
        estimator's normalisation. The pair itself may be among them: what it adds comes on top of the window.

    Raises
    ------
    LikelihoodError
        If a window is empty or not finite, or leakage has another number of bins.
    """

    def __init__(
        self, name: str, pair: str, window: np.ndarray, leakage: Mapping[str, np.ndarray] | None = None
    ) -> None:
        if bad := np.flatnonzero(~np.isfinite(window).all(1) | ~window.any(1)).tolist():
            raise LikelihoodError(f"the window of {name} bandpower {bad[0] + 1} is empty or not finite")
        for source, leak in (leakage or {}).items():
            if leak.ndim != 2 or len(leak) != len(window):
                raise LikelihoodError(
                    f"leakage of {source} into {name} has windows of shape {leak.shape}, expected {len(window)} bins"
                )
        self.name, self.pair = name, pair
        self.window = torch.from_numpy(np.ascontiguousarray(window))
        self.leakage = {s: torch.from_numpy(np.ascontiguousarray(w)) for s, w in (leakage or {}).items()}

    def __len__(self) -> int:
        return len(self.window)

    @property
    def responses(self) -> list[tuple[str, torch.Tensor]]:
        """Spectra that are seen, each with its window; the pair's own comes first."""
        return [(self.pair, self.window), *self.leakage.items()]


def pair_blocks(
    windows: Mapping[str, np.ndarray], leakage: Mapping[tuple[str, str], np.ndarray] | None = None
) -> list[Block]:
    """Return one block a pair, named after it.

    Parameters
    ----------
    windows : mapping of str to numpy.ndarray
        Pair to its window, in the order of the data vector.
    leakage : mapping of (pair, source) to numpy.ndarray, optional
        Response of a pair's bandpowers to another spectrum.

    Raises
    ------
    LikelihoodError
        If spectra leak into a pair that has no bandpowers.
    """
    leakage = leakage or {}
    if bad := [key for key in leakage if key[0] not in windows]:
        raise LikelihoodError(f"leakage of {bad[0][1]} into {bad[0][0]}, which has no bandpowers")
    return [
        Block(pair, pair, window, {source: w for (to, source), w in leakage.items() if to == pair})
        for pair, window in windows.items()
    ]


def block_sections(blocks: Iterable[Block]) -> dict[str, slice]:
    """Return the rows of each block in the data vector, by its name."""
    out, start = {}, 0
    for block in blocks:
        out[block.name] = slice(start, start + len(block))
        start += len(block)
    return out


def bandpower_name(blocks: Sequence[Block], row: int) -> str:
    """Name the bandpower of a row of the data vector."""
    for block in blocks:
        if row < len(block):
            return f"{block.name} bandpower {row + 1}"
        row -= len(block)
    return "beyond the bandpowers"


@dataclass(frozen=True)
class Calibrate:
    """Multiply what is seen of spectra by powers of a nuisance parameter.

    A calibration belongs to the spectrum that the maps saw: a pair's own window and all that leaks from it are
    multiplied by the same factor.

    Attributes
    ----------
    nuisance : str
    powers : mapping of str to float
        Pair to power; others are left alone.
    """

    nuisance: str
    powers: Mapping[str, float]


@dataclass(frozen=True)
class AddTemplate(OnDevice):
    """Add a nuisance parameter times a template (a foreground).

    Attributes
    ----------
    nuisance : str
    template : torch.Tensor, shape (n_bins,)
        In the units of the data.
    """

    nuisance: str
    template: torch.Tensor
