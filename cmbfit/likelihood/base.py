"""The Likelihood interface and what a data set says of the sky it covers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.priors import JointGaussian, Prior
from cmbfit.theory.spectra import PAIRS, Spectra


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
    allow_overlap : str
        Why this data set may count what another one counts too; empty forbids it. A user's word only.
    redshifts : mapping
        Sample of galaxies or supernovae to the redshifts that are counted: the same for distances.
    """

    name: str
    title: str
    sky: Mapping[str, Mapping[str, tuple[int, int]]]
    n_data: int
    citation: str
    approximation: str = ""
    nuisance: Mapping[str, Prior] = field(default_factory=dict)
    joint_priors: tuple[JointGaussian, ...] = ()
    allow_overlap: str = ""
    redshifts: Mapping[str, tuple[float, float]] = field(default_factory=dict)


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


def described(like: Likelihood) -> dict[str, Any]:
    """Return what a data set is, JSON-able: its settings, and which multipoles of it are used."""
    sky = {survey: {p: list(r) for p, r in pairs.items()} for survey, pairs in like.info.sky.items()}
    redshifts = {sample: list(r) for sample, r in like.info.redshifts.items()}
    counted: dict[str, Any] = {"sky": sky} | ({"redshifts": redshifts} if redshifts else {})
    if (mark := getattr(like, "blinded", None)) is not None:  # other data than those of the files
        counted["blinded"] = mark
    return {**like.settings(), **counted, "n_data": like.info.n_data}


def sources(files: Mapping[str, str], *arrays: torch.Tensor) -> dict[str, Any]:
    """Return what a data set's numbers come from: its files and their sha256, or the sha256 of arrays that came from none.

    Arrays behind files are not hashed: what is computed from a file may differ in its last digit between machines.
    """
    if files or not arrays:
        return {"files": dict(files)}
    digest = hashlib.sha256()
    for array in arrays:
        x = np.ascontiguousarray(array.detach().cpu().numpy())
        digest.update(f"{x.dtype}{x.shape}".encode() + x.tobytes())
    return {"files": {}, "arrays": digest.hexdigest()}


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


# Surveys of the whole sky measure the same modes: at these multipoles the sky, not the noise, limits them.
_FULL_SKY = ("planck", "wmap", "cobe", "litebird")


def _region(survey: str) -> str:
    return "full sky" if survey.lower().startswith(_FULL_SKY) else survey.lower()


def measures_tau(info: DataSetInfo) -> bool:
    """Return whether a data set counts the sky's low-l EE, from which tau is known."""
    return any(_region(s) == "full sky" and r.get("ee", (30, 0))[0] < 30 for s, r in info.sky.items())


def refuse_double_counting(infos: Sequence[DataSetInfo]) -> None:
    """Raise :class:`LikelihoodError` if two data sets count the same multipoles of the same sky, or the same galaxies.

    Planck, WMAP and COBE see the same modes, so that two low-l likelihoods, or one and a prior on tau
    made from low-l EE, are refused whoever made them. `DataSetInfo.allow_overlap` of either lifts it.
    """
    for i, a in enumerate(infos):
        for b in infos[i + 1 :]:
            if a.name == b.name:
                raise LikelihoodError(f"data set {a.name} is listed twice")
            if a.allow_overlap or b.allow_overlap:
                continue
            _refuse_same_objects(a, b)
            for survey, ranges in a.sky.items():
                for other in (s for s in b.sky if _region(s) == _region(survey)):
                    _refuse_overlap(a, b, other, ranges, b.sky[other])


def _refuse_same_objects(a: DataSetInfo, b: DataSetInfo) -> None:
    """Refuse two measurements of distances by the same galaxies, or of samples that share supernovae."""
    for sample in (s for s in a.redshifts if s in b.redshifts):
        low = max(a.redshifts[sample][0], b.redshifts[sample][0])
        high = min(a.redshifts[sample][1], b.redshifts[sample][1])
        if low < high:
            raise LikelihoodError(
                f"{a.name} and {b.name} count the same objects, {sample} at redshifts {low:g}-{high:g}: use one of them (or "
                "give one of them allow_overlap with the reason)"
            )


def _refuse_overlap(
    a: DataSetInfo,
    b: DataSetInfo,
    survey: str,
    one: Mapping[str, tuple[int, int]],
    two: Mapping[str, tuple[int, int]],
) -> None:
    shared = [
        pair
        for pair in PAIRS
        if pair in one and pair in two and max(one[pair][0], two[pair][0]) <= min(one[pair][1], two[pair][1])
    ]
    if not shared:
        return
    (la, ha), (lb, hb) = one[shared[0]], two[shared[0]]
    if shared == ["ee"] and min(ha, hb) < 30:
        remedy = "both measure tau: use one of them"
    elif shared == ["pp"]:
        remedy = (
            "the same lenses: use one of them, or a set that holds the correlations of several surveys (lensing_ap, "
            "lensing_as, lensing_ps, lensing_aps)"
        )
    elif wide := next((x for x in (a, b) if all(_starts_lower(x, a, one, two, p) for p in shared)), None):
        other = two if wide is a else one
        own = one if wide is a else two
        cuts = ", ".join(f"{p}: [{own[p][0]}, {other[p][0] - 1}]" for p in shared)
        remedy = f"use one of them, or cut one: {{{wide.name}: {{cuts: {{{cuts}}}}}}}"
    else:
        remedy = "use one of them"
    raise LikelihoodError(
        f"{a.name} (l {la}-{ha}) and {b.name} (l {lb}-{hb}) count the same {survey} {shared[0].upper()} "
        f"multipoles {max(la, lb)}-{min(ha, hb)}; {remedy} (or give one of them allow_overlap with the reason)"
    )


def _starts_lower(
    x: DataSetInfo,
    a: DataSetInfo,
    one: Mapping[str, tuple[int, int]],
    two: Mapping[str, tuple[int, int]],
    pair: str,
) -> bool:
    """Return whether `x`, which is `a` or the other, starts at lower multipoles of a pair."""
    return one[pair][0] < two[pair][0] if x is a else two[pair][0] < one[pair][0]
