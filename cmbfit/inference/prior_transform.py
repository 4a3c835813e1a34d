"""The unit cube mapped to parameters, as nested samplers want their prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.special

from cmbfit.errors import ConfigError
from cmbfit.likelihood.priors import Gaussian, JointGaussian, Prior, Uniform


class PriorTransform:
    """The unit cube mapped to parameters such that uniform points follow the prior.

    Parameters
    ----------
    parameters : sequence of str
    priors : mapping of str to Prior
        Uniform or Gaussian.
    joint : sequence of JointGaussian
        Replace the priors of the parameters that they name.

    Raises
    ------
    ConfigError
        For a prior whose inverse distribution is not known.
    """

    def __init__(
        self, parameters: Sequence[str], priors: Mapping[str, Prior], joint: Sequence[JointGaussian] = ()
    ) -> None:
        self._parameters = tuple(parameters)
        jointly = {name for prior in joint for name in prior.names}
        self._single = {p: priors[p] for p in parameters if p not in jointly}
        for name, prior in self._single.items():
            if not isinstance(prior, Uniform | Gaussian):
                raise ConfigError(f"{name}: nested sampling needs a uniform or Gaussian prior, found {prior}")
        self._joint = tuple(joint)

    def __call__(
        self,
        cube: np.ndarray,  # shape: (n, n_parameters), in (0, 1)
    ) -> np.ndarray:  # shape: (n, n_parameters)
        """Return the parameters of points of the unit cube."""
        theta = np.empty_like(cube)
        column = {p: i for i, p in enumerate(self._parameters)}
        for name, prior in self._single.items():
            u = cube[..., column[name]]
            if isinstance(prior, Uniform):
                theta[..., column[name]] = prior.low + (prior.high - prior.low) * u
            elif isinstance(prior, Gaussian):
                theta[..., column[name]] = prior.mean + prior.std * scipy.special.ndtri(u)
        for joint in self._joint:
            columns = [column[name] for name in joint.names]
            factor = np.linalg.cholesky(np.array(joint.covariance))
            theta[..., columns] = np.array(joint.mean) + scipy.special.ndtri(cube[..., columns]) @ factor.T
        return theta
