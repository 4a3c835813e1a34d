"""What a run asks of two data sets: the entries of ``comparison.tension``, completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cmbfit.errors import ConfigError, unknown_name
from cmbfit.fit.description import Fit
from cmbfit.fit.run import Run, fit_of_run
from cmbfit.io import reading

AMPLITUDE = "logA-2tau"
"""ln(10^10 A_s e^-2tau): what spectra at l > 30 measure of amplitude and optical depth."""

SHIFTED = ("ombh2", "omch2", "theta_mc", AMPLITUDE, "ns")


@dataclass(frozen=True)
class TensionRequest:
    """Two data sets and the model in which they are held against each other.

    Attributes
    ----------
    fit : Fit
        Whose theory, priors and start are taken; those of its data's nuisance parameters only where A or B has them.
    a, b : sequence
        Data as in a fit's ``data``.
    fixed : mapping of str to float
        Parameters held fixed in all three.
    shifted : sequence of str
        Parameters whose shift is measured: sampled ones, or ``logA-2tau``.
    title_a, title_b : str
    published : str
        A published comparison of the same data, quoted beside the result.
    draws : int
        Points of each importance sampling.
    """

    fit: Fit
    a: Sequence[Any]
    b: Sequence[Any]
    fixed: Mapping[str, float] = field(default_factory=dict)
    shifted: Sequence[str] = SHIFTED
    title_a: str = "A"
    title_b: str = "B"
    published: str = ""
    draws: int = 20_000

    def describe(self) -> dict[str, Any]:
        """Return the request as JSON; :meth:`from_json` makes the same one of it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TensionRequest:
        """Return the request of :meth:`describe`.

        Raises
        ------
        ConfigError
            If it is none.
        """
        with reading("a tension's description", "what TensionRequest.describe writes", ConfigError):
            return cls(**{**value, "fit": Fit.from_json(value["fit"])})


def tension_requests(run: Run) -> dict[str, TensionRequest]:
    """Return the requests of a run's ``comparison.tension``, by name.

    Raises
    ------
    ConfigError
        If one names an unknown fit.
    """
    out = {}
    for name, spec in run.config["comparison"]["tension"].items():
        if spec["fit"] not in run.config["fits"]:
            what = unknown_name("fit", spec["fit"], run.config["fits"])
            raise ConfigError(f"comparison.tension.{name}.fit: {what}")
        fit = run.fits.get(spec["fit"]) or fit_of_run(run, spec["fit"])
        hidden = {"fit", "published"} if fit.blind else {"fit"}
        out[name] = TensionRequest(fit=fit, **{k: x for k, x in spec.items() if k not in hidden})
    return out
