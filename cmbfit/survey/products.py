"""Files between the stages: coefficients of one masked split, and all cross-spectra of a survey (HDF5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.io import atomic_hdf5, reading, sha256_file
from cmbfit.sky.maps import Array
from cmbfit.spectra.transforms import FieldAlms

_ALMS, _PAIRS = "cmbfit-alms-1", "cmbfit-pairs-1"


def _open(path: str | Path, expected: str) -> h5py.File:
    try:
        file = h5py.File(path)
    except OSError as error:
        raise SpectrumError(f"{path}: expected an HDF5 file, found: {error}") from error
    if file.attrs.get("format") != expected:
        found = file.attrs.get("format")
        file.close()
        raise SpectrumError(f"{path}: format {found!r}, expected {expected!r}")
    return file


def mask_label(mask: str | Path, mask_p: str | Path | None = None) -> str:
    """Return what coefficients say of the masks that made them: sha256 of the mask, and of that of Q, U if apart."""
    both = [mask] if mask_p is None or str(mask_p) == str(mask) else [mask, mask_p]
    return " ".join(sha256_file(m) for m in both)


def write_alms(path: str | Path, alms: FieldAlms, label: str) -> None:
    """Publish coefficients of a masked map in uK.

    Parameters
    ----------
    label : str
        Of :func:`mask_label`; coefficients under different masks must not be mixed.
    """
    with atomic_hdf5(path) as f:
        f.attrs.update({"format": _ALMS, "lmax": alms.lmax, "mask": label, "polarised": alms.polarised})
        for key in "teb":
            f.create_dataset(key, data=getattr(alms, key))


def read_alms(path: str | Path, label: str | None = None) -> FieldAlms:
    """Read what :func:`write_alms` wrote; refuse another mask than the one given."""
    with reading(path, "coefficients of a masked map", SpectrumError), _open(path, _ALMS) as f:
        if label is not None and f.attrs["mask"] != label:
            raise SpectrumError(f"{path}: made under another mask (sha256 {f.attrs['mask']}); make it again")
        t, e, b = (np.asarray(f[key][()], dtype=np.complex128) for key in "teb")
        return FieldAlms(t, e, b, int(f.attrs["lmax"]), bool(f.attrs.get("polarised", True)))


@dataclass(frozen=True, eq=False)
class PairSpectra:
    """All cross-spectra of a survey before they are combined.

    Attributes
    ----------
    entries : tuple of (spectrum, field, field)
    edges : tuple of int
        Half-open bins.
    values, theory : ndarray, shape (entries, bins)
        Measured and expected D_b in uK^2.
    used : ndarray of bool, shape (entries, bins)
        Whether the bandpower lies inside its multipole range and is combined.
    covariance : ndarray, shape (entries * bins, entries * bins)
        uK^4, with the error of the template coefficients.
    facts : mapping
        Numbers or text, for example noise levels.
    """

    entries: tuple[tuple[str, str, str], ...]
    edges: tuple[int, ...]
    values: Array
    theory: Array
    used: Array
    covariance: Array = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Entries as text, "tt VxW"."""
        return tuple(f"{s} {a}x{b}" for s, a, b in self.entries)

    @property
    def errors(self) -> Array:
        """Standard deviations, shape (entries, bins)."""
        return np.sqrt(np.diag(self.covariance)).reshape(self.values.shape)


def write_pairs(path: str | Path, pairs: PairSpectra) -> None:
    """Publish all cross-spectra."""
    with atomic_hdf5(path) as f:
        f.attrs.update({"format": _PAIRS, "units": "D_l = l(l+1)C_l/2pi in uK_CMB^2"})
        f.create_dataset("entries", data=np.array(pairs.entries, dtype="S"))
        f.create_dataset("edges", data=np.array(pairs.edges))
        for key in ("values", "theory", "used", "covariance"):
            f.create_dataset(key, data=getattr(pairs, key), compression="gzip")
        for key, value in pairs.facts.items():
            f.attrs[key] = value
