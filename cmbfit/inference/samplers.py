"""What a sampler is, and which there are: cmbfit's own, those of other packages, and the user's.

A sampler is one object with its settings, a frozen dataclass of its own defaults and checks, and a method that runs
one independent chain. ``sampler: {kind: ./mysampler.py:SAMPLER, walkers: 8}`` in a fit takes the user's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cmbfit.inference.settings import read_settings
from cmbfit.registry import Registry

if TYPE_CHECKING:
    from cmbfit.inference.chain import Chain
    from cmbfit.likelihood.posterior import Posterior


@dataclass(frozen=True)
class Start:
    """Where a chain may start.

    Attributes
    ----------
    centre, scale : mapping of str to float
        A point of non-zero probability, and the rough width of every parameter.
    """

    centre: Mapping[str, float]
    scale: Mapping[str, float]


class Sampler(Protocol):
    """A sampler.

    Attributes
    ----------
    settings : type
        Frozen dataclass of int, float, str and bool with defaults, as :func:`~cmbfit.inference.settings.read_settings`
        reads it. A field ``max_steps`` only says when to give up; all others define the chain. ``walkers`` and a
        method ``check_size(n_parameters)``, where there are any, are held against the fit.
    """

    @property
    def settings(self) -> type: ...  # noqa: D102

    def sample(
        self,
        posterior: Posterior,
        start: Start,
        settings: Any,
        seed: np.random.SeedSequence,
        folder: str | Path,
        identity: Mapping[str, Any],
        *,
        progress: bool = True,
    ) -> Chain:
        """Run (or resume) one independent chain until it is long enough.

        Parameters
        ----------
        posterior : Posterior
        start : Start
        settings : object
            Of :attr:`settings`.
        seed : numpy.random.SeedSequence
            All randomness derives from it.
        folder : path
            For checkpoints; of this chain alone.
        identity : mapping
            What the chain is made of, JSON-able: a checkpoint of another one must be refused
            (:func:`cmbfit.checkpoint.claim`).
        progress : bool
            Say on the terminal how far it is.
        """
        ...


SAMPLERS: Registry[Sampler] = Registry(
    "sampler",
    "cmbfit.samplers",
    {
        "emcee": "cmbfit.inference.ensemble:SAMPLER",
        "hmc": "cmbfit.inference.hmc:SAMPLER",
        "nested": "cmbfit.inference.nested:SAMPLER",
        "tempered": "cmbfit.inference.tempered:SAMPLER",
    },
    attribute="SAMPLER",
)
"""Samplers by name; ``kind`` of a fit's ``sampler``."""


def settings_of(spec: Mapping[str, Any], where: str = "sampler", n_parameters: int | None = None) -> Any:
    """Return the settings of a fit's ``sampler`` section.

    Parameters
    ----------
    spec : mapping
        ``kind`` (emcee when omitted) and that sampler's settings.
    where : str
        Its place in the configuration, for messages.
    n_parameters : int, optional
        Number of parameters, at least, that the sampler must be able to handle.

    Raises
    ------
    ConfigError
        For an unknown sampler or setting, a value of another type or out of range, by its place.
    """
    kind = spec.get("kind", "emcee")
    given = {k: v for k, v in spec.items() if k != "kind"}
    settings: Any = read_settings(SAMPLERS.get(kind).settings, given, where, f"the sampler {kind}")
    if n_parameters is not None and hasattr(settings, "check_size"):
        settings.check_size(n_parameters, where)
    return settings
