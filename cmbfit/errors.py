"""Typed errors: each message says what was expected, what was found and what to do.

The command line maps every :class:`CmbfitError` to exit code 2.
"""

from __future__ import annotations

import contextlib
import difflib
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict = 3, 4, 4
_SHORT.maxstring = _SHORT.maxother = 100


def shown(value: Any) -> str:
    """Return a value as a message shows it: a file may hold values whose text would fill the memory.

    Examples
    --------
    >>> shown(list(range(100)))
    '[0, 1, 2, 3, ...]'
    """
    return _SHORT.repr(value)


def printable(text: str, keep: str = "\n\t") -> str:
    r"""Return a text as a terminal may show it: what would move its cursor, colour or turn it becomes an escape.

    Examples
    --------
    >>> printable("a title\x1b[2J")
    'a title\\x1b[2J'
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    r"""Return a text as one line: line breaks become spaces, the rest as :func:`printable`.

    Examples
    --------
    >>> one_line("a\nb")
    'a b'
    """
    return printable(" ".join(text.split()))


class CmbfitError(Exception):
    """Base class of every error that cmbfit raises on purpose."""


class ConfigError(CmbfitError):
    """A configuration value is missing, unknown or out of range."""


class CodeNotAllowedError(ConfigError):
    """A configuration names code of the user's own, and nobody has allowed it to run."""


class MissingCodeError(CmbfitError):
    """An optional external code was asked for and is not installed."""


class DataError(CmbfitError):
    """A data file is missing, truncated, altered or not in the documented format."""


class ChecksumError(DataError):
    """The bytes of a file are not the ones that the registry names."""


class DownloadError(DataError):
    """A file could not be had from any of its sources."""


class WriteError(CmbfitError, OSError):
    """A file cannot be written: the disk is full, the folder is not writable."""


class MapError(DataError):
    """A sky map or mask is ambiguous or unusable (units, ordering, NaN pixels, ...)."""


class SpectrumError(CmbfitError):
    """A power spectrum does not cover what is asked of it (multipoles, pairs, columns)."""


class ParameterError(CmbfitError):
    """A parameter is unknown, missing, given twice or not a finite number."""


class OutsideBoxError(ParameterError):
    """A point lies outside the range in which an emulator was trained."""


class BundleError(DataError):
    """An emulator bundle is damaged or does not reproduce its own reference predictions."""


class LikelihoodError(CmbfitError):
    """Likelihoods, priors and theory do not fit together (missing spectra, double counting)."""


class ComparisonError(CmbfitError):
    """Fits that cannot be held against each other (other data, other priors of the same calibration)."""


class DeviceError(CmbfitError):
    """A device is not there, lacks float64, or something cannot be moved to it."""


class ResumeError(CmbfitError):
    """A checkpoint was made from other inputs than the ones at hand."""


class KilledError(CmbfitError):
    """A process that worked for this one was killed: memory ran out, or someone sent a signal."""


class SamplerError(CmbfitError):
    """A chain cannot start or did not converge within its limits."""


class SolverError(CmbfitError):
    """A differential equation cannot be integrated as asked."""


class InflationError(SolverError):
    """A potential does not inflate as asked (too few e-folds, no end, negative energy)."""


class FormulaError(ParameterError):
    """A formula does not parse, or uses something that is not allowed in formulas."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown name, with the nearest known one."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})"


def named(section: Mapping[str, Any], name: str, where: str, kind: str = "name") -> Any:
    """Return a named part of a section of the configuration, or raise :class:`ConfigError` with the names there are."""
    if name not in section:
        raise ConfigError(f"{where}: {unknown_name(kind, name, section)}")
    return section[name]


@contextlib.contextmanager
def at(where: str) -> Iterator[None]:
    """Name the place of the configuration in an error about its value, unless the error does.

    Parameters
    ----------
    where : str
        Keys from the top, with dots.

    Examples
    --------
    >>> with at("maps.mask"):
    ...     raise DataError("x.fits: not in the data registry")
    Traceback (most recent call last):
    cmbfit.errors.DataError: maps.mask: x.fits: not in the data registry
    """
    try:
        yield
    except CmbfitError as error:
        if str(error).startswith(where):
            raise
        raise type(error)(f"{where}: {error}") from error


class Problems:
    """Mistakes of one section of a configuration, gathered over its parts and said at once.

    Parameters
    ----------
    where : str
        The section's place, ``fits.NAME``, put before what does not say it.
    """

    def __init__(self, where: str = "") -> None:
        self._where = where
        self._errors: list[CmbfitError] = []

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """Keep a typed error for later; nothing after it in the block is done."""
        try:
            yield
        except CmbfitError as error:
            self._errors.append(error)

    def stop(self) -> None:
        """Raise what was gathered, if anything was.

        Raises
        ------
        ConfigError
            With a line for each.
        CodeNotAllowedError
            If one of them is: whose code may run is asked of the user, and the kind of the error says so.
        """
        if not self._errors:
            return
        texts = dict.fromkeys(str(error) for error in self._errors)
        lines = [t if t.startswith(self._where) else self._where + _joint(t) + t for t in texts]
        asks = any(isinstance(error, CodeNotAllowedError) for error in self._errors)
        raise (CodeNotAllowedError if asks else ConfigError)("\n".join(lines)) from self._errors[0]


def _joint(text: str) -> str:
    return "." if text.startswith("theory") else ": "  # a theory knows its own keys, not its fit's
