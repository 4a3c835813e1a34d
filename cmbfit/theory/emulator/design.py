"""Which points of parameter space are computed to train an emulator: scrambled Sobol designs.

A first set fills the box; a second, smaller one fills a `focus` inside it, where published posteriors
lie and the emulator has to be best. Several draws of (logA, ns) share one background, since a further
primordial spectrum costs CAMB a quarter of a new background; extensions that act as late (running, A_L)
vary from draw to draw. One Sobol sequence spans the backgrounds of a set and all their draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from cmbfit.errors import ConfigError
from cmbfit.theory.extensions import PRIMORDIAL_EXTENSIONS, extended_parameters
from cmbfit.theory.parameters import BACKGROUND, LCDM, PRIMORDIAL

LCDM_BOX: dict[str, tuple[float, float]] = {
    "ombh2": (0.019, 0.026),
    "omch2": (0.09, 0.15),
    "theta_mc": (1.02, 1.06),
    "tau": (0.02, 0.15),
    "logA": (2.7, 3.4),
    "ns": (0.88, 1.06),
}

LCDM_FOCUS: dict[
    str, tuple[float, float]
] = {  # Planck 2018, ACT DR6, SPT-3G and their unions, about +-4 sigma
    "ombh2": (0.0216, 0.0233),
    "omch2": (0.112, 0.129),
    "theta_mc": (1.0385, 1.0430),
    "tau": (0.03, 0.09),
    "logA": (2.98, 3.12),
    "ns": (0.94, 1.00),
}


@dataclass(frozen=True)
class Design:
    """A Sobol design over a parameter box, cut into chunks of whole backgrounds.

    Parameters
    ----------
    n_backgrounds : int
        Number of backgrounds in all.
    draws : int
        Primordial draws (logA, ns) per background.
    per_chunk : int
        Backgrounds per chunk (one resumable unit of work).
    seed : int
        Seed of the Sobol scrambling.
    box : mapping of str to (float, float)
        Range of each of :data:`~cmbfit.theory.parameters.LCDM`.
    n_focus : int
        Further backgrounds inside `focus`, numbered after those of the box.
    focus : mapping of str to (float, float)
        Where the design is denser; inside `box`.
    extension : mapping of str to (float, float)
        Range of each further parameter (:data:`~cmbfit.theory.extensions.EXTENSIONS`) that is varied.
    """

    n_backgrounds: int = 768
    draws: int = 4
    per_chunk: int = 16
    seed: int = 20260101
    box: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(LCDM_BOX))
    n_focus: int = 0
    focus: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(LCDM_FOCUS))
    extension: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.box) != set(LCDM):
            raise ConfigError(
                f"design box: expected ranges for {', '.join(LCDM)}, found {', '.join(self.box)}"
            )
        for name, (low, high) in self.box.items():
            if not low < high:
                raise ConfigError(f"design box: {name}: expected low < high, found [{low}, {high}]")
        extended_parameters(self.extension)
        for name, (low, high) in self.extension.items():
            if not low < high:
                raise ConfigError(f"design extension: {name}: expected low < high, found [{low}, {high}]")
        if self.n_focus < 0:
            raise ConfigError(f"design: n_focus must not be negative, found {self.n_focus}")
        if self.n_focus:
            self._check_focus()
        for name in ("n_backgrounds", "draws", "per_chunk"):
            if getattr(self, name) < 1:
                raise ConfigError(f"design: {name} must be at least 1, found {getattr(self, name)}")

    def _check_focus(self) -> None:
        if set(self.focus) != set(LCDM):
            raise ConfigError(
                f"design focus: expected ranges for {', '.join(LCDM)}, found {', '.join(self.focus)}"
            )
        for name, (low, high) in self.focus.items():
            if not self.box[name][0] <= low < high <= self.box[name][1]:
                raise ConfigError(
                    f"design focus: {name}: [{low}, {high}] is no range inside the box {list(self.box[name])}"
                )

    @property
    def background_names(self) -> tuple[str, ...]:
        """Parameters that a background holds: :data:`BACKGROUND` and the extension's that act there."""
        return (*BACKGROUND, *(name for name in self.extension if name not in PRIMORDIAL_EXTENSIONS))

    @property
    def draw_names(self) -> tuple[str, ...]:
        """Parameters of a draw: :data:`PRIMORDIAL` and the extension's that act as late."""
        return (*PRIMORDIAL, *(name for name in self.extension if name in PRIMORDIAL_EXTENSIONS))

    @property
    def n_chunks(self) -> int:
        """Number of chunks; the last one may be smaller."""
        return -(-(self.n_backgrounds + self.n_focus) // self.per_chunk)

    def settings(self) -> dict[str, Any]:
        """Return what defines the points, JSON-able."""
        boxes = {"box": self.box, "focus": self.focus, "extension": self.extension}
        record = asdict(self) | {name: {k: list(v) for k, v in box.items()} for name, box in boxes.items()}
        if not self.extension:
            del record["extension"]  # chunks of the base model do not depend on what extensions there are
        return record

    def _sobol(
        self, n: int, box: Mapping[str, tuple[float, float]], seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        from scipy.stats import qmc  # noqa: PLC0415 (a second; most designs are only read)

        box = {**box, **self.extension}
        names = [*self.background_names, *self.draw_names * self.draws]
        n_background = len(self.background_names)
        sobol = qmc.Sobol(len(names), scramble=True, rng=np.random.default_rng(seed))
        with warnings.catch_warnings():
            # a design may stop before a power of two; balance matters little for least squares
            warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
            unit = sobol.random(n)
        low, high = np.array([box[name] for name in names]).T
        points = low + unit * (high - low)
        return points[:, :n_background], points[:, n_background:].reshape(n, self.draws, -1)

    def backgrounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all backgrounds (of the box, then of the focus) and their primordial draws.

        Returns
        -------
        background : numpy.ndarray, shape (n_backgrounds + n_focus, 4 or more)
            Columns as in :attr:`background_names`.
        primordial : numpy.ndarray, shape (n_backgrounds + n_focus, draws, 2 or more)
            Columns as in :attr:`draw_names`.
        """
        parts = [self._sobol(self.n_backgrounds, self.box, self.seed)]
        if self.n_focus:
            parts.append(self._sobol(self.n_focus, self.focus, self.seed + 1))
        background, primordial = (np.concatenate(x) for x in zip(*parts, strict=True))
        return background, primordial

    def chunk(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the backgrounds and primordial draws of one chunk (0 <= index < n_chunks)."""
        if not 0 <= index < self.n_chunks:
            raise ConfigError(f"chunk: expected 0..{self.n_chunks - 1}, found {index}")
        background, primordial = self.backgrounds()
        rows = slice(index * self.per_chunk, (index + 1) * self.per_chunk)
        return background[rows], primordial[rows]
