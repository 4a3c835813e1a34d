"""Which points of parameter space are computed to train an emulator: a scrambled Sobol design.

Several (logA, ns) draws share one background, since a further primordial spectrum costs CAMB a
quarter of a new background. One Sobol sequence spans the background and all its primordial draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.stats import qmc

from cmbfit.errors import ConfigError
from cmbfit.theory.parameters import LCDM

BACKGROUND = ("ombh2", "omch2", "theta_mc", "tau")
PRIMORDIAL = ("logA", "ns")

LCDM_BOX: dict[str, tuple[float, float]] = {
    "ombh2": (0.019, 0.026),
    "omch2": (0.09, 0.15),
    "theta_mc": (1.02, 1.06),
    "tau": (0.02, 0.15),
    "logA": (2.7, 3.4),
    "ns": (0.88, 1.06),
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
    """

    n_backgrounds: int = 768
    draws: int = 4
    per_chunk: int = 16
    seed: int = 20260101
    box: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(LCDM_BOX))

    def __post_init__(self) -> None:
        if set(self.box) != set(LCDM):
            raise ConfigError(
                f"design box: expected ranges for {', '.join(LCDM)}, found {', '.join(self.box)}"
            )
        for name, (low, high) in self.box.items():
            if not low < high:
                raise ConfigError(f"design box: {name}: expected low < high, found [{low}, {high}]")
        for name in ("n_backgrounds", "draws", "per_chunk"):
            if getattr(self, name) < 1:
                raise ConfigError(f"design: {name} must be at least 1, found {getattr(self, name)}")

    @property
    def n_chunks(self) -> int:
        """Number of chunks; the last one may be smaller."""
        return -(-self.n_backgrounds // self.per_chunk)

    def settings(self) -> dict[str, Any]:
        """Return what defines the points, JSON-able."""
        return {**asdict(self), "box": {k: list(v) for k, v in self.box.items()}}

    def backgrounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all backgrounds and their primordial draws.

        Returns
        -------
        background : numpy.ndarray, shape (n_backgrounds, 4)
            Columns as in :data:`BACKGROUND`.
        primordial : numpy.ndarray, shape (n_backgrounds, draws, 2)
            Columns as in :data:`PRIMORDIAL`.
        """
        names = [*BACKGROUND, *PRIMORDIAL * self.draws]
        sobol = qmc.Sobol(len(names), scramble=True, rng=np.random.default_rng(self.seed))
        with warnings.catch_warnings():
            # a design may stop before a power of two; balance matters little for least squares
            warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
            unit = sobol.random(self.n_backgrounds)
        low, high = np.array([self.box[n] for n in names]).T
        points = low + unit * (high - low)
        return points[:, :4], points[:, 4:].reshape(self.n_backgrounds, self.draws, 2)

    def chunk(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the backgrounds and primordial draws of one chunk (0 <= index < n_chunks)."""
        if not 0 <= index < self.n_chunks:
            raise ConfigError(f"chunk: expected 0..{self.n_chunks - 1}, found {index}")
        background, primordial = self.backgrounds()
        rows = slice(index * self.per_chunk, (index + 1) * self.per_chunk)
        return background[rows], primordial[rows]
