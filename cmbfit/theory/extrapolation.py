"""Spectra beyond a theory's last multipole, for windows that reach further: a template, and it says so.

Ground-based bandpowers reach beyond most emulators (ACT DR6 windows: to l = 6325). A theory that ends at
l_max is continued by a template, CAMB's spectra of a Planck 2018 model (preset `high` with
lens_potential_accuracy 9, to l = 7000),

    D_l(theta) = D_l^template  r,   l > l_max,

with r the mean of D / D^template over the last `BLEND` multipoles; TE, which changes sign, takes the
mean of TT's and EE's. All of it is linear in the spectra below l_max, so that an extended emulator can
still be folded. What is beyond l_max is no prediction of the theory: `settings` and
docs/methods/emulator.md say where it ends and what that does to ACT's chi2.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import SpectrumError
from cmbfit.shipped import read_shipped
from cmbfit.theory.base import Theory, allowed_by
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.spectra import Spectra

BLEND = 50
LEAST_LMAX = 4000
"""Theories that end below are not continued unasked: on ACT, chi2 would move by more than 0.4."""


@cache
def extrapolation_template() -> tuple[int, dict[str, torch.Tensor]]:
    """Return the template's first multipole, and its D_l from there by pair."""
    raw = read_shipped("theory/extrapolation_template.npz")
    with np.load(io.BytesIO(raw), allow_pickle=False) as f:
        return int(f["lmin"]), {p: torch.from_numpy(f[p].astype("f8")) for p in f.files if p != "lmin"}


@cache
def _on(device: torch.device, unlensed: bool = False) -> dict[str, torch.Tensor]:
    """Return a template on a device: no copy at each call."""
    shape = (unlensed_template() if unlensed else extrapolation_template())[1]
    return {p: x.to(device) for p, x in shape.items()}


@cache
def unlensed_template() -> tuple[int, dict[str, torch.Tensor]]:
    """Return CAMB's own template of unlensed spectra, to l = 8000: what its Fortran lensing continues them with."""
    import camb  # noqa: PLC0415  # for its file alone

    file = Path(camb.__file__).parent / "HighLExtrapTemplate_lenspotentialCls.dat"
    columns = torch.from_numpy(np.loadtxt(file).T)
    names = ("tt", "ee", "bb", "te", "pp")
    return int(columns[0, 0]), {p: x for p, x in zip(names, columns[1:], strict=False) if p != "bb"}


def extrapolate_spectra(spectra: Spectra, lmax: int, *, unlensed: bool = False) -> Spectra:
    """Continue spectra to a larger lmax by a template, scaled to meet each model.

    Parameters
    ----------
    spectra : Spectra
    lmax : int
    unlensed : bool
        By :func:`unlensed_template` in place of :func:`extrapolation_template`, of lensed spectra.

    Raises
    ------
    SpectrumError
        If the template does not cover l_max - `BLEND` ... `lmax`, or lacks a pair.

    Examples
    --------
    >>> lmin, template = extrapolation_template()
    >>> tt = torch.cat([torch.ones(lmin, dtype=torch.float64), 1.1 * template["tt"]])[None, :4001]
    >>> longer = extrapolate_spectra(Spectra({"tt": tt}), 5000)
    >>> round((longer.dl["tt"][0, 5000] / template["tt"][5000 - lmin]).item(), 12)
    1.1
    """
    end = spectra.lmax
    if lmax <= end:
        return spectra
    first = (unlensed_template() if unlensed else extrapolation_template())[0]
    shape = _on(next(iter(spectra.dl.values())).device, unlensed)
    last = first + len(shape["tt"]) - 1
    if end - BLEND + 1 < first or lmax > last:
        raise SpectrumError(
            f"spectra to l = {end} cannot be continued to {lmax}: the template covers {first}..{last} "
            f"and needs {BLEND} multipoles in common"
        )
    if missing := [p for p in spectra.dl if p not in shape]:
        raise SpectrumError(f"no template continues {', '.join(missing)}; it has {', '.join(shape)}")
    shared, beyond = slice(end - BLEND + 1 - first, end + 1 - first), slice(end + 1 - first, lmax + 1 - first)

    def ratio(pair: str) -> torch.Tensor:  # shape: (batch, 1)
        dl = spectra.dl[pair][:, -BLEND:]
        return (dl / shape[pair][shared]).mean(1, keepdim=True)

    out = {}
    for pair, dl in spectra.dl.items():
        if pair != "te":
            scale = ratio(pair)
        elif "tt" in spectra.dl and "ee" in spectra.dl:
            scale = (ratio("tt") + ratio("ee")) / 2
        else:
            raise SpectrumError("te is continued by the levels of tt and ee, which are not here")
        out[pair] = torch.cat([dl, scale * shape[pair][beyond]], dim=1)
    return Spectra(out, spectra.parameters)


class ExtrapolatedTheory(OnDevice):
    """A theory continued beyond its last multipole by :func:`extrapolate_spectra`.

    Parameters
    ----------
    theory : Theory
    lmax : int
        Last multipole asked for.

    Attributes
    ----------
    computed_lmax : int
        Last multipole that the theory itself gives; also in `settings`.
    """

    def __init__(self, theory: Theory, lmax: int) -> None:
        self.theory = theory
        self.lmax = max(lmax, theory.lmax)
        self.computed_lmax = theory.lmax

    @property
    def parameters(self) -> tuple[str, ...]:
        """Those of the theory."""
        return self.theory.parameters

    @property
    def box(self) -> Mapping[str, tuple[float, float]]:
        """That of the theory."""
        return self.theory.box

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the theory, and where its own numbers end."""
        if self.lmax == self.computed_lmax:
            return self.theory.settings
        return {
            **self.theory.settings,
            "extended": {"computed_lmax": self.computed_lmax, "lmax": self.lmax, "how": "tail template"},
        }

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return the theory's spectra, continued to lmax."""
        return extrapolate_spectra(self.theory.spectra(theta), self.lmax)


class ExtrapolatedBounded(ExtrapolatedTheory):
    """The same of a theory that knows where it makes no sense."""

    def allowed(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,), bool
        """Return what the theory's own says."""
        return allowed_by(self.theory, theta)


class ExtrapolatedEmulator(LinearEmulator):
    """A linear emulator continued by :func:`extrapolate_spectra`, which still folds.

    Parameters
    ----------
    emulator : LinearEmulator
    lmax : int
        Last multipole asked for.

    Attributes
    ----------
    computed_lmax : int
        Last multipole that the emulator itself gives; also in `settings`.
    """

    def __init__(self, emulator: LinearEmulator, lmax: int) -> None:
        extended = {"computed_lmax": emulator.arrays.lmax, "lmax": lmax, "how": "tail template"}
        super().__init__(emulator.arrays, {**emulator.settings, "extended": extended})
        self.computed_lmax = emulator.arrays.lmax
        self.lmax = lmax

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return the emulator's spectra, continued to lmax."""
        return extrapolate_spectra(super().spectra(theta), self.lmax)

    def fold(
        self,
        matrices: Mapping[str, torch.Tensor],  # pair -> shape (n_rows, <= lmax + 1), acting on D_l from l = 0
        block: str = "cmb",
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fold linear functionals; what acts beyond the emulator acts on its last multipoles instead.

        See :meth:`LinearEmulator.fold`.
        """
        end = self.computed_lmax
        first, template = extrapolation_template()
        out: dict[str, torch.Tensor] = {}

        def rows_of(pair: str, like: torch.Tensor) -> torch.Tensor:
            return out.setdefault(pair, like.new_zeros(len(like), end + 1))

        for pair, rows in matrices.items():
            head = rows[:, : end + 1]
            rows_of(pair, rows)[:, : head.shape[1]] += head
            beyond = rows[:, end + 1 :]
            if not beyond.any():
                continue
            start = end + 1 - first
            tail = beyond @ template[pair][start : start + beyond.shape[1]].to(rows)
            for source, weight in {"tt": 0.5, "ee": 0.5}.items() if pair == "te" else {pair: 1.0}.items():
                level = BLEND * template[source][start - BLEND : start].to(rows)
                rows_of(source, rows)[:, end + 1 - BLEND :] += weight * tail[:, None] / level
        return super().fold(out, block)


def extrapolate_to(theory: Theory, lmax: int) -> Theory:
    """Return a theory that reaches `lmax`: itself, or continued if it ends above :data:`LEAST_LMAX`.

    A theory that ends lower is returned as it is: who asks for more must refuse it.
    """
    if theory.lmax >= lmax or theory.lmax < LEAST_LMAX:
        return theory
    if isinstance(theory, LinearEmulator):
        return ExtrapolatedEmulator(theory, lmax)
    return (ExtrapolatedBounded if hasattr(theory, "allowed") else ExtrapolatedTheory)(theory, lmax)
