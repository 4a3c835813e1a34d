"""The product of every theory: batched power spectra in one convention.

D_l = l(l+1)C_l/2pi in uK^2 from l = 0, COSMO polarisation, float64. For `pp` the stored quantity is
[L(L+1)]^2 C_L^phiphi / 2pi, dimensionless, as in CAMB and Planck's files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch

from cmbfit.errors import SpectrumError

PAIRS = ("tt", "te", "ee", "bb", "tb", "eb", "pp")

CMB_PAIRS = ("tt", "te", "ee", "bb")
"""Those of a universe that does not tell left from right."""

BOLTZMANN_PAIRS = (*CMB_PAIRS, "pp")
"""Those that Boltzmann codes give."""


@dataclass(frozen=True)
class Spectra:
    """Theory spectra of a batch of models.

    Parameters
    ----------
    dl : mapping of str to torch.Tensor
        Pair name (one of :data:`PAIRS`) to D_l in uK^2, shape (batch, lmax + 1), float64, l from 0.
    parameters : mapping of str to torch.Tensor
        Parameter table of the batch, each of shape (batch,). Derived parameters included.

    Raises
    ------
    SpectrumError
        If the shapes disagree, a pair is unknown, or the numbers are not float64.
    """

    dl: Mapping[str, torch.Tensor]
    parameters: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {name: tuple(x.shape) for name, x in self.dl.items()}
        if not shapes:
            raise SpectrumError("Spectra needs at least one pair of fields")
        if bad := [name for name in shapes if name not in PAIRS]:
            raise SpectrumError(f"unknown pair {bad[0]!r}; expected one of {', '.join(PAIRS)}")
        if len(set(shapes.values())) != 1 or len(next(iter(shapes.values()))) != 2:
            raise SpectrumError(f"expected one shape (batch, lmax+1) for all pairs, found {shapes}")
        if any(x.dtype != torch.float64 for x in self.dl.values()):
            raise SpectrumError("spectra are float64; convert before building Spectra")

    @property
    def lmax(self) -> int:
        """Largest multipole."""
        return next(iter(self.dl.values())).shape[1] - 1

    @property
    def batch(self) -> int:
        """Number of models."""
        return next(iter(self.dl.values())).shape[0]

    def require(self, pairs: Iterable[str], lmax: int) -> None:
        """Raise :class:`SpectrumError` unless all `pairs` are here up to `lmax`."""
        if missing := [p for p in pairs if p not in self.dl]:
            raise SpectrumError(
                f"spectra needed but not given: {', '.join(missing)}; found {', '.join(self.dl)}"
            )
        if self.lmax < lmax:
            raise SpectrumError(f"spectra must reach l = {lmax}; they stop at l = {self.lmax}")
