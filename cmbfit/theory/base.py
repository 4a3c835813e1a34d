"""The Theory interface: parameters in, batched spectra out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from cmbfit.errors import OutsideBoxError, ParameterError
from cmbfit.theory.extensions import BACKGROUND_EXTENSIONS
from cmbfit.theory.parameters import FIXED, canonical_parameters
from cmbfit.theory.spectra import Spectra


@runtime_checkable
class Theory(Protocol):
    """A model of the sky: an ordered list of parameters mapped to spectra.

    Attributes
    ----------
    parameters : tuple of str
        Ordered names of the columns of `theta`.
    box : mapping of str to (float, float)
        Valid closed range of each parameter.
    lmax : int
        Largest multipole of the spectra.
    settings : dict
        Everything that defines the numbers (code version, recombination, accuracy, ...), JSON-able.
    """

    @property
    def parameters(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def box(self) -> Mapping[str, tuple[float, float]]: ...  # noqa: D102

    @property
    def lmax(self) -> int: ...  # noqa: D102

    @property
    def settings(self) -> dict[str, Any]: ...  # noqa: D102

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return lensed spectra and derived parameters of a batch of points."""
        ...


_CHECKED = threading.local()


class Checked:
    """Within it, the points given to theories of this very `box` are known to lie in it.

    What was checked once is not checked again: each look at numbers makes the host wait for a GPU.
    """

    def __init__(self, box: Mapping[str, tuple[float, float]]) -> None:
        self._box = box

    def __enter__(self) -> None:
        self._before = getattr(_CHECKED, "box", None)
        _CHECKED.box = self._box

    def __exit__(self, *_: object) -> None:
        _CHECKED.box = self._before


def checked_before() -> bool:
    """Return whether whoever gives the points has looked at them."""
    return getattr(_CHECKED, "box", None) is not None


def check_box(
    theta: torch.Tensor,  # shape: (batch, n_parameters)
    parameters: Sequence[str],
    box: Mapping[str, tuple[float, float]],
) -> None:
    """Raise :class:`OutsideBoxError` naming the first coordinate of `theta` outside `box`."""
    if theta.ndim != 2 or theta.shape[1] != len(parameters):
        raise ParameterError(
            f"theta: expected shape (batch, {len(parameters)}) for {', '.join(parameters)}, "
            f"found {tuple(theta.shape)}"
        )
    if getattr(_CHECKED, "box", None) is box:
        return
    columns = list(zip(parameters, theta.unbind(1), (box[name] for name in parameters), strict=True))
    # written so that NaN counts as outside; the host looks once
    inside = torch.stack([(x >= low) & (x <= high) for _, x, (low, high) in columns])
    if bool(inside.all()):
        return
    for (name, x, (low, high)), good in zip(columns, inside, strict=True):
        if bad := (~good).nonzero().flatten().tolist():
            raise OutsideBoxError(
                f"{name} = {x[bad[0]].item():.6g} (row {bad[0]}) lies outside the range [{low:g}, {high:g}] "
                "in which this theory is valid; use a Boltzmann code or a wider emulator there"
            )


def allowed_by(
    theory: Any,
    theta: torch.Tensor,  # shape: (batch, n_parameters)
) -> torch.Tensor:  # shape: (batch,), bool
    """Return what a theory's `allowed` says; a theory that cannot move (no `to`) is asked on the host."""
    if hasattr(theory, "to"):
        return theory.allowed(theta)
    return theory.allowed(theta.cpu()).to(theta.device)


def point_from_values(theory: Theory, values: Mapping[str, float]) -> torch.Tensor:
    """Turn named values into the one-row `theta` of a theory.

    `H0` may stand for `theta_mc`. Parameters that the theory
    holds fixed may be given when their value is the fixed one.

    Returns
    -------
    torch.Tensor, shape (1, n_parameters)

    Raises
    ------
    ParameterError
        If a parameter is unknown, missing, doubly given or differs from the theory's fixed value.
    """
    fixed = {k: v for k, v in FIXED.items() if k not in theory.parameters}
    named = canonical_parameters(values, [*theory.parameters, "H0", *fixed])
    for name, value in fixed.items():
        given = named.pop(name, value)
        if abs(given - value) > 1e-9:
            raise ParameterError(
                f"{name} = {given:g} was asked for, but this theory holds {name} = {value:g}"
            )
    if "H0" in named:
        if "theta_mc" in named:
            raise ParameterError("give either H0 or theta_mc (theta_MC_100), not both")
        if missing := [p for p in ("ombh2", "omch2") if p not in named]:
            raise ParameterError(f"parameter {missing[0]!r} is missing")
        # imported here: few points are given by H0, and the background builds on this module
        from cmbfit.theory.background.angle import theta_mc_from_h0  # noqa: PLC0415

        extended = {p: named[p] for p in BACKGROUND_EXTENSIONS if p in named}
        h0 = named.pop("H0")
        named["theta_mc"] = theta_mc_from_h0(h0, named["ombh2"], named["omch2"], **extended)
    if missing := [p for p in theory.parameters if p not in named]:
        raise ParameterError(f"missing parameter(s): {', '.join(missing)}; set each with --set NAME=VALUE")
    return torch.tensor([[named[p] for p in theory.parameters]], dtype=torch.float64)
