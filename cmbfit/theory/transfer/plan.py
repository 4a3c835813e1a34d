"""How a transfer expansion is computed: CAMB at its centre and at the points of its polynomial.

The runs are independent of each other once the centre's nodes are known, so that a workflow can spread
them over processes and machines, and goes on from those that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import camb
import numpy as np

from cmbfit.errors import ConfigError, DataError, unknown_name
from cmbfit.theory.camb_code import PRESETS, CambSettings
from cmbfit.theory.parameters import BACKGROUND
from cmbfit.theory.transfer.camb_matrices import TransferSettings, camb_transfer
from cmbfit.theory.transfer.expansion import (
    ExpansionArrays,
    TransferExpansion,
    coefficients,
    stencil,
)
from cmbfit.theory.transfer.nodes import NodeSettings, node_grid
from cmbfit.theory.transfer.operator import TransferOperator, compressed_matrices
from cmbfit.theory.transfer.region import CENTRE, STEPS, expansion_box

TENSOR_LMAX = 700
"""Last multipole of tensors: their TT there is below 1e-5 of the scalars' for r = 0.1."""

REACH = 0.4
"""Largest wavenumber [1/Mpc] of the features in tt, te and ee up to l = 3700, with a margin."""

Run = dict[str, np.ndarray]
"""One CAMB run: ell, distance and w.PAIR, the response of D_l to P at the nodes; the centre's k too."""


@dataclass(frozen=True)
class ExpansionPlan:
    """Everything that defines a :class:`~cmbfit.theory.transfer.expansion.TransferExpansion`.

    Parameters
    ----------
    centre, steps : mapping of str to float
        Expansion point and unit of ombh2, omch2, theta_mc and tau.
    settings : TransferSettings
        Of the centre: every multipole.
    nodes : NodeSettings
    correction_l_sampling, correction_k_sampling : float
        CAMB's sampling at the points of the polynomial.
    """

    centre: Mapping[str, float] = field(default_factory=lambda: dict(CENTRE))
    steps: Mapping[str, float] = field(default_factory=lambda: dict(STEPS))
    settings: TransferSettings = field(
        default_factory=lambda: TransferSettings(
            replace(PRESETS["planck2018"], lmax=3500, lens_potential_accuracy=1.0)
        )
    )
    nodes: NodeSettings = field(default_factory=lambda: NodeSettings(reach=REACH))
    correction_l_sampling: float = 3.0
    correction_k_sampling: float = 2.0

    def __post_init__(self) -> None:
        for name, values in (("centre", self.centre), ("steps", self.steps)):
            if set(values) != set(BACKGROUND):
                raise ConfigError(
                    f"transfer expansion, {name}: expected {', '.join(BACKGROUND)}, found {', '.join(values)}"
                )
        if bad := [p for p, x in self.steps.items() if not x > 0]:
            raise ConfigError(
                f"transfer expansion, steps: {bad[0]} must be positive, found {self.steps[bad[0]]}"
            )

    @property
    def box(self) -> dict[str, tuple[float, float]]:
        """Where the expansion may be used."""
        return expansion_box(self.centre, self.steps)

    @property
    def n_points(self) -> int:
        """Points of the polynomial: CAMB runs besides the centre's."""
        return len(stencil())

    def record(self) -> dict[str, Any]:
        """Return everything that defines the numbers, JSON-able."""
        return {
            "code": "camb",
            "version": camb.__version__,
            "transfer": asdict(self.settings),
            "corrections": {
                "l_sampling": self.correction_l_sampling,
                "k_sampling": self.correction_k_sampling,
            },
            "nodes": asdict(self.nodes),
            "centre": dict(self.centre),
            "steps": dict(self.steps),
        }

    def compute_centre(self) -> Run:
        """Run CAMB at the centre, at every multipole (minutes)."""
        fit = camb_transfer(self.settings, dict(self.centre))
        k = node_grid(fit.q, self.nodes)
        matrices = compressed_matrices(fit, k, fit.distance)
        return {"k": k, "ell": fit.ell, "distance": np.array([fit.distance])} | {
            f"w.{p}": w for p, w in matrices.items()
        }

    def compute_tensors(self) -> TransferOperator:
        """Run CAMB's tensors at the centre, at every multipole; for spectra without features."""
        settings = replace(
            self.settings,
            camb=replace(self.settings.camb, lmax=TENSOR_LMAX),
            k_sampling=self.correction_k_sampling,
            kind="tensor",
        )
        return TransferOperator.from_camb(dict(self.centre), settings, NodeSettings(20.0, 5.0, reach=REACH))

    def compute_point(self, index: int, centre: Run) -> Run:
        """Run CAMB at one point of the polynomial, with the centre's nodes (seconds)."""
        point = {
            p: self.centre[p] + x * self.steps[p] for p, x in zip(BACKGROUND, stencil()[index], strict=True)
        }
        coarse = replace(
            self.settings, l_sampling=self.correction_l_sampling, k_sampling=self.correction_k_sampling
        )
        run = camb_transfer(coarse, point)
        undamped = np.exp(2 * (point["tau"] - self.centre["tau"]))
        matrices = compressed_matrices(run, centre["k"], centre["distance"].item())
        return {"ell": run.ell, "distance": np.array([run.distance])} | {
            f"w.{p}": (w if p == "pp" else w * undamped).astype(np.float32) for p, w in matrices.items()
        }

    def assemble(self, centre: Run, points: Mapping[int, Run]) -> TransferExpansion:
        """Return the expansion from all runs.

        Raises
        ------
        DataError
            If a point is missing, or was computed at other multipoles than the first.
        """
        if missing := [i for i in range(self.n_points) if i not in points]:
            raise DataError(
                f"transfer expansion: the runs of points {missing} of {self.n_points} are missing"
            )
        runs = [points[i] for i in range(self.n_points)]
        if any(not np.array_equal(run["ell"], runs[0]["ell"]) for run in runs):
            raise DataError(
                "transfer expansion: CAMB sampled other multipoles at some points; compute them again"
            )
        pairs = [name for name in centre if name.startswith("w.")]
        distances = np.log([run["distance"].item() for run in runs])
        arrays = ExpansionArrays(
            centre["k"],
            centre["ell"],
            runs[0]["ell"],
            np.array([self.centre[p] for p in BACKGROUND]),
            np.array([self.steps[p] for p in BACKGROUND]),
            coefficients(distances),
            {p[2:]: centre[p].astype(np.float32) for p in pairs},
            {p[2:]: coefficients(np.array([r[p] for r in runs]))[1:].astype(np.float32) for p in pairs},
        )
        return TransferExpansion(arrays, self.record())

    def compute(self, log: Callable[[str], None] = print) -> TransferExpansion:
        """Run everything in this process.

        Parameters
        ----------
        log : callable
            Told of each finished run.
        """
        centre = self.compute_centre()
        log("centre done")
        points = {}
        for i in range(self.n_points):
            points[i] = self.compute_point(i, centre)
            log(f"{i + 1} of {self.n_points} done")
        return self.assemble(centre, points)


def plan_from_config(spec: Mapping[str, Any], camb_settings: Mapping[str, Any]) -> ExpansionPlan:
    """Return the plan of a configuration's theory.transfer.

    Parameters
    ----------
    spec : mapping
        centre, steps, lmax, log_frequency, linear_frequency; all with defaults.
    camb_settings : mapping
        Fields of :class:`~cmbfit.theory.camb_code.CambSettings`: the physics that the emulator was trained on.
    """
    known = ("centre", "steps", "lmax", "log_frequency", "linear_frequency", "parts")
    if unknown := [key for key in spec if key not in known]:
        raise ConfigError(f"theory.transfer: {unknown_name('key', unknown[0], known)}")
    physics = {k: x for k, x in camb_settings.items() if k != "version"}
    # the potential's accuracy enters through the lensing of the imprint alone
    of_camb = CambSettings(**{**physics, "lmax": int(spec.get("lmax", 3500)), "lens_potential_accuracy": 1.0})
    frequencies = {k: float(spec[k]) for k in ("log_frequency", "linear_frequency") if k in spec}
    return ExpansionPlan(
        spec.get("centre", CENTRE),
        spec.get("steps", STEPS),
        TransferSettings(of_camb),
        NodeSettings(**frequencies, reach=REACH),
    )
