"""A smaller model within a larger one: some parameters held at given values.

The likelihood is that of the larger posterior, folded or not; its priors of the remaining parameters
are kept, so that the two are nested in the sense of Dickey (1971).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from cmbfit.device import OnDevice
from cmbfit.errors import ParameterError, unknown_name
from cmbfit.likelihood.log_likelihood import Restricted, insert_columns
from cmbfit.likelihood.posterior import Posterior
from cmbfit.theory.base import Theory
from cmbfit.theory.spectra import Spectra


class _FixedTheory(OnDevice):
    """A theory without some of its parameters."""

    def __init__(self, whole: Theory, fixed: Mapping[str, float]) -> None:
        self.whole = whole
        self.fixed = {p: x for p, x in fixed.items() if p in whole.parameters}
        self.parameters = tuple(p for p in whole.parameters if p not in self.fixed)
        self.box = {p: limits for p, limits in whole.box.items() if p not in self.fixed}
        self.lmax = whole.lmax

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.whole.settings, "fixed": self.fixed}

    def _insert(self, theta: torch.Tensor) -> torch.Tensor:
        return insert_columns(theta, self.whole.parameters, self.parameters, self.fixed)

    def allowed(self, theta: torch.Tensor) -> torch.Tensor:
        refuse = getattr(self.whole, "allowed", None)  # primordial models know where they make no sense
        return refuse(self._insert(theta)) if refuse else torch.ones_like(theta[:, 0], dtype=torch.bool)

    def spectra(self, theta: torch.Tensor) -> Spectra:
        return self.whole.spectra(self._insert(theta))

    def derived(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        known = getattr(self.whole, "derived", None)
        return known(self._insert(theta)) if known else {}


def restrict(posterior: Posterior, fixed: Mapping[str, float]) -> Posterior:
    """Return a posterior with some parameters held; everything else is that of the larger one.

    Parameters
    ----------
    posterior : Posterior
        Compiled or not, on any device.
    fixed : mapping of str to float
        Parameters of theory or data and the values that they keep. They have no prior here.

    Returns
    -------
    Posterior
        With the values in `fixed` and the larger model in `whole`.

    Raises
    ------
    ParameterError
        If a parameter is unknown, its value lies outside its prior or the theory's box, it shares a joint
        prior with free ones, or nothing is left to vary.
    """
    for name, value in fixed.items():
        if name not in posterior.parameters:
            raise ParameterError(unknown_name("parameter to fix", name, posterior.parameters))
        low, high = posterior.support[name]
        if not low <= value <= high:
            raise ParameterError(
                f"{name} cannot be fixed at {value:g}: expected a value within [{low:g}, {high:g}], where prior "
                "and theory allow it; widen the prior of the larger fit"
            )
        if joint := next((j for j in posterior.joint_priors if name in j.names), None):
            raise ParameterError(f"{name} shares a prior with {', '.join(joint.names)}: it cannot be fixed")
    if not fixed or len(fixed) == len(posterior.parameters):
        raise ParameterError("fixed: expected some parameters of the fit, not none and not all")
    if posterior.fixed:
        return restrict(posterior.whole, {**posterior.fixed, **fixed})
    free = tuple(p for p in posterior.parameters if p not in fixed)
    return posterior.replace(
        Restricted(posterior.log_like, posterior.parameters, fixed),
        theory=_FixedTheory(posterior.theory, fixed),
        parameters=free,
        nuisances={p: x for p, x in posterior.nuisances.items() if p not in fixed},
        priors={p: posterior.priors[p] for p in free},
        fixed=dict(fixed),
        _whole=posterior,
    )
