"""Templates that are fitted to a map by least squares and taken off: monopole and dipole, foregrounds, systematics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.harmonic import Alm
from cmbfit.sky.maps import Array, Mask, StokesMap, projected
from cmbfit.sky.pixelisation import Pixelisation
from cmbfit.sky.preprocess import MONOPOLE_DIPOLE, require_data

_STEP = "deproject templates"


class _MonopoleDipole(Sequence[Array]):
    """The maps 1, x, y, z, each made when it is asked for: four at nside 2048 fill 1.6 GB."""

    def __init__(self, grid: Pixelisation) -> None:
        self._grid = grid

    def __len__(self) -> int:
        return 4

    def __getitem__(self, k):  # type: ignore[no-untyped-def]
        if not 0 <= k < len(self):
            raise IndexError(k)
        if k == 0:
            return np.ones(self._grid.npix)
        return projected(self._grid, np.eye(3)[k - 1])


@dataclass(frozen=True, eq=False)
class Templates:
    """What was fitted to the maps of a field with weights and subtracted before their spectra.

    Windows hold what such a fit takes of the sky (:mod:`cmbfit.spectra.filters`) when the field says so.

    Attributes
    ----------
    t : sequence of ndarray, shape (npix,)
        Of I; none when empty.
    p : sequence of ndarray, shape (2, npix)
        Of (Q, U), one coefficient for both.
    weights_t, weights_p : ndarray, shape (npix,)
        Of the fits: the mask for :func:`~cmbfit.sky.remove_monopole_dipole`, its square in NaMaster.
    """

    t: Sequence[Array] = field(default=(), repr=False)
    p: Sequence[Array] = field(default=(), repr=False)
    weights_t: Array | None = field(default=None, repr=False)
    weights_p: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for maps, weights, name in ((self.t, self.weights_t, "t"), (self.p, self.weights_p, "p")):
            if len(maps) and weights is None:
                raise SpectrumError(f"templates {name}: expected the weights of their fit (weights_{name})")

    def weights(self, letter: str) -> Array:
        """Return the weights of the fit of the field "t", "e" or "b"."""
        found = self.of(letter)[1]
        if found is None:
            raise SpectrumError(f"templates of {letter!r}: there are none")
        return found

    def of(self, letter: str) -> tuple[Sequence[Array], Array | None]:
        """Return the maps of the field "t", "e" or "b", and the weights of their fit."""
        return (self.t, self.weights_t) if letter == "t" else (self.p, self.weights_p)

    def rows(self, letter: str) -> Iterator[Array]:
        """Yield the templates of a field with one spin axis, shape (1 or 2, npix), zero outside the fit."""
        maps, weights = self.of(letter)
        for one in maps:
            values = np.atleast_2d(one)
            if weights is None or values.shape != (1 if letter == "t" else 2, weights.size):
                size = 0 if weights is None else weights.size
                raise SpectrumError(f"template of shape {values.shape} beside weights of {size} pixels")
            yield np.where(weights > 0, values, 0.0)

    def normal(self, letter: str) -> Array:
        """Return the inverse of the normal matrix f_i . v f_j of the fit.

        Raises
        ------
        SpectrumError
            When the weights cannot tell the templates apart.
        """
        weights = self.weights(letter)
        found = list(self.rows(letter))
        matrix = np.array([[float((a * weights * b).sum()) for b in found] for a in found])
        scale = np.sqrt(np.diag(matrix))
        if not (scale > 0).all() or np.linalg.cond(matrix / np.outer(scale, scale)) > 1e12:
            raise SpectrumError(
                f"{len(found)} templates of {letter!r}: they are zero or alike where the fit has weight; leave some out"
            )
        return np.linalg.inv(matrix)


@dataclass(frozen=True, eq=False)
class CleanedModes:
    """What a fit on other maps, coarser for one, took from E and B of a field: sum_i g_i (u_i . sky).

    Attributes
    ----------
    g : ndarray, shape (templates, 2, n)
        Coefficients of E and B of the templates under the field's mask.
    u : ndarray, shape (templates, 2, m)
        Whose scalar product with the coefficients of the field's sky, beam included, is that of the fit.
    """

    g: Alm = field(repr=False)
    u: Alm = field(repr=False)


def monopole_dipole(mask: Mask) -> Templates:
    """Return what :func:`cmbfit.sky.remove_monopole_dipole` takes from I under a mask."""
    return Templates(t=_MonopoleDipole(mask.grid), weights_t=mask.weights * mask.grid.relative_area())


def deproject(stokes: StokesMap, templates: Templates, mask: Mask) -> StokesMap:
    """Subtract templates fitted by least squares.

    Parameters
    ----------
    mask : Mask
        Says which pixels have data; weights of the fit are those of the templates.
    """
    require_data(stokes, mask)
    changes: dict[str, Array] = {}
    found: dict[str, list[float]] = {}
    for letter, names in (("t", "i"), ("e", "qu")):
        maps = list(templates.rows(letter))
        if not maps:
            continue
        weights = templates.weights(letter)
        values = np.stack([np.where(weights > 0, getattr(stokes, x), 0.0) for x in names])
        if not np.isfinite(values).all():
            raise SpectrumError(
                f"map {stokes.name!r}: the fit of templates has weight on pixels without data"
            )
        c = templates.normal(letter) @ np.array([float((f * weights * values).sum()) for f in maps])
        left = np.stack([getattr(stokes, x) for x in names]) - sum(
            a * f for a, f in zip(c, maps, strict=True)
        )
        changes |= dict(zip(names, left, strict=True))
        found[names] = c.tolist()
    return stokes.step({"step": _STEP, "coefficients": found}, **changes)


def filtered_steps(stokes: StokesMap) -> set[str]:
    """Return which steps of a map's history took modes of the sky away."""
    return {str(r.get("step")) for r in stokes.history} & {MONOPOLE_DIPOLE, _STEP}
