"""The spectrum product: SACC with bandpowers, covariance and windows, and what reads it back.

Tracers are `<map>_T` (spin 0) and `<map>_P` (spin 2); `cl_0e` of (a_T, b_P) is T of a times E of b. Bandpowers and
windows are of the sky, so the beam of a tracer, which is what its bandpowers still hold, is one; beam times pixel window
of the map, which was divided out, is the column "deconvolved" beside it.
Values are D_b in uK^2 and windows act on D_l, as everywhere in cmbfit; SACC keeps one window per
point, so the E-B leakage windows lie in a second file beside the product, :func:`leakage_path`.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sacc
from astropy.io import fits

from cmbfit.errors import SpectrumError
from cmbfit.fits_structure import check_structure
from cmbfit.io import atomic_file, atomic_path, parse_json, reading, require_sha256
from cmbfit.sky.maps import Array
from cmbfit.spectra.estimate import Estimate
from cmbfit.spectra.master import Spectra, Transfer, spectrum_of
from cmbfit.spectra.reach import window_reach
from cmbfit.spectra.sacc_file import FORMAT, load_sacc
from cmbfit.spectra.transforms import SPECTRA

_LEAKAGE = "leakage_sha256"
COMBINED = ("tt", "ee", "bb", "te", "eb", "tb")
_TYPES = {
    "tt": "cl_00", "te": "cl_0e", "et": "cl_0e", "tb": "cl_0b", "bt": "cl_0b",
    "ee": "cl_ee", "eb": "cl_eb", "be": "cl_be", "bb": "cl_bb",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Bandpowers:
    """Bandpowers of several spectra with one covariance.

    Attributes
    ----------
    names : tuple of str
        Spectra in the order of the data vector.
    centres : ndarray, shape (n,)
        Mean multipole of each bin.
    edges : tuple of int
        Half-open bins.
    values : mapping name -> ndarray, shape (n,)
        D_b in uK^2.
    covariance : ndarray, shape (len(names) n, len(names) n)
        uK^4.
    windows : mapping (to, source) -> ndarray, shape (n, lmax + 1)
        Response of D_b to D_l, from l = 0.
    meta : mapping
        fsky, maps, units, settings, provenance.
    """

    names: tuple[str, ...]
    centres: Array
    edges: tuple[int, ...]
    values: Mapping[str, Array]
    covariance: Array
    windows: Mapping[tuple[str, str], Array]
    meta: Mapping[str, Any]

    @classmethod
    def of(cls, estimate: Estimate) -> Bandpowers:
        """Return the data part of an estimate."""
        m = estimate.master
        names = tuple(s for s in SPECTRA if s in estimate.bandpowers)
        return cls(
            names,
            m.bins.centres,
            m.bins.edges,
            estimate.bandpowers,
            estimate.covariance,
            {key: w for key, w in m.windows.items() if key[0] in names},
            estimate.info,
        )

    @property
    def n(self) -> int:
        """Number of bins."""
        return self.centres.size

    def _slice(self, name: str) -> slice:
        if name not in self.names:
            raise SpectrumError(f"no spectrum {name!r}, there are {self.names}")
        k = self.names.index(name)
        return slice(k * self.n, (k + 1) * self.n)

    def block(self, one: str, two: str | None = None) -> Array:
        """Return a block of the covariance, shape (n, n)."""
        return self.covariance[self._slice(one), self._slice(two or one)]

    def error(self, name: str) -> Array:
        """Return the standard deviations of a spectrum, shape (n,)."""
        return np.sqrt(np.diag(self.block(name)))

    def theory(self, dl: Spectra) -> dict[str, Array]:
        """Return the expected bandpowers of theory D_l from l = 0; missing spectra count as zero.

        The theory must go as far as windows weigh it (:func:`~cmbfit.spectra.reach.window_reach`).
        """
        out = {name: np.zeros(self.n) for name in self.names}
        for (to, source), window in self.windows.items():
            values = spectrum_of(dl, source)
            if to in out and values is not None:
                size = min(window.shape[1], values.size)
                if values.size < window.shape[1] and size <= (reach := window_reach(window)):
                    raise SpectrumError(
                        f"theory {source} up to l = {size - 1}, windows of {to} reach {reach}"
                    )
                out[to] = out[to] + window[:, :size] @ values[:size]
        return out

    def chi2(self, name: str, model: Array | None = None) -> tuple[float, int]:
        """Return chi^2 of a spectrum against binned `model` (zero when omitted) and its degrees of freedom."""
        delta = self.values[name] - (0.0 if model is None else model)
        return float(delta @ np.linalg.solve(self.block(name), delta)), self.n

    def combined(self) -> Bandpowers:
        """Return six spectra: te, eb, tb become the means of te and et, eb and be, tb and bt (or the one that there is)."""
        if set(self.names) <= set(COMBINED):
            return self
        parts = {n: [s for s in dict.fromkeys((n, n[::-1])) if s in self.names] for n in COMBINED}
        parts = {n: found for n, found in parts.items() if found}
        mix = np.zeros((len(parts), len(self.names)))
        for k, found in enumerate(parts.values()):
            for part in found:
                mix[k, self.names.index(part)] = 1 / len(found)
        matrix = np.kron(mix, np.eye(self.n))
        values = {n: np.mean([self.values[s] for s in found], axis=0) for n, found in parts.items()}
        windows: dict[tuple[str, str], Array] = {}
        for (to, source), w in self.windows.items():
            # a common theory te = et is assumed, so windows of both sources add up
            key = tuple(s if s in COMBINED else s[::-1] for s in (to, source))
            share = 1 / len(parts[key[0]])
            windows[key[0], key[1]] = windows.get((key[0], key[1]), 0.0) + share * w
        covariance = matrix @ self.covariance @ matrix.T
        return Bandpowers(tuple(parts), self.centres, self.edges, values, covariance, windows, self.meta)


def leakage_path(path: str | Path) -> Path:
    """Return where the leakage windows of the product `path` lie."""
    path = Path(path)
    stem = path.name.removesuffix(".fits").removesuffix(".sacc")
    return path.with_name(f"{stem}.leakage.fits")


def write_spectra(path: str | Path, estimate: Estimate, settings: Mapping[str, Any] | None = None) -> None:
    """Publish an estimate as SACC, and its leakage windows beside it.

    Parameters
    ----------
    settings : mapping, optional
        JSON-able facts to keep in the file (beams, pixel window, map histories).
    """
    data, m = Bandpowers.of(estimate), estimate.master
    names = {"a": str(data.meta.get("map_a") or "a"), "b": str(data.meta.get("map_b") or "b")}
    if names["a"] == names["b"]:
        raise SpectrumError(f"cross-spectra need two maps of different names, found {names['a']!r} twice")
    beams: dict[str, Transfer | None] = {names["a"]: m.transfer_a, names["b"]: m.transfer_b}
    _write(path, data, (names["a"], names["b"]), beams, settings or {})


def write_combined(
    path: str | Path, data: Bandpowers, name: str = "cmb", settings: Mapping[str, Any] | None = None
) -> None:
    """Publish combined spectra (tt, ee, bb, te, eb, tb) of one sky as SACC, leakage windows beside it.

    Parameters
    ----------
    data : Bandpowers
        From :func:`cmbfit.spectra.combination.combine` or :meth:`Bandpowers.combined`.
    name : str
        Of the tracers, `<name>_T` and `<name>_P`.
    """
    if not data.names or not set(data.names) <= set(COMBINED):
        raise SpectrumError(f"combined spectra are {COMBINED}, found {data.names}")
    _write(path, data, (name, name), {name: None}, settings or {})


def _write(
    path: str | Path,
    data: Bandpowers,
    names: tuple[str, str],
    beams: Mapping[str, Transfer | None],
    settings: Mapping[str, Any],
) -> None:
    out = sacc.Sacc()
    ell = np.arange(next(iter(data.windows.values())).shape[1])
    polarised = any(set(s) - {"t"} for s in data.names)
    for name, transfer in beams.items():
        for kind, spin in (("T", 0), ("P", 2)) if polarised else (("T", 0),):
            extra = {} if transfer is None else {"deconvolved": transfer.of(kind.lower())}
            out.add_tracer(
                "Map", f"{name}_{kind}", quantity=f"cmb_{'temperature' if spin == 0 else 'polarization'}",
                spin=spin, ell=ell, beam=np.ones(ell.size), beam_extra=extra, map_unit="uK_CMB",
            )  # fmt: skip
    for s in data.names:
        window = sacc.BandpowerWindow(ell, data.windows[s, s].T)
        first, second = _tracers(s, *names)
        out.add_ell_cl(_TYPES[s], first, second, data.centres, data.values[s], window=window)
    out.add_covariance(data.covariance)
    out.metadata["format"] = FORMAT
    out.metadata["units"] = "D_l = l(l+1)C_l/2pi in uK_CMB^2"
    out.metadata["beams"] = "deconvolved: bandpowers are of the sky"
    out.metadata["fsky"] = float(data.meta.get("fsky", np.nan))
    hdus = [fits.PrimaryHDU()]
    hdus += [fits.ImageHDU(w, name=f"{to}_{s}".upper()) for (to, s), w in data.windows.items() if to != s]
    image = io.BytesIO()
    fits.HDUList(hdus).writeto(image)
    meta = {**data.meta, **settings, "format": FORMAT, "units": "D_l, uK^2", "map_a": names[0],
            "map_b": names[1], "names": list(data.names), "edges": list(data.edges),
            _LEAKAGE: hashlib.sha256(image.getbuffer()).hexdigest()}  # fmt: skip
    text = json.dumps(meta, allow_nan=False)
    out.metadata["parts"] = -(-len(text) // 60)  # a FITS card is short
    for k in range(out.metadata["parts"]):
        # a bar at each end keeps the blanks that FITS would strip
        out.metadata[f"json{k}"] = f"|{text[60 * k : 60 * (k + 1)]}|"
    # together; SACC takes only names, and builds in memory
    with atomic_file(leakage_path(path)) as leakage, atomic_path(path) as tmp:
        leakage.write(image.getbuffer())
        leakage.flush()
        out.save_fits(str(tmp), overwrite=True)


def _tracers(spectrum: str, a: str, b: str) -> tuple[str, str]:
    first, second = f"{a}_{_kind(spectrum[0])}", f"{b}_{_kind(spectrum[1])}"
    # SACC spells the spin-0 tracer first
    return (second, first) if spectrum in {"et", "bt"} else (first, second)


def _kind(letter: str) -> str:
    return "T" if letter == "t" else "P"


def read_spectra(path: str | Path) -> Bandpowers:
    """Read back what :func:`write_spectra` wrote.

    Raises
    ------
    SpectrumError
        When the file or its leakage windows are missing, damaged or of another format.
    """
    path = Path(path)
    data = load_sacc(path)
    with reading(path, "a SACC file that cmbfit wrote", SpectrumError):
        return _read(path, data)


def _read(path: Path, data: sacc.Sacc) -> Bandpowers:
    if data.metadata.get("format") != FORMAT:
        raise SpectrumError(f"{path}: format {data.metadata.get('format')!r}, expected {FORMAT!r}")
    if not leakage_path(path).is_file():
        raise SpectrumError(
            f"{path}: its leakage windows (E to B) are missing: expected {leakage_path(path)}, which cmbfit wrote beside it; "
            "keep both files together"
        )
    check_structure(leakage_path(path), kind=SpectrumError)
    text = "".join(str(data.metadata[f"json{k}"])[1:-1] for k in range(int(data.metadata["parts"])))
    meta = parse_json(text)
    # of two files that were published together: a crash between them would leave windows of another product
    require_sha256(leakage_path(path), meta.pop(_LEAKAGE, None))
    a, b = meta["map_a"], meta["map_b"]
    values, windows, order = {}, {}, []
    centres = np.zeros(0)
    names = tuple(meta.get("names", SPECTRA))  # files of the first release hold all nine and do not say so
    for s in names:
        first, second = _tracers(s, a, b)
        centres, mean, index = data.get_ell_cl(_TYPES[s], first, second, return_ind=True)
        if mean.size == 0:
            raise SpectrumError(f"{path}: no spectrum {s}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            window = data.get_bandpower_windows(index)
        # FITS is big-endian, torch is not
        values[s] = np.asarray(mean, dtype=np.float64)
        windows[s, s] = np.asarray(window.weight, dtype=np.float64).T
        order += list(index)
    with (
        reading(leakage_path(path), "the leakage windows of a product", SpectrumError),
        fits.open(leakage_path(path), memmap=False) as hdus,
    ):
        for h in hdus[1:]:
            to, source = h.name.lower().split("_")
            windows[to, source] = np.asarray(h.data, dtype=np.float64)
    covariance = np.asarray(data.covariance.dense, dtype=np.float64)[np.ix_(order, order)]
    return Bandpowers(names, np.asarray(centres), tuple(meta["edges"]), values, covariance, windows, meta)
