"""Published limits on evaporating primordial black holes, as digitised by bradkav/PBHbounds (embedded, MIT licence).

They are for monochromatic masses without spin, each with its own deposition or astrophysics; what they have in common with
a limit of ours is the mass and f_PBH.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmbfit.data.registry import load_registry
from cmbfit.data.store import read_bytes
from cmbfit.errors import DataError

SOLAR_MASS_G = 1.98841e33

_GROUP = "pbhbounds"
_LABELS = {
    "CMBevap.txt": ("CMB: Clark et al. 2017", "CMB"),
    "EDGESevap-Clark2018.txt": ("21 cm (EDGES): Clark et al. 2018", "gas"),
    "EDGESevap-Mittal2021.txt": ("21 cm (EDGES): Mittal et al. 2022", "gas"),
    "LyaEvap-Saha2024_conservative.txt": ("Ly-alpha: Saha et al. 2024", "gas"),
    "LeoTevap.txt": ("Leo T: Kim 2021", "gas"),
    "Voyager.txt": ("Voyager: Boudaud & Cirelli 2019", "cosmic rays"),
    "AMS.txt": ("AMS-02: arXiv:2403.04988", "cosmic rays"),
    "Xrayevap.txt": ("X-rays: arXiv:2404.17119", "photons"),
    "EGRB.txt": ("gamma-ray background: Carr et al. 2010", "photons"),
    "511keV.txt": ("511 keV: Laha 2019", "photons"),
    "Comptel.txt": ("COMPTEL: Coogan et al. 2021", "photons"),
    "INTEGRAL.txt": ("INTEGRAL: Laha et al. 2020", "photons"),
    "SuperK.txt": ("Super-Kamiokande: Dasgupta et al. 2020", "neutrinos"),
}


@dataclass(frozen=True)
class PublishedLimit:
    """A curve of upper limits.

    Attributes
    ----------
    label : str
    probe : str
        ``CMB``, ``gas``, ``cosmic rays``, ``photons`` or ``neutrinos``.
    reference : str
        Paper and figure.
    mass_g, fraction : numpy.ndarray, shape (n,)
        Grams, increasing; f_PBH.
    """

    label: str
    probe: str
    reference: str
    mass_g: np.ndarray
    fraction: np.ndarray

    def at(self, mass_g: float) -> float:
        """Return f_PBH at a mass by interpolation in logarithms; NaN beyond the curve."""
        x = np.log(mass_g)
        return float(
            np.exp(np.interp(x, np.log(self.mass_g), np.log(self.fraction), left=np.nan, right=np.nan))
        )


def published_limits() -> tuple[PublishedLimit, ...]:
    """Return all embedded curves; of several assumptions in one file the weakest limit.

    Raises
    ------
    DataError
        If a file is damaged.
    """
    registry, out = load_registry(), []
    for file, (label, probe) in _LABELS.items():
        name = f"{_GROUP}/{file}"
        text = read_bytes(name, registry=registry).decode()
        rows = [
            line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
        ]
        try:
            table = np.array(rows, dtype=float)
            mass, fraction = table[:, 0] * SOLAR_MASS_G, table[:, 1:].max(1)
        except (ValueError, IndexError) as error:
            raise DataError(f"{name}: expected rows of a mass and limits on f_PBH ({error})") from error
        mass, first = np.unique(mass, return_index=True)
        out.append(PublishedLimit(label, probe, registry[name].description, mass, fraction[first]))
    return tuple(out)


def published_table(masses_g: Sequence[float]) -> list[dict[str, Any]]:
    """Return curves as rows, JSON-able: label, probe, reference and f_PBH at masses [g], None where a curve does not reach."""
    rows = []
    for curve in published_limits():
        at = [curve.at(m) for m in masses_g]
        rows.append(
            {
                "label": curve.label,
                "probe": curve.probe,
                "reference": curve.reference,
                "at": [x if np.isfinite(x) else None for x in at],
            }
        )
    return rows
