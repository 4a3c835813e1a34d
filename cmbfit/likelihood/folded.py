"""ln L with its linear steps folded: polynomials of the parameters, a few small matrices, low-l tables."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, Self

import torch

from cmbfit.device import OnDevice
from cmbfit.likelihood.bandpower_model import calibrated
from cmbfit.likelihood.few_log_likelihood import FewFolded
from cmbfit.likelihood.fold import (
    Foldable,
    Folded,
    component_coefficients,
    decoder_rows,
    source_amplitude,
    varying,
)
from cmbfit.likelihood.folded_model import FoldedModel
from cmbfit.likelihood.log_likelihood import points_that_fit, split_columns
from cmbfit.likelihood.lognormal_bins import FoldedLogNormal
from cmbfit.likelihood.low_redshift.few import FewDistances
from cmbfit.likelihood.low_redshift.together import FoldedDistances
from cmbfit.likelihood.polynomial_rows import PolynomialRows
from cmbfit.theory.base import Theory
from cmbfit.theory.emulator.linear import LinearEmulator

DERIVED = "derived"
"""Source of ln of derived parameters, of which distances follow."""

_CPU_CHUNK = 512
"""Points whose features (two copies) stay in a core's cache; larger chunks are slower, not faster."""


class Added(NamedTuple):
    """What an imprint adds to the emulator's model: to each part's bandpowers, and to each table's D_l [uK^2]."""

    parts: list[torch.Tensor]  # shapes: (n_directions, batch)
    tables: list[torch.Tensor]  # shapes: (n_multipoles, batch)


class Imprint(Protocol):
    """What a theory adds to its emulator's spectra, seen through the data sets."""

    def emulator_point(self, point: torch.Tensor) -> torch.Tensor:
        """Return the emulator's columns of the theory's points."""
        ...

    def __call__(self, point: torch.Tensor, nuisance: Mapping[str, torch.Tensor]) -> Added:
        """Return what is added, calibrated."""
        ...

    def chunk(self, device: torch.device) -> int:
        """Return how many points to compute at once."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """Return a copy on `device`."""
        ...


class FoldedLogLikelihood(OnDevice):
    """ln L of a linear-decoder emulator, with what a theory may add to it; see :mod:`cmbfit.likelihood.fold`.

    Parameters
    ----------
    theory : Theory
        Whose parameters are the first columns of theta.
    nuisances : sequence of str
        The other columns.
    emulator : LinearEmulator
    data : Foldable
    parts : list of Folded
        Its Gaussian bandpowers.
    neglect : float
        Mean over the box of what directions that hardly vary add to chi2 and may be dropped
        (:func:`~cmbfit.likelihood.fold.varying`); 0 drops nothing.
    imprint : Imprint, optional

    Attributes
    ----------
    fold_difference : float or None
        Measured by :func:`~cmbfit.likelihood.compiled.compile_posterior`.
    n_directions : int
        Length of the folded residual, against the number of bandpowers.
    """

    def __init__(
        self,
        theory: Theory,
        nuisances: Sequence[str],
        emulator: LinearEmulator,
        data: Foldable,
        parts: list[Folded],
        neglect: float = 0.0,
        imprint: Imprint | None = None,
    ) -> None:
        self.fold_difference: float | None = None
        self.side_by_side = imprint is None
        self._parameters, self._nuisances, self._emulator = theory.parameters, tuple(nuisances), emulator
        self._tables, self._direct = data.tables, data.direct
        self._parts, self._imprint = parts, imprint
        decode = functools.partial(decoder_rows, emulator)
        self._linear: list[FoldedModel | FoldedLogNormal] = [FoldedModel(like, decode) for like in data.multi]
        self._linear += [FoldedLogNormal(like, decode) for like in data.binned]
        sources = dict.fromkeys(source for part in parts for source, _ in part.groups)
        sources |= dict.fromkeys(source for folded in self._linear for source in folded.sources)
        if data.tables:
            sources["lowl_ee"] = None
        coefficients = {source: component_coefficients(emulator, source) for source in sources}
        self._distances = FoldedDistances(data.distances, emulator) if data.distances else None
        if self._distances is not None:
            coefficients[DERIVED] = self._distances.coefficients
        degrees = emulator.arrays.degrees
        if imprint is None and not self._linear and len(parts) == 1 and len(parts[0].groups) == 1:
            (part,), (source, _) = parts, parts[0].groups[0]
            if source != "lowl_ee" and part.matrix is not None:
                # one group: the rotation goes into the coefficients
                turned, bare = part.matrix @ coefficients[source], replace(part, matrix=None)
                part, coefficients[source] = varying(bare, turned, degrees, neglect)
                self._parts = [part]
        self._rows = PolynomialRows(emulator.coordinates.box, degrees, coefficients)
        self.n_directions = sum(len(part.target) for part in self._parts)
        self.n_directions += sum(len(like.data) for like in data.multi) + sum(
            len(x.window) for x in data.binned
        )

    def chunk(self, device: torch.device) -> int:
        """Return how many points to compute at once on a device."""
        if self._imprint is not None:
            return self._imprint.chunk(device)
        if device.type == "cpu":
            return _CPU_CHUNK
        n_rows, n_terms = self._rows.n_rows, self._rows.n_terms
        return points_that_fit(device, 8 * (4 * n_terms + 6 * n_rows))

    def few_distances(self) -> FewDistances | None:
        """Return measurements of distances in numpy; None if there are none, or not all are Gaussian in flat LCDM."""
        return None if self._distances is None else self._distances.few()

    def few_points(self) -> FewFolded | None:
        """Return the same for a few points, in numpy; None if more than Gaussian bandpowers, tables and parameters take part."""
        tables = self._distances is not None and self.few_distances() is None
        others = self._imprint is not None or bool(self._linear) or tables
        return None if others else FewFolded(self)

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L without priors; differentiable."""
        point, nuisance = split_columns(theta, len(self._parameters), self._nuisances)
        at = point if self._imprint is None else self._imprint.emulator_point(point)
        added = None if self._imprint is None else self._imprint(point, nuisance)
        components = self._rows(self._emulator.coordinates(at))
        log_derived = components.pop(DERIVED, None)
        amplitudes = {source: source_amplitude(self._emulator, source, at) for source in components}
        if "lowl_ee" in components:
            components["lowl_ee"] = torch.exp(components["lowl_ee"])
        terms = []
        for i, part in enumerate(self._parts):
            scales = {group: calibrated(amplitudes[group[0]], group[1], nuisance) for group in part.groups}
            residual = part.residual(components, scales)
            if added is not None:
                residual = residual - added.parts[i]
            terms.append(torch.sub(part.norm, residual.square().sum(0), alpha=0.5))
        for folded in self._linear:
            own = {name: nuisance[name] for name in folded.like.info.nuisance}
            terms.append(folded.log_prob(components, amplitudes, own))
        for i, like in enumerate(self._tables):
            dl = (components["lowl_ee"] * amplitudes["lowl_ee"])[like.lmin - 2 : like.lmax - 1]
            own = {name: nuisance[name] for name in like.info.nuisance}
            terms.append(like.log_prob_of_rows(dl if added is None else dl + added.tables[i], own))
        if self._distances is not None and log_derived is not None:
            terms.append(self._distances(at, log_derived, nuisance))
        for measured in self._direct:
            column = self._parameters.index(measured.parameter)
            terms.append(measured.log_prob_of_parameter(point[:, column]))
        return functools.reduce(torch.add, terms)
