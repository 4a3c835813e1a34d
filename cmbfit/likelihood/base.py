"""The Likelihood interface and what a data set says of the sky it covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.priors import JointGaussian, Prior
from cmbfit.theory.spectra import Spectra


@dataclass(frozen=True)
class DataSetInfo:
    """What a data set is, apart from its numbers.

    Attributes
    ----------
    name : str
    title : str
        One line for tables.
    sky : mapping
        Survey to pair to (lmin, lmax): which multipoles of which sky are counted. A Posterior
        refuses two data sets that count the same.
    n_data : int
        Number of data points, for goodness of fit; 0 where chi2 has no such meaning.
    citation : str
    approximation : str
        What a referee must know that is not exact; empty if nothing.
    nuisance : mapping
        Nuisance parameter to its recommended prior.
    joint_priors : tuple of JointGaussian
        Correlated priors of nuisance parameters; they replace the single ones of the same names.
    """

    name: str
    title: str
    sky: Mapping[str, Mapping[str, tuple[int, int]]]
    n_data: int
    citation: str
    approximation: str = ""
    nuisance: Mapping[str, Prior] = field(default_factory=dict)
    joint_priors: tuple[JointGaussian, ...] = ()


class Likelihood(Protocol):
    """Probability of the data, given spectra and nuisance parameters. Priors are never included.

    Attributes
    ----------
    info : DataSetInfo
    pairs : tuple of str
        Spectra that are needed.
    lmax : int
        Largest multipole that is needed.
    """

    @property
    def info(self) -> DataSetInfo: ...  # noqa: D102

    @property
    def pairs(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def lmax(self) -> int: ...  # noqa: D102

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],  # name -> shape (batch,)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L without priors; differentiable."""
        ...

    def to(self, device: torch.device | str) -> Likelihood:
        """Return a copy whose arrays live on `device`."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return what defines the numbers (files and their sha256), JSON-able."""
        ...


def nuisance_values(
    info: DataSetInfo, nuisance: Mapping[str, torch.Tensor], batch: int
) -> dict[str, torch.Tensor]:
    """Check that each nuisance parameter of a data set is given with one value per model."""
    out = {}
    for name in info.nuisance:
        if name not in nuisance:
            raise LikelihoodError(f"{info.name} needs the nuisance parameter {name}")
        if tuple(nuisance[name].shape) != (batch,):
            raise LikelihoodError(
                f"{name}: expected one value per model, shape ({batch},), found {tuple(nuisance[name].shape)}"
            )
        out[name] = nuisance[name]
    return out


def refuse_double_counting(infos: Sequence[DataSetInfo]) -> None:
    """Raise :class:`LikelihoodError` if two data sets count the same multipoles of the same sky."""
    for i, a in enumerate(infos):
        for b in infos[i + 1 :]:
            if a.name == b.name:
                raise LikelihoodError(f"data set {a.name} is listed twice")
            for survey in set(a.sky) & set(b.sky):
                for pair in set(a.sky[survey]) & set(b.sky[survey]):
                    (la, ha), (lb, hb) = a.sky[survey][pair], b.sky[survey][pair]
                    if la <= hb and lb <= ha:
                        raise LikelihoodError(
                            f"{a.name} (l {la}-{ha}) and {b.name} (l {lb}-{hb}) count the same {survey} "
                            f"{pair.upper()} multipoles {max(la, lb)}-{min(ha, hb)}; use one, or cut one"
                        )
