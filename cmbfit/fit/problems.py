"""What is wrong with a fit, gathered over its parts and said at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cmbfit.errors import CmbfitError, CodeNotAllowedError, ConfigError


class Problems:
    """Mistakes of one section of a configuration.

    Parameters
    ----------
    where : str
        The section's place, ``fits.NAME``, put before what does not say it.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._errors: list[CmbfitError] = []

    @contextmanager
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
