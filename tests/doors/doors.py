"""The doors to one fit: the workflow's stages, ``cmbfit fit``, ``cmbfit loglike``, Cobaya, Python."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from typer.testing import CliRunner

import cmbfit
from cmbfit.cli.app import app
from cmbfit.cli.fit import read_fit
from cmbfit.config import load_config
from cmbfit.fit import Fit, start_point
from cmbfit.fit.run import own_spectra_of
from cmbfit.likelihood import Posterior
from pipeline.plan import Plan
from pipeline.sections import Sections


@dataclass(frozen=True)
class Case:
    """A fit of a configuration.

    Attributes
    ----------
    name : str
    config : str
        File, or name of a shipped configuration.
    fit : str
    folder : Path
        Where the run's results go; the current folder while doors open.
    words : tuple of str
        What ``cmbfit loglike`` needs beside data, emulator and parameters.
    """

    name: str
    config: str
    fit: str
    folder: Path
    words: tuple[str, ...] = ()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The whole configuration."""
        return load_config([self.config])

    @property
    def section(self) -> dict[str, Any]:
        """The fit as its author wrote it."""
        return self.settings["fits"][self.fit]

    @property
    def emulator(self) -> str:
        """Shipped name of its emulator."""
        return self.settings["theory"]["emulator"]["bundle"]

    @cached_property
    def of_workflow(self) -> Fit:
        """From the file that a rule hands to a stage."""
        plan = Plan(self.settings)
        sections = Sections(str(self.folder / "config"))
        path = sections.path(f"fit.{self.fit}", plan.fits[self.fit].describe())
        sections.write()
        return Fit.read(path)

    @cached_property
    def of_command(self) -> Fit:
        """From the road of ``cmbfit fit``."""
        return read_fit(self.config, None, self.fit)[1]

    @cached_property
    def of_python(self) -> Fit:
        """From the public face."""
        run = cmbfit.load_run([self.config], fits=[])
        return cmbfit.complete_fit(self.fit, self.section, self.emulator, own_spectra=own_spectra_of(run))

    @cached_property
    def stage(self) -> Posterior:
        """As the stage that samples builds it: compiled where that is possible."""
        return cmbfit.build_posterior(self.of_workflow)

    @cached_property
    def command(self) -> Posterior:
        """As ``cmbfit fit`` builds it."""
        return cmbfit.build_posterior(self.of_command, "cpu")

    @cached_property
    def python(self) -> Posterior:
        """Not compiled."""
        return cmbfit.build_posterior(self.of_python, fold=False)

    @property
    def posteriors(self) -> tuple[Posterior, ...]:
        """Of the doors that make one."""
        return self.stage, self.command, self.python

    @cached_property
    def theta(self) -> torch.Tensor:  # shape: (3, n_parameters)
        """Three random points inside the prior: about 1, 3 and 10 widths of the posterior from its middle."""
        rng = np.random.default_rng(20260101)
        posterior = self.python
        centre, scale = start_point(self.of_python, posterior)
        rows = []
        for widths in (1.0, 3.0, 10.0):
            row = []
            for p in posterior.parameters:
                low, high = posterior.support[p]
                x = centre[p] + widths * scale[p] * rng.uniform(-1, 1)
                margin = 0.01 * (high - low) if np.isfinite(high - low) else 0.0
                row.append(min(max(x, low + margin), high - margin))
            rows.append(row)
        return torch.tensor(rows, dtype=torch.float64)

    @property
    def points(self) -> list[dict[str, float]]:
        """The same by name."""
        return [dict(zip(self.python.parameters, row, strict=True)) for row in self.theta.tolist()]

    def nuisances(self, point: Mapping[str, float]) -> dict[str, float]:
        """Nuisance parameters of a point."""
        return {p: point[p] for p in self.python.nuisances}

    def of_theory(self, point: Mapping[str, float]) -> dict[str, float]:
        """The theory's parameters of a point."""
        return {p: point[p] for p in self.python.theory.parameters}

    def theory_prior(self, point: Mapping[str, float]) -> float:
        """Log prior of the theory's parameters, by scipy."""
        return sum(
            float(frozen(self.of_python.priors[p]).logpdf(x)) for p, x in self.of_theory(point).items()
        )

    def loglike(self, point: Mapping[str, float]) -> dict[str, Any]:
        """What ``cmbfit loglike`` prints at a point."""
        words = [f"--set={p}={x!r}" for p, x in self.of_theory(point).items()]
        words += [f"--nuisance={p}={x!r}" for p, x in self.nuisances(point).items()]
        return loglike(self.section["data"], "--emulator", self.emulator, *self.words, *words)


def frozen(spec: Mapping[str, Sequence[float]]) -> Any:
    """A prior of a configuration as scipy's distribution."""
    ((kind, (a, b)),) = spec.items()
    return stats.uniform(a, b - a) if kind == "uniform" else stats.norm(a, b)


def loglike(data: Sequence[Any], *words: str) -> dict[str, Any]:
    """Run ``cmbfit loglike``."""
    items = [f"--data={item if isinstance(item, str) else json.dumps(item)}" for item in data]
    result = CliRunner().invoke(app, ["loglike", *items, *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def cobaya_info(case: Case, **of_theory: Any) -> dict[str, Any]:
    """Cobaya's input of a case: cmbfit's data and emulator, the priors of the fit."""
    from cmbfit.cobaya import cobaya_blocks

    params: dict[str, Any] = {}
    for p in case.python.theory.parameters:
        ((kind, (a, b)),) = case.of_python.priors[p].items()
        params[p] = {
            "prior": {"min": a, "max": b} if kind == "uniform" else {"dist": "norm", "loc": a, "scale": b}
        }
    blocks = cobaya_blocks(case.section["data"])
    theory = {"class": "cmbfit.cobaya.Emulator", "bundle": case.emulator, **of_theory}
    return {
        "likelihood": {"all": {"class": "cmbfit.cobaya.DataSet", "data": case.section["data"]}},
        "theory": {"emulator": theory},
        "params": params | blocks["params"],
        "prior": blocks["prior"],
    }
