"""A fit as data: complete, checked, and the same whichever door it came in by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cmbfit.errors import ConfigError
from cmbfit.io import read_json, reading


@dataclass(frozen=True)
class Correlations:
    """Correlation coefficients of a published posterior.

    Attributes
    ----------
    source : str
    parameters : tuple of str
    matrix : tuple of tuple of float
        Symmetric, ones on the diagonal.
    """

    source: str
    parameters: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Reference:
    """Published marginal posteriors of a fit's parameters, or the truth of a simulation.

    Attributes
    ----------
    label, source : str
    parameters : mapping of str to (float, float or None)
        Mean and sigma; without a sigma (a simulation's truth) pulls are in units of the fit's own width.
    correlations : Correlations or None
    """

    label: str
    source: str
    parameters: Mapping[str, tuple[float, float | None]]
    correlations: Correlations | None = None


@dataclass(frozen=True)
class Gate:
    """What a fit's checks demand.

    Attributes
    ----------
    pull : float
        Largest |mean - reference| in sigma.
    width_ratio : (float, float)
        Range of sigma over the reference's.
    r_minus_1 : float
        Largest R - 1 between independent ensembles.
    """

    pull: float = 1.0
    width_ratio: tuple[float, float] = (0.8, 1.25)
    r_minus_1: float = 0.01


@dataclass(frozen=True)
class Fit:
    """A completed fit; :func:`~cmbfit.fit.complete.complete_fit` makes one.

    Attributes
    ----------
    name, title : str
    data : tuple
        Items as :func:`cmbfit.likelihood.selection.select` takes them.
    priors : mapping of str to mapping
        ``{uniform: [low, high]}`` or ``{gaussian: [mean, std]}`` of every parameter of the theory, and of nuisance
        parameters whose data sets' own priors are replaced.
    start : mapping of str to (float, float)
        Centre and scale of every parameter of the theory, and of nuisance parameters where given.
    theory : mapping
        ``emulator`` (shipped name or folder); ``primordial``, ``tensors`` and ``transfer``, or ``evaporation``, or
        ``class`` and ``options``.
    sampler : mapping
        ``kind`` and that sampler's settings.
    ensembles : int
        Independent chains.
    show : tuple of str
        Parameters of the corner plot.
    reference : Reference or None
    gate : Gate
    published : str
        What others found, for the table of models.
    own_spectra : mapping or None
        Where the run's own spectra lie (``path``), ``survey``, ``pairs`` and ``ranges``, for the data set of that name.
    blind : mapping or None
        Of a blinded run: name and sha256 (``commitment``) of the secret, largest ``shift`` by parameter, ``reference``.
    """

    name: str
    title: str
    data: tuple[Any, ...]
    priors: Mapping[str, Mapping[str, Any]]
    start: Mapping[str, tuple[float, float]]
    theory: Mapping[str, Any]
    sampler: Mapping[str, Any]
    ensembles: int = 2
    show: tuple[str, ...] = ()
    reference: Reference | None = None
    gate: Gate = field(default_factory=Gate)
    published: str = ""
    own_spectra: Mapping[str, Any] | None = None
    blind: Mapping[str, Any] | None = None

    @property
    def primordial(self) -> str | None:
        """Name of the primordial model, None for the emulator's power law."""
        return self.theory.get("primordial")

    @property
    def transfer(self) -> str | None:
        """Folder of the transfer functions, None where the theory needs none."""
        return self.theory.get("transfer")

    def describe(self) -> dict[str, Any]:
        """Return the fit as JSON; :meth:`from_json` makes the same one of it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Fit:
        """Return the fit of :meth:`describe`.

        Raises
        ------
        ConfigError
            If it is none.
        """
        with reading("a fit's description", "what Fit.describe writes", ConfigError):
            reference, gate = value["reference"], value["gate"]
            joint = reference and reference.get("correlations")
            out = dict(value) | {
                "data": tuple(value["data"]),
                "show": tuple(value["show"]),
                "start": {p: (float(c), float(s)) for p, (c, s) in value["start"].items()},
                "gate": Gate(**{**gate, "width_ratio": tuple(gate["width_ratio"])}),
                "reference": reference
                and Reference(
                    reference["label"],
                    reference["source"],
                    {p: (m, s) for p, (m, s) in reference["parameters"].items()},
                    joint
                    and Correlations(
                        joint["source"],
                        tuple(joint["parameters"]),
                        tuple(tuple(row) for row in joint["matrix"]),
                    ),
                ),
            }
            return cls(**out)

    @classmethod
    def read(cls, path: str | Path) -> Fit:
        """Return the fit in a JSON file."""
        return cls.from_json(read_json(path))
