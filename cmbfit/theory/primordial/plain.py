"""A plain function P(k, ...) as a primordial model: its arguments' defaults say where a fit starts and what the priors are."""

from __future__ import annotations

import functools
import inspect
import math
from types import FunctionType
from typing import Any

import torch

from cmbfit.errors import ParameterError
from cmbfit.theory.primordial.model import Flat, Parameter, PrimordialModel, Values


@functools.cache
def from_function(function: FunctionType) -> PrimordialModel:
    """Return the model that is a function of k and of parameters.

    Parameters
    ----------
    function : function
        ``def power(k, height=(2.1e-9, 1e-9, 3e-9), ...)``: k [1/Mpc] first, then each parameter with its start, and
        the ends of its flat prior. k and the parameters are float64 tensors that broadcast, and so is what it returns, dimensionless power.
        The first line of its docstring is its title.

    Raises
    ------
    ParameterError
        For arguments that say no start and prior.

    Examples
    --------
    >>> def power(k, height=(2.1e-9, 1e-9, 3e-9)):
    ...     return height + 0 * k
    >>> from_function(power).parameter_names
    ('height',)
    """
    first, *others = inspect.signature(function).parameters.values()
    if first.default is not first.empty or not others:
        raise ParameterError(
            f"{function.__name__}: expected k without a default, then parameters, found {first}"
        )
    own = tuple(_parameter(function.__name__, p.name, p.default) for p in others)
    title = (inspect.getdoc(function) or f"P(k) of {function.__name__}").partition("\n")[0]
    return PrimordialModel(
        name=function.__name__,
        title=title.rstrip("."),
        formula=f"{function.__name__}({', '.join(('k', *(p.name for p in own)))}), a function of the user's",
        parameters=own,
        citations=(),
        function=functools.partial(_call, function),
    )


def _parameter(function: str, name: str, given: Any) -> Parameter:
    numbers = isinstance(given, tuple) and len(given) == 3 and all(isinstance(x, int | float) for x in given)
    if (
        not numbers
        or not all(map(math.isfinite, given))
        or not given[1] <= given[0] <= given[2]
        or given[1] == given[2]
    ):
        raise ParameterError(
            f"{function}: {name}: expected {name}=(start, low, high), the ends of its flat prior around the start, found {given!r}"
        )
    start, low, high = map(float, given)
    return Parameter(name, start, Flat(low, high), "", f"of {function}")


def _call(function: FunctionType, k: torch.Tensor, values: Values) -> torch.Tensor:
    power = function(k, **values)
    shape = torch.broadcast_shapes(k.shape, next(iter(values.values())).shape)
    if not isinstance(power, torch.Tensor) or power.dtype != torch.float64:
        found = power.dtype if isinstance(power, torch.Tensor) else type(power).__name__
        raise ParameterError(f"{function.__name__}: expected a float64 tensor of torch, found {found}")
    try:
        return power.expand(shape)
    except RuntimeError as error:
        raise ParameterError(
            f"{function.__name__}: expected power of shape {tuple(shape)}, found {tuple(power.shape)}"
        ) from error
