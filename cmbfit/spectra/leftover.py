"""What pixels leave of E in pure B: measured on skies of E alone, against the B that is sought.

Pure B is blind to E on the continuous sphere. On pixels the derivatives of the mask and the sums are not exact, and E is
a hundred to a thousand times B: at the lowest multipoles of small patches what is left can exceed lensing B. It is a
bias, of which neither windows nor covariance know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.harmonic import alm2map, scale_alm
from cmbfit.sky.maps import Array, StokesMap
from cmbfit.sky.simulate import draw_alm
from cmbfit.spectra.binning import dl_factor
from cmbfit.spectra.fields import Field
from cmbfit.spectra.gradients import mask_derivatives
from cmbfit.spectra.master import Spectra
from cmbfit.spectra.multi import Pair, Plan, mean_pseudo
from cmbfit.spectra.purify import pure_alms

_MATTERS = 0.1


@dataclass(frozen=True, eq=False)
class Leftover:
    """BB of a sky without B.

    Attributes
    ----------
    dl, error : ndarray, shape (bins,)
        Mean bandpower in uK^2 and its error. Below zero where the inversion takes off more than there is: what pixels leave
        has not the shape that B would have.
    """

    dl: Array
    error: Array

    def notes(self, sought: Array, sigma: Array, edges: Sequence[int]) -> list[str]:
        """Return what is to be said: bins where it is more than a tenth of the B sought, or, without any, of the error."""
        compared = sought if (sought > 0).all() else sigma
        share = np.abs(self.dl) / compared
        worst = [k for k in np.flatnonzero(share > _MATTERS).tolist() if abs(self.dl[k]) > 2 * self.error[k]]
        if not worst:
            return []
        what = "of the BB of the theory" if compared is sought else "of the error of BB"
        bins = ", ".join(f"l {edges[k]}-{edges[k + 1] - 1}: {share[k]:.2g}" for k in worst[:6])
        note = f"pure B: pixels leave E in BB, in units {what} {bins}"
        return [f"{note}; leave these bins out, or use a finer nside or a wider apodisation"]


def pure_leftover(
    plan: Plan,
    fields: Sequence[Field],
    signal: Spectra,
    *,
    n_skies: int = 10,
    seed: int = 1,
    nthreads: int = 1,
) -> dict[Pair, Leftover]:
    """Measure BB of skies of E alone for each pair of fields with pure B.

    Parameters
    ----------
    signal : mapping of C_l in uK^2
        Its "ee" is drawn.
    n_skies : int
        At least 2.
    """
    if n_skies < 2:
        raise SpectrumError(f"leftover of pure B: {n_skies} skies, expected at least 2")
    used = {f.name: f for f in fields if f.purify_b}
    pairs = [p for p in plan.masters if set(p) <= set(used)]
    if not pairs:
        return {}
    names = sorted({n for p in pairs for n in p})
    derivatives = {n: mask_derivatives(used[n].mask_of("b")) for n in names}
    rng, lmax = np.random.default_rng(seed), plan.lmax
    zero = np.zeros(lmax + 1)
    dl = {"tt": zero, "te": zero, "bb": zero, "ee": signal["ee"][: lmax + 1] * dl_factor(lmax)}
    found = {p: np.empty((n_skies, plan.bins.n)) for p in pairs}
    for k in range(n_skies):
        e = draw_alm(dl, lmax, rng)[1]
        alms = {}
        for n in names:
            f = used[n]
            smooth = scale_alm(e, f.transfer.p)
            q, u = alm2map(np.stack([smooth, np.zeros_like(smooth)]), f.mask.grid, 2, nthreads)
            sky = StokesMap(np.zeros_like(q), q, u, coord=f.mask.coord, name=n, pixelisation=f.mask.grid)
            alms[n] = pure_alms(sky, f.mask, lmax, derivatives[n], nthreads, f.mask_p, f.iterations)
        for a, b in pairs:
            found[a, b][k] = plan.masters[a, b].operator("bb", "bb") @ mean_pseudo([alms[a]], [alms[b]])["bb"]
    return {p: Leftover(x.mean(axis=0), x.std(axis=0, ddof=1) / np.sqrt(n_skies)) for p, x in found.items()}
