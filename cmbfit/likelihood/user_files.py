"""Likelihoods of the user's own files: any candl-format data set, any SACC file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cmbfit.errors import ConfigError, DataError, LikelihoodError
from cmbfit.io import reading
from cmbfit.likelihood.bandpower_model import pair_blocks
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.cuts import Bandpowers, centres, cut, cut_sky
from cmbfit.likelihood.datasets.candl_format import Folder, read_candl
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.plausible import check_against_lcdm
from cmbfit.likelihood.priors import prior_from_config
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
) -> GaussianBandpowers:
    """Return the likelihood of a candl-format data set on this machine.

    Parameters
    ----------
    path : str or Path
        The definition (YAML) in the data set's folder.
    name : str, optional
        Default: the file's name.
    survey : str, optional
        Whose sky is counted ("planck", "act", ...), so that a Posterior refuses to count it twice.
        Default: the name, a sky of its own.
    cuts : mapping, optional
        Pair to [lmin, lmax]; bandpowers whose centre lies inside are kept.
    priors : mapping, optional
        Prior of each calibration parameter, where the definition has none or another is wanted.
    units_checked : bool
        Skip the comparison with LCDM that finds wrong units and orders.

    Raises
    ------
    DataError, LikelihoodError
        For files that are missing or malformed, a data model with foregrounds, a nuisance parameter
        without a prior, bandpowers far off any LCDM.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the YAML definition of a candl data set")
    files = Folder(path.parent)
    with reading(path, "the definition of a candl data set"):
        got = read_candl(files, path.name)
    name = name or path.stem
    given = {p: prior_from_config(p, spec) for p, spec in (priors or {}).items()}
    if unknown := [p for p in given if p not in got.parameters]:
        raise LikelihoodError(
            f"{name}: priors: {unknown[0]!r} is not a parameter of {', '.join(got.parameters)}"
        )
    # a joint prior holds as a whole or, replaced, not at all
    joint = tuple(p for p in got.joint_priors if not set(p.names) & set(given))
    for together in got.joint_priors:
        if together not in joint and (left := [n for n in together.names if n not in given]):
            raise LikelihoodError(
                f"{name}: priors: {', '.join(together.names)} have one prior together; give all of them or none, "
                f"found none for {', '.join(left)}"
            )
    single = {p: x for p, x in got.nuisance.items() if p not in given}
    nuisance = {**single, **given}
    if missing := [p for p in got.parameters if p not in nuisance]:
        raise LikelihoodError(
            f"{path}: the nuisance parameter {missing[0]} has no prior; add priors: {{{missing[0]}: {{gaussian: "
            "[1.0, 0.01]}} to this entry of data"
        )
    limits = {pair: (int(a), int(b)) for pair, (a, b) in (cuts or {}).items()}
    lensing = bool(got.leakage or got.templates)
    if lensing and limits:
        raise LikelihoodError(f"{name}: a lensing data set cannot be cut in multipole")
    kept = cut(name, Bandpowers(got.windows, got.data, got.covariance), limits, whole=False)
    if empty := [p for p, w in kept.windows.items() if not w.any(axis=1).all()]:
        raise DataError(f"{path}: windows of {empty[0]}: a bandpower without any weight")
    reach = {p: (int(centres(w).min()), int(centres(w).max())) for p, w in kept.windows.items()}
    ignored = f"; its priors on {', '.join(got.other_priors)} are not used" if got.other_priors else ""
    info = DataSetInfo(
        name=name,
        title=f"{name}: {path.name}",
        sky=cut_sky({survey or name: reach}, kept, limits, whole=False),
        n_data=len(kept.data),
        citation="",
        approximation=f"Gaussian bandpowers of the user's file{ignored}",
        nuisance=nuisance,
        joint_priors=joint,
        allow_overlap=allow_overlap,
    )
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    if lensing:
        blocks = pair_blocks(kept.windows, got.leakage)
        return GaussianBandpowers(
            info, blocks, kept.data, kept.covariance, got.calibration, sums, got.templates
        )
    calibration = {
        p: {pair: x for pair, x in powers.items() if pair in kept.windows}
        for p, powers in got.calibration.items()
    }
    like = GaussianBandpowers(info, kept.windows, kept.data, kept.covariance, calibration, sums)
    if not units_checked:
        check_against_lcdm(like, str(path))
    return like


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
