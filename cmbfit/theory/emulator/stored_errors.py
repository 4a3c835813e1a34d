"""An emulator's errors by multipole, as bundles hold them: whole, or thinned to bins where space counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_PREFIX, _EDGES = "accuracy.", "accuracy.edges"
_EACH = 60  # multipoles below which each stands alone
_PER_E_FOLD = 40  # bins beyond


def error_arrays(per_ell: Mapping[str, np.ndarray], *, thin: bool) -> dict[str, np.ndarray]:
    """Return a bundle's arrays of errors.

    Parameters
    ----------
    per_ell : mapping of str to numpy.ndarray, shape (4, lmax + 1)
        By pair, see :class:`~cmbfit.theory.emulator.accuracy.Accuracy`.
    thin : bool
        Hold the largest error of each bin in l, as float16, with the bins' first multipoles.
    """
    if not thin:
        return {_PREFIX + pair: errors.astype(np.float32) for pair, errors in per_ell.items()}
    n = next(iter(per_ell.values())).shape[1]
    edges = _edges(n)
    out = {_PREFIX + p: np.maximum.reduceat(x, edges, axis=1).astype(np.float16) for p, x in per_ell.items()}
    return {_EDGES: edges.astype(np.int32), **out}


def _edges(n: int) -> np.ndarray:
    """Return the first multipole of each bin of `n` multipoles from 0."""
    if n <= _EACH:
        return np.arange(n)
    beyond = _EACH * np.exp(np.arange(int(_PER_E_FOLD * np.log(n / _EACH)) + 1) / _PER_E_FOLD)
    return np.unique(np.concatenate([np.arange(_EACH), np.minimum(beyond.astype(int), n - 1)]))


def errors_by_multipole(arrays: Mapping[str, np.ndarray], lmax: int) -> dict[str, np.ndarray]:
    """Return errors by pair, each (4, lmax + 1), of a bundle's arrays; of thinned ones those of the bin.

    Examples
    --------
    >>> errors = {"tt": np.linspace(0, 1, 4 * 201).reshape(4, 201)}
    >>> back = errors_by_multipole(error_arrays(errors, thin=True), 200)["tt"]
    >>> back.shape, bool((back >= errors["tt"] - 1e-3).all()), bool((back <= errors["tt"] + 6e-3).all())
    ((4, 201), True, True)
    """
    pairs = {k.removeprefix(_PREFIX): x for k, x in arrays.items() if k.startswith(_PREFIX) and k != _EDGES}
    if _EDGES not in arrays:
        return pairs
    widths = np.diff(np.append(arrays[_EDGES], lmax + 1))
    return {pair: np.repeat(x.astype(float), widths, axis=1) for pair, x in pairs.items()}
