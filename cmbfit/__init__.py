"""cmbfit: from CMB maps to the physics of the early universe in one command.

The names below are the public face, imported when they are asked for::

    from cmbfit import Posterior, Uniform, load_emulator, load_likelihood
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cmbfit._lazy import lazy_names
from cmbfit._moved import watch

if TYPE_CHECKING:
    from cmbfit.fit.build import build_posterior
    from cmbfit.fit.complete import complete_fit
    from cmbfit.fit.description import Fit
    from cmbfit.fit.run import load_run
    from cmbfit.likelihood.compiled import compile_posterior
    from cmbfit.likelihood.datasets.load import dataset_names, load_likelihood
    from cmbfit.likelihood.posterior import Posterior
    from cmbfit.likelihood.priors import Gaussian, Uniform
    from cmbfit.theory.base import point_from_values
    from cmbfit.theory.emulator.bundle import load_emulator
    from cmbfit.theory.spectra import Spectra

    __version__: str

_WHERE = {
    "Fit": "cmbfit.fit.description",
    "Gaussian": "cmbfit.likelihood.priors",
    "Posterior": "cmbfit.likelihood.posterior",
    "Spectra": "cmbfit.theory.spectra",
    "Uniform": "cmbfit.likelihood.priors",
    "build_posterior": "cmbfit.fit.build",
    "compile_posterior": "cmbfit.likelihood.compiled",
    "complete_fit": "cmbfit.fit.complete",
    "dataset_names": "cmbfit.likelihood.datasets.load",
    "load_emulator": "cmbfit.theory.emulator.bundle",
    "load_likelihood": "cmbfit.likelihood.datasets.load",
    "load_run": "cmbfit.fit.run",
    "point_from_values": "cmbfit.theory.base",
}
_public = lazy_names(__name__, _WHERE)

__all__ = [
    "Fit",
    "Gaussian",
    "Posterior",
    "Spectra",
    "Uniform",
    "build_posterior",
    "compile_posterior",
    "complete_fit",
    "dataset_names",
    "load_emulator",
    "load_likelihood",
    "load_run",
    "point_from_values",
]

watch()


def __getattr__(name: str) -> Any:
    """Return a public name, or ``__version__``: reading the package's metadata would slow every import."""
    if name == "__version__":
        from importlib import metadata  # noqa: PLC0415

        try:
            return metadata.version("cmbfit")
        except metadata.PackageNotFoundError:  # a copy of the sources that nobody installed
            return "0+unknown"
    return _public(name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
