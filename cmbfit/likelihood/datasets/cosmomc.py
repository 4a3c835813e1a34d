"""Reader of CosmoMC's ``.dataset`` files: maps, and spectra of all their pairs with a covariance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cmbfit.errors import DataError, LikelihoodError
from cmbfit.likelihood.datasets.tables import lookup, read_numbers


@dataclass(frozen=True)
class CosmoMCFile:
    """The settings of a ``.dataset`` file and the maps of it that are used.

    Attributes
    ----------
    settings : dict of str to str
    maps : tuple of str
        Used ones, in the order of the file.
    """

    name: str
    settings: dict[str, str]
    maps: tuple[str, ...]

    def value(self, key: str, default: str | None = None) -> str:
        """Return a setting; :class:`DataError` if it is missing and has no default."""
        found = self.settings.get(key, default)
        if found is None:
            raise DataError(f"{self.name}: no setting {key!r}")
        return found

    def flag(self, key: str) -> bool:
        """Return whether a setting is T; it counts as F where it is missing."""
        return self.value(key, "F").upper().startswith("T")

    @property
    def fields(self) -> list[str]:
        """Letter t, e or b of each used map."""
        letters = dict(
            zip(self.value("map_names").split(), self.value("map_fields").lower().split(), strict=True)
        )
        return [letters[m] for m in self.maps]

    @property
    def elements(self) -> list[str]:
        """Names of the spectra in the order (0, 0), (0, 1), ..., (1, 1), ... of the used maps."""
        n = len(self.maps)
        return [f"{self.maps[i]}x{self.maps[j]}" for i in range(n) for j in range(i, n)]

    def columns(self, order: Sequence[str]) -> list[int]:
        """Return where each element stands in a list of spectra, whichever way round it is written.

        Raises
        ------
        DataError
            If a spectrum is missing; with its name.
        """
        place = {}
        for i, spectrum in enumerate(order):
            one, _, two = spectrum.partition("x")
            place[f"{one}x{two}"] = place[f"{two}x{one}"] = i
        if missing := [e for e in self.elements if e not in place]:
            raise DataError(f"{self.name}: no spectrum {missing[0]} among {' '.join(order)[:200]}")
        return [place[e] for e in self.elements]


def read_cosmomc(
    files: Mapping[str, bytes], definition: str, maps: Sequence[str] | None = None
) -> CosmoMCFile:
    """Parse a ``.dataset`` file.

    Parameters
    ----------
    maps : sequence of str, optional
        Maps that are used; all when omitted.

    Raises
    ------
    LikelihoodError
        If a map is not in the file.
    """
    settings = {}
    for line in lookup(files, definition).decode("utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not key.lstrip().startswith("#"):
            settings[key.strip()] = value.strip()
    present = settings.get("map_names", "").split()
    if unknown := [m for m in maps or () if m not in present]:
        raise LikelihoodError(f"{definition}: no map {unknown[0]!r}; found {' '.join(present)}")
    return CosmoMCFile(definition, settings, tuple(m for m in present if maps is None or m in maps))


def read_spectra_table(files: Mapping[str, bytes], file: CosmoMCFile, stem: str) -> np.ndarray:
    """Read bandpowers as matrices of the used maps.

    Parameters
    ----------
    stem : str
        ``cl_hat``, ``cl_noise``, ``cl_fiducial`` or ``offset``: the setting ``<stem>_file`` names the file,
        ``<stem>_order`` the columns; without the latter the file's last comment does.

    Returns
    -------
    numpy.ndarray, shape (n_bins, n_maps, n_maps)
        All bins of the file.
    """
    name = file.value(f"{stem}_file")
    table = np.atleast_2d(read_numbers(files, name))
    order = file.value(f"{stem}_order", "").split()
    if not order:
        comments = [x for x in files[name].decode("utf-8").splitlines() if x.startswith("#")]
        order = comments[-1].lstrip("# ").split()[1:] if comments else []
    if table.shape[1] != len(order) + 1:
        raise DataError(f"{name}: expected {len(order)} spectra after the bin, found {table.shape[1] - 1}")
    n = len(file.maps)
    out = np.zeros((len(table), n, n))
    rows, columns = np.triu_indices(n)
    values = table[:, 1:][:, file.columns(order)]
    out[:, rows, columns] = values
    out[:, columns, rows] = values
    return out


def sub_covariance(
    covariance: np.ndarray, name: str, n_bins: int, bins: Sequence[int], columns: Sequence[int], n_in: int
) -> np.ndarray:
    """Return the covariance of some bins and spectra; bins are the slow index, spectra the fast one.

    Parameters
    ----------
    covariance : numpy.ndarray, shape (n_bins * n_in,) * 2
    columns : sequence of int
        Places of the wanted spectra among the `n_in` of each bin.
    """
    if covariance.shape != (n_bins * n_in, n_bins * n_in):
        raise DataError(
            f"{name}: expected {n_bins} bins x {n_in} spectra = {n_bins * n_in} rows and columns, found shape "
            f"{covariance.shape}"
        )
    index = np.concatenate([b * n_in + np.asarray(columns) for b in bins])
    return covariance[np.ix_(index, index)]
