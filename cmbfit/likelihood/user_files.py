"""Likelihoods of the user's own files: any candl-format data set, any SACC file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cmbfit.errors import ConfigError, DataError, LikelihoodError, unknown_name
from cmbfit.io import reading
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.datasets.candl import reach_of
from cmbfit.likelihood.datasets.candl_format import CandlData, Folder, read_candl
from cmbfit.likelihood.datasets.candl_likelihood import likelihood_of
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.plausible import check_against_lcdm
from cmbfit.likelihood.priors import JointGaussian, Prior, Uniform, prior_from_config
from cmbfit.likelihood.sacc_data import read_own_spectra, read_sacc
from cmbfit.spectra.sacc_file import is_own, load_sacc


def read_user_candl(
    path: str | Path,
    *,
    name: str | None = None,
    survey: str | None = None,
    cuts: Mapping[str, Sequence[int]] | None = None,
    priors: Mapping[str, Any] | None = None,
    allow_overlap: str = "",
    units_checked: bool = False,
    variant: str | None = None,
) -> GaussianBandpowers | MultiFrequencyBandpowers:
    """Return the likelihood of a candl-format data set on this machine.

    Parameters
    ----------
    path : str or Path
        The definition (YAML) in the data set's folder, or an index of variants.
    name : str, optional
        Default: the file's name.
    survey : str, optional
        Whose sky is counted ("planck", "act", ...), so that a Posterior refuses to count it twice.
        Default: the name, a sky of its own.
    cuts : mapping, optional
        Pair to [lmin, lmax]; bandpowers whose centre lies inside are kept.
    priors : mapping, optional
        Prior of a nuisance parameter, where the definition has none or another is wanted. Calibrations without any are
        flat, 0.5 to 1.5.
    units_checked : bool
        Skip the comparison with LCDM that finds wrong units and orders; data sets with foregrounds are not compared.
    variant : str, optional
        Of an index file; its default when omitted.

    Raises
    ------
    DataError, LikelihoodError
        For files that are missing or malformed, keys and steps that are not supported, a nuisance parameter
        without a prior, bandpowers far off any LCDM.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the YAML definition of a candl data set")
    limits = {pair: (int(a), int(b)) for pair, (a, b) in (cuts or {}).items()}
    with reading(path, "the definition of a candl data set"):
        got = read_candl(Folder(path.parent), path.name, limits, variant=variant)
    name = name or path.stem
    if got.lensing and limits:
        raise LikelihoodError(f"{name}: a lensing data set cannot be cut in multipole")
    given = {p: prior_from_config(p, spec) for p, spec in (priors or {}).items()}
    nuisance, joint, flat = _priors(str(path), name, got, given)
    notes = [f"Gaussian bandpowers of the user's file{_unused(got)}", *got.notes]
    if flat:
        notes.append(f"{', '.join(flat)} without a prior in the definition: flat, {FLAT.low} to {FLAT.high}")
    info = DataSetInfo(
        name=name,
        title=f"{name}: {path.name}",
        sky={survey or name: reach_of(got)},
        n_data=len(got.data),
        citation="",
        approximation="; ".join(notes),
        nuisance=nuisance,
        joint_priors=joint,
        allow_overlap=allow_overlap,
    )
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    like = likelihood_of(got, info, files=sums)
    if isinstance(like, GaussianBandpowers) and not (got.lensing or units_checked):
        check_against_lcdm(like, str(path))
    return like


FLAT = Uniform(0.5, 1.5)
"""Of calibrations without a prior in their definition: candl leaves them free."""


def _unused(got: CandlData) -> str:
    return f"; its priors on {', '.join(got.other_priors)} are not used" if got.other_priors else ""


def _priors(
    path: str, name: str, got: CandlData, given: Mapping[str, Prior]
) -> tuple[dict[str, Prior], tuple[JointGaussian, ...], list[str]]:
    """Return single and joint priors, the user's in place of the definition's, and calibrations that are flat."""
    if unknown := [p for p in given if p not in got.parameters]:
        raise LikelihoodError(f"{name}: priors: {unknown_name('parameter', unknown[0], got.parameters)}")
    # a joint prior holds as a whole or, replaced, not at all
    joint = tuple(p for p in got.joint_priors if not set(p.names) & set(given))
    for together in got.joint_priors:
        if together not in joint and (left := [n for n in together.names if n not in given]):
            raise LikelihoodError(
                f"{name}: priors: {', '.join(together.names)} have one prior together; give all of them or none, "
                f"found none for {', '.join(left)}"
            )
    flat = [p for p in got.parameters if p in got.calibrations and p not in {**got.nuisance, **given}]
    known = {**got.nuisance, **dict.fromkeys(flat, FLAT), **given}
    if missing := [p for p in got.parameters if p not in known]:
        raise LikelihoodError(
            f"{path}: the nuisance parameter {missing[0]} has no prior in the definition, where candl leaves it free; add "
            f"priors: {{{missing[0]}: {{uniform: [LOWEST, HIGHEST]}}}} to this entry of data"
        )
    return {p: known[p] for p in got.parameters}, joint, flat


def read_user_sacc(
    path: str | Path,
    *,
    name: str | None = None,
    survey: str | None = None,
    unit: str | None = None,
    pairs: Sequence[str] = ("tt", "te", "ee"),
    ranges: Mapping[str, Sequence[int]] | None = None,
    calibration: Mapping[str, Any] | None = None,
    allow_overlap: str = "",
    units_checked: bool = False,
) -> GaussianBandpowers:
    """Return the likelihood of a SACC file on this machine; see :func:`~cmbfit.likelihood.sacc_data.read_sacc`.

    A file that cmbfit wrote is read with the leakage windows beside it and needs no unit.

    Parameters
    ----------
    calibration : mapping, optional
        Nuisance parameter to ``{prior: {gaussian: [1, 0.01]}, powers: {tt: -2, te: -2, ee: -2}}``: the
        model of a pair is multiplied by the parameter to that power.
    others
        As for :func:`read_user_candl`; `unit`, `pairs` and `ranges` as for :func:`read_sacc`.

    Raises
    ------
    ConfigError
        If the unit is not given (the format has no field for it), or a calibration lacks its prior.
    """
    path = Path(path)
    name = name or path.name.split(".")[0]
    nuisance, powers = {}, {}
    for parameter, spec in (calibration or {}).items():
        if not isinstance(spec, Mapping) or set(spec) != {"prior", "powers"}:
            raise ConfigError(
                f"{path}: calibration: {parameter}: expected {{prior: ..., powers: ...}}, found {spec!r}"
            )
        nuisance[parameter] = prior_from_config(parameter, spec["prior"])
        powers[parameter] = {pair: float(x) for pair, x in spec["powers"].items()}
    for option, named in (("ranges", ranges or {}), *((f"calibration: {p}", x) for p, x in powers.items())):
        if unused := [pair for pair in named if pair not in pairs]:
            raise ConfigError(
                f"{path}: {option}: {unused[0]} is none of the pairs that are used ({', '.join(pairs)})"
            )
    own = is_own(load_sacc(path, LikelihoodError))
    if own and unit not in {None, "dl"}:
        raise ConfigError(
            f"{path}: unit: {unit}, but cmbfit wrote this file and it holds D_l: leave unit out"
        )
    if not own and unit is None:
        raise ConfigError(f"{path}: give unit: dl or unit: cl (uK^2), which the format does not say")
    limits = {p: (int(a), int(b)) for p, (a, b) in (ranges or {}).items()}
    given: dict[str, Any] = {"pairs": pairs, "ranges": limits, "nuisance": nuisance, "calibration": powers}
    with reading(path, "a SACC file with bandpowers, windows and a covariance", LikelihoodError):
        if own:
            like = read_own_spectra(path, name, survey=survey or name, **given)
        else:
            like = read_sacc(path, name, survey=survey or name, unit=str(unit), **given)
    like.info = replace(like.info, allow_overlap=allow_overlap)
    if not units_checked:
        check_against_lcdm(like, str(path))
    return like
