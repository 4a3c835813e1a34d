"""An imprint seen through linear functionals: bandpowers of a data set in place of every multipole.

With the functionals pulled back to P(k) once, a point costs one small matrix product. The corrections of
the expansion act on few directions of the bandpowers that matter: the others are dropped below a stated
level.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from cmbfit.device import OnDevice
from cmbfit.errors import SpectrumError
from cmbfit.theory.lensing_response import LensingResponse
from cmbfit.theory.transfer.expansion import TransferExpansion

LEVEL = 3e-3
"""Dropped directions of the corrections, in units of the rows, for a change of P by ten percent of itself."""

_PAIRS = ("tt", "te", "ee", "pp")


class ProjectedImprint(OnDevice):
    """Rows of numbers that are linear in the lensed imprint: sum over pairs of rows_pair D_pair.

    Parameters
    ----------
    expansion : TransferExpansion
    lensing : LensingResponse
    rows : mapping of str to torch.Tensor
        Lensed tt, te, ee, bb, or pp alone, to functionals on D_l from l = 0, shape (n_rows, <= lmax + 1). In
        units in which one is a standard deviation of the data.
    power : torch.Tensor, shape (n_k,)
        P at the expansion's nodes, which says how large a change of P can be.
    spread : torch.Tensor, shape (n_k, n_coarse), optional
        Interpolation from fewer nodes, at which P is then given.

    Attributes
    ----------
    n_directions : int
        Directions of the rows that the corrections act on.
    """

    def __init__(
        self,
        expansion: TransferExpansion,
        lensing: LensingResponse,
        rows: Mapping[str, torch.Tensor],
        power: torch.Tensor,
        spread: torch.Tensor | None = None,
    ) -> None:
        self._expansion = expansion
        self._damped = "pp" not in rows
        if not self._damped and len(rows) > 1:
            raise SpectrumError("rows of the lensing potential and of the CMB are projected apart")
        self._base, corrections = expansion.pull_back(_before_lensing(lensing, rows, expansion.lmax))
        corrections = corrections.float()
        size = (0.1 * power).float()
        gram = sum(((x * size) @ (x * size).T).double() for x in corrections)
        values, vectors = torch.linalg.eigh(gram)
        # singular values rise; what is dropped adds up in quadrature
        dropped = values.clamp_min(0).cumsum(0).sqrt() < LEVEL
        self._directions = vectors[:, ~dropped]  # shape: (n_rows, n_directions)
        self.n_directions = self._directions.shape[1]
        left, right = self._directions.T.float(), None if spread is None else spread.float()
        kept = [left @ x if right is None else left @ x @ right for x in corrections]
        self._corrections = torch.cat(kept)  # shape: (term direction, k)
        self._base = self._base if spread is None else self._base @ spread

    def __call__(
        self,
        background: torch.Tensor,  # shape: (batch, 4)
        change: torch.Tensor,  # shape: (batch, n_k)
    ) -> torch.Tensor:  # shape: (batch, n_rows)
        """Return the rows for a change of P at each background's own wavenumbers."""
        terms = self._expansion.terms(background)
        parts = (change.float() @ self._corrections.T).double().view(len(change), terms.shape[1], -1)
        moved = torch.einsum("btd,bt->bd", parts, terms) @ self._directions.T
        total = change @ self._base.T + moved
        return total * self._expansion.damping(background) if self._damped else total


def _before_lensing(
    lensing: LensingResponse, rows: Mapping[str, torch.Tensor], lmax: int
) -> dict[str, torch.Tensor]:
    """Return the same functionals of the unlensed change, shape (n_rows, lmax + 1)."""
    n_rows = len(next(iter(rows.values())))
    if "pp" in rows:
        like = rows["pp"]
        return {"pp": torch.nn.functional.pad(like, (0, lmax + 1 - like.shape[1]))}
    one = next(iter(rows.values()))
    zero = {p: one.new_zeros(n_rows, lmax + 1).requires_grad_(True) for p in _PAIRS}
    with torch.enable_grad():
        lensed = lensing(zero)
        total = torch.stack([(lensed[p][:, : x.shape[1]] * x).sum() for p, x in rows.items()]).sum()
    # data of one spectrum alone depend on no other: zeros there
    gradients = torch.autograd.grad(total, list(zero.values()), materialize_grads=True)
    return dict(zip(_PAIRS, gradients, strict=True))
