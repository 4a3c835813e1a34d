"""Points at the door of a posterior: what is taken, and as what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cmbfit.errors import ParameterError

Points = torch.Tensor | np.ndarray
"""Shape (batch, n_parameters): a tensor of any float type, or a numpy array of float64 or float32."""


def as_points(theta: Points, parameters: Sequence[str]) -> torch.Tensor:  # shape: (batch, n_parameters)
    """Return points as a float64 tensor, on the device they came on; gradients flow through.

    Raises
    ------
    ParameterError
        If theta is anything but floats of this shape.
    """
    if type(theta) is torch.Tensor and theta.dtype is torch.float64 and theta.ndim == 2:
        if theta.shape[1] == len(parameters):
            return theta
    elif isinstance(theta, np.ndarray) and theta.dtype.kind == "f" and theta.dtype.itemsize in (4, 8):
        theta = torch.from_numpy(theta.astype(np.float64))
    if not isinstance(theta, torch.Tensor) or not theta.is_floating_point():
        kind = getattr(theta, "dtype", None)
        raise ParameterError(
            "theta: expected a torch tensor of floats or a numpy array of float64 or float32, found "
            f"{type(theta).__name__}{f' of {kind}' if kind else ''}; convert it first"
        )
    if theta.ndim != 2 or theta.shape[1] != len(parameters):
        raise ParameterError(
            f"theta: expected shape (batch, {len(parameters)}) for {', '.join(parameters)}, "
            f"found {tuple(theta.shape)}"
        )
    return theta if theta.dtype == torch.float64 else theta.double()
