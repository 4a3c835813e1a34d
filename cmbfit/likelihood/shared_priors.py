"""Nuisance parameters of several data sets, each with one prior, whoever asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.priors import JointGaussian, Prior


def shared_priors(
    likelihoods: Sequence[Likelihood], given: Mapping[str, Prior] | None = None
) -> tuple[dict[str, Prior], tuple[JointGaussian, ...]]:
    """Return the nuisance parameters of data sets with their priors, and the priors of several together.

    Parameters
    ----------
    likelihoods : sequence of Likelihood
    given : mapping of str to Prior, optional
        Priors that replace those which the data sets recommend.

    Returns
    -------
    nuisances : dict of str to Prior
        In order of first use, each once. A parameter of a joint prior has its marginal here.
    joint : tuple of JointGaussian
        Each once, unless `given` replaces all of its parameters' priors.

    Raises
    ------
    LikelihoodError
        If data sets recommend different priors for one parameter and none is given, or a joint prior is
        replaced in part.
    """
    given = given or {}
    nuisances: dict[str, Prior] = {}
    joint: list[JointGaussian] = []
    owner: dict[str, str] = {}
    for info in (like.info for like in likelihoods):
        for name, prior in info.nuisance.items():
            if name in nuisances and name not in given and nuisances[name] != prior:
                raise LikelihoodError(
                    f"{owner[name]} and {info.name} recommend different priors for {name}: "
                    f"{nuisances[name]} and {prior}; give one in the configuration"
                )
            nuisances.setdefault(name, given.get(name, prior))
            owner.setdefault(name, info.name)
        for together in info.joint_priors:
            replaced = [name for name in together.names if name in given]
            if replaced and len(replaced) < len(together.names):
                raise LikelihoodError(
                    f"{info.name} has one prior for {', '.join(together.names)} together; "
                    f"give all of them in the configuration or none, not {', '.join(replaced)} alone"
                )
            if not replaced and together not in joint:
                joint.append(together)
    return nuisances, tuple(joint)
