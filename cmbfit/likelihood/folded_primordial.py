"""The imprint of a primordial spectrum on hundreds of bandpowers, without spectra.

The whitened residual of Gaussian data is the emulator's, folded as in :mod:`cmbfit.likelihood.fold`, plus the
imprint of the primordial spectrum, whose transfer functions and lensing are pulled back onto the
bandpowers once (:class:`~cmbfit.theory.transfer.projection.ProjectedImprint`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch

from cmbfit.device import OnDevice
from cmbfit.likelihood.bandpower_model import Powers, calibrated
from cmbfit.likelihood.fold import Foldable
from cmbfit.likelihood.folded import Added
from cmbfit.likelihood.log_likelihood import points_that_fit
from cmbfit.theory.parameters import BACKGROUND
from cmbfit.theory.primordial.powerlaw import MODEL as POWER_LAW
from cmbfit.theory.primordial_theory import FIDUCIAL, PrimordialTheory
from cmbfit.theory.transfer.projection import ProjectedImprint

_CHUNK = 64
"""Points at once: P(k) at thousands of wavenumbers, with copies, stays within a core's cache."""

_TAU = BACKGROUND.index("tau")

_EE_ERROR = 2e-3
"""uK^2: what counts as one for tabulated low-l EE, whose rows are D_l themselves."""

_Rows = dict[tuple[Powers, bool], slice]
"""(calibration, lensing potential?) to rows of the imprint."""


class PrimordialImprint(OnDevice):
    """What a primordial spectrum adds to the emulator's power law in every data set.

    Parameters
    ----------
    theory : PrimordialTheory
        At the wavenumbers that are to be used; see :meth:`PrimordialTheory.coarse`.
    data : Foldable
    """

    def __init__(self, theory: PrimordialTheory, data: Foldable) -> None:
        self._theory = theory
        members: dict[bool, list[dict[str, torch.Tensor]]] = {False: [], True: []}
        length = {False: 0, True: 0}

        def add(rows: dict[str, torch.Tensor], *, potential: bool) -> slice:
            members[potential].append(rows)
            start = length[potential]
            length[potential] += len(next(iter(rows.values())))
            return slice(start, length[potential])

        self._part_rows: list[_Rows] = []
        for like in data.gaussian:
            by_powers: dict[tuple[Powers, bool], dict[str, torch.Tensor]] = {}
            for (pair, powers), rows in like.whitened()[0].items():
                by_powers.setdefault((powers, pair == "pp"), {})[pair] = rows
            self._part_rows.append({key: add(rows, potential=key[1]) for key, rows in by_powers.items()})
        self._table_rows = []
        for table in data.tables:
            own = torch.eye(table.lmax + 1, dtype=torch.float64)[table.lmin :] / _EE_ERROR
            self._table_rows.append(add({"ee": own}, potential=False))
        self._project({potential: rows for potential, rows in members.items() if rows})

    def _project(self, members: Mapping[bool, list[dict[str, torch.Tensor]]]) -> None:
        """Pull all rows back to P(k): those of the CMB and those of the lensing potential."""
        theory = self._theory
        power = POWER_LAW.power(theory.expansion.k, torch.tensor([FIDUCIAL], dtype=torch.float64))[0]
        self._imprints: dict[bool, ProjectedImprint] = {}
        self._waves: torch.Tensor | None = None
        for potential, rows in members.items():
            stacked = {p: _stack(rows, p, theory.lmax) for p in dict.fromkeys(p for x in rows for p in x)}
            if theory.tensors is not None and not potential:
                self._waves = theory.tensors.pull_back(stacked)
            self._imprints[potential] = ProjectedImprint(
                theory.expansion, theory.lensing, stacked, power, theory.spread
            )

    def chunk(self, device: torch.device) -> int:
        """Return how many points to compute at once on a device."""
        # some thirty copies of P(k) are in flight
        return (
            _CHUNK
            if device.type == "cpu"
            else points_that_fit(device, 30 * 8 * len(self._theory.expansion.k))
        )

    def emulator_point(
        self,
        point: torch.Tensor,  # shape: (batch, n_parameters of the theory)
    ) -> torch.Tensor:  # shape: (batch, n_parameters of the emulator)
        """Return the emulator's columns of the theory's points."""
        return self._theory.split(point)[2]

    def __call__(
        self,
        point: torch.Tensor,  # shape: (batch, n_parameters of the theory)
        nuisance: Mapping[str, torch.Tensor],
    ) -> Added:
        """Return what is added to the whitened bandpowers and to tabulated low-l EE."""
        theory = self._theory
        background, change = theory.split(point)[0], theory.power(point)[1]
        imprints = {key: x(background, change).T for key, x in self._imprints.items()}
        if theory.tensors is not None and self._waves is not None:
            waves = theory.tensors.power(theory.of_tensors(point)) @ self._waves.T
            imprints[False] = imprints[False] + (waves * theory.tensors.damping(background[:, _TAU])).T
        parts = []
        for rows in self._part_rows:
            terms = [
                calibrated(imprints[potential][where], powers, nuisance)
                for (powers, potential), where in rows.items()
            ]
            parts.append(functools.reduce(torch.add, terms))
        return Added(parts, [imprints[False][where] * _EE_ERROR for where in self._table_rows])


def _stack(members: list[dict[str, torch.Tensor]], pair: str, lmax: int) -> torch.Tensor:
    """Rows of one pair for all members below each other, zero where a member has none."""
    out = []
    for rows in members:
        like = next(iter(rows.values()))
        x = rows.get(pair, like.new_zeros(len(like), 1))
        out.append(torch.nn.functional.pad(x, (0, lmax + 1 - x.shape[1])))
    return torch.cat(out)
