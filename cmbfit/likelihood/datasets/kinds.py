"""What each kind of ``dataset.yaml`` becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.archive import folder_of_archive
from cmbfit.likelihood.base import DataSetInfo, Likelihood
from cmbfit.likelihood.cuts import Bandpowers, Ranges, cut, cut_sky
from cmbfit.likelihood.datasets import planck_files
from cmbfit.likelihood.datasets.candl_format import read_candl
from cmbfit.likelihood.datasets.planck_lensing import planck_lensing
from cmbfit.likelihood.datasets.reference import held_correction
from cmbfit.likelihood.datasets.tables import lookup
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.leaky import LeakyBandpowers
from cmbfit.likelihood.priors import JointGaussian, Prior, prior_from_config
from cmbfit.likelihood.simall import TabulatedSpectrum
from cmbfit.likelihood.tau_prior import ParameterGaussian
from cmbfit.theory.parameters import unknown_name

Powers = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Source:
    """A data set's name, its ``dataset.yaml``, its files and their sha256."""

    name: str
    spec: Mapping[str, Any]
    files: Mapping[str, bytes]
    sums: Mapping[str, str]


@dataclass(frozen=True)
class Options:
    """What a user may change about a data set; see :func:`~cmbfit.likelihood.datasets.load_likelihood`."""

    cuts: Ranges = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    priors: Mapping[str, Prior] = field(default_factory=dict)
    allow_overlap: str = ""

    def without_cuts(self, name: str) -> Options:
        """Return itself, or refuse cuts where they have no meaning."""
        if self.cuts:
            raise LikelihoodError(
                f"{name}: this data set cannot be cut in multipole; use it whole or leave it"
            )
        return self


def data_set_info(source: Source, n_data: int, options: Options) -> DataSetInfo:
    """Describe a data set: sky, citation, and nuisance parameters under their final names.

    Raises
    ------
    LikelihoodError
        If `options` names an unknown nuisance parameter, or a new name has no prior.
    """
    spec = source.spec
    joint = tuple(_joint_prior(row, source.files) for row in spec.get("joint_priors", []))
    own = {k: prior_from_config(k, v) for k, v in spec["nuisance"].items()}
    own |= {n: prior.marginal(n) for prior in joint for n in prior.names}
    # a parameter that is fixed by default varies when it is given a prior
    own |= {n: p for n, p in options.priors.items() if n in spec.get("fixed", {})}
    if unknown := [n for n in options.rename if n not in own]:
        raise LikelihoodError(f"{source.name}: rename: {unknown_name('nuisance parameter', unknown[0], own)}")
    if correlated := [n for p in joint for n in p.names if n in options.rename or n in options.priors]:
        raise LikelihoodError(
            f"{source.name}: {correlated[0]} has a joint prior and cannot be renamed or replaced alone; give "
            "priors for all of its parameters in the fit's configuration"
        )
    nuisance: dict[str, Prior] = {}
    for old, prior in own.items():
        new = options.rename.get(old, old)
        if new != old and new not in options.priors:
            raise LikelihoodError(
                f"{source.name}: {old} is renamed to {new}, which has no prior here; add priors: {{{new}: ...}}"
            )
        nuisance[new] = options.priors.get(new, prior)
    if unknown := [n for n in options.priors if n not in nuisance]:
        raise LikelihoodError(
            f"{source.name}: priors: {unknown_name('nuisance parameter', unknown[0], nuisance)}"
        )
    return DataSetInfo(
        name=source.name,
        title=spec["title"],
        sky={survey: {p: (a, b) for p, (a, b) in ranges.items()} for survey, ranges in spec["sky"].items()},
        n_data=n_data,
        citation=spec["citation"],
        approximation=spec.get("approximation", ""),
        nuisance=nuisance,
        joint_priors=joint,
        allow_overlap=options.allow_overlap,
    )


def _joint_prior(spec: Mapping[str, Any], files: Mapping[str, bytes]) -> JointGaussian:
    names = tuple(spec["names"])
    file = spec["covariance_file"]
    covariance = planck_files.read_table(lookup(files, file), file, (len(names), len(names)))
    return JointGaussian(names, tuple(spec["mean"]), tuple(tuple(row) for row in covariance.tolist()))


def _renamed(calibration: Mapping[str, Mapping[str, float]], options: Options) -> Powers:
    """Return calibration powers under the new names; two that become one add."""
    out: Powers = {}
    for name, powers in calibration.items():
        row = out.setdefault(options.rename.get(name, name), {})
        for pair, power in powers.items():
            row[pair] = row.get(pair, 0.0) + power
    return out


def _gaussian(
    source: Source,
    options: Options,
    bandpowers: Bandpowers,
    calibration: Mapping[str, Mapping[str, float]],
    *,
    whole: bool,
) -> GaussianBandpowers:
    """Cut and build; `whole` as for :func:`~cmbfit.likelihood.cuts.cut`."""
    kept = cut(source.name, bandpowers, options.cuts, whole=whole)
    info = data_set_info(source, len(kept.data), options)
    info = replace(info, sky=cut_sky(info.sky, kept, options.cuts, whole=whole))
    return GaussianBandpowers(
        info, kept.windows, kept.data, kept.covariance, _renamed(calibration, options), source.sums
    )


def _plik_lite(source: Source, options: Options) -> Likelihood:
    bandpowers = Bandpowers(*planck_files.plik_lite(dict(source.files), source.spec["pairs"]))
    return _gaussian(source, options, bandpowers, source.spec["calibration"], whole=True)


def _lowl_tt_bins(source: Source, options: Options) -> Likelihood:
    bandpowers = Bandpowers(*planck_files.lowl_tt_bins(dict(source.files)))
    return _gaussian(source, options, bandpowers, source.spec["calibration"], whole=True)


def _simall(source: Source, options: Options) -> Likelihood:
    spec = source.spec
    table = planck_files.simall_table(source.files["prob_table.txt"], "prob_table.txt")
    info = data_set_info(source, 0, options.without_cuts(source.name))
    return TabulatedSpectrum(info, spec["pair"], spec["lmin"], spec["step"], table, source.sums)


def _candl(source: Source, options: Options) -> Likelihood:
    got = read_candl(source.files, source.spec["definition"])
    if not (got.leakage or got.templates):
        bandpowers = Bandpowers(got.windows, got.data, got.covariance)
        return _gaussian(source, options, bandpowers, got.calibration, whole=False)
    leakage, data = dict(got.leakage), got.data
    for pair, where in source.spec.get("hold", {}).items():
        data = data - held_correction(leakage.pop(("pp", pair)), pair, where)
    info = data_set_info(source, len(data), options.without_cuts(source.name))
    calibration = _renamed(got.calibration, options)
    templates = {options.rename.get(name, name): t for name, t in got.templates.items()}
    return LeakyBandpowers(
        info, got.windows, data, got.covariance, leakage, source.sums, calibration, templates
    )


def _planck_lensing(source: Source, options: Options) -> Likelihood:
    spec = source.spec
    got = planck_lensing(source.files, spec["n_bins"], with_cmb=spec["with_cmb"])
    info = data_set_info(source, len(got.data), options.without_cuts(source.name))
    calibration = _renamed(spec.get("calibration", {}), options)
    return LeakyBandpowers(info, got.windows, got.data, got.covariance, got.leakage, source.sums, calibration)


def _parameter(source: Source, options: Options) -> Likelihood:
    mean, std = source.spec["gaussian"]
    info = data_set_info(source, 1, options.without_cuts(source.name))
    return ParameterGaussian(info, source.spec["parameter"], mean, std)


def _bicep(source: Source, options: Options) -> Likelihood:
    from cmbfit.likelihood.datasets.bicep import read_bicep  # noqa: PLC0415 (scipy, for this kind alone)

    info = data_set_info(source, source.spec["n_data"], options.without_cuts(source.name))
    files, spec = source.files, source.spec
    if "archive" in spec:
        files = folder_of_archive(files[spec["archive"]], spec["archive"], spec["folder"])
    return read_bicep(info, files, spec, source.sums)


def _elica(source: Source, options: Options) -> Likelihood:
    from cmbfit.likelihood.datasets.elica import read_elica  # noqa: PLC0415 (as above)

    info = data_set_info(source, 0, options.without_cuts(source.name))
    return read_elica(info, source.files, source.spec["definition"], source.sums)


def _wmap7_pixels(source: Source, options: Options) -> Likelihood:
    from cmbfit.likelihood.pixel.datasets import wmap7_likelihood  # noqa: PLC0415 (healpy)

    info = data_set_info(source, 0, options.without_cuts(source.name))
    return wmap7_likelihood(info, source.spec["form"], source.sums)


def _wmap9_lowl(source: Source, options: Options) -> Likelihood:
    from cmbfit.likelihood.pixel.datasets import wmap9_likelihood  # noqa: PLC0415 (healpy)

    info = data_set_info(source, 0, options.without_cuts(source.name))
    (archive,) = source.files.values()
    return wmap9_likelihood(info, archive, source.sums)


KINDS: dict[str, Callable[[Source, Options], Likelihood]] = {
    "plik_lite": _plik_lite,
    "lowl_tt_bins": _lowl_tt_bins,
    "simall": _simall,
    "candl": _candl,
    "planck_lensing": _planck_lensing,
    "parameter": _parameter,
    "bicep": _bicep,
    "elica": _elica,
    "wmap7_pixels": _wmap7_pixels,
    "wmap9_lowl": _wmap9_lowl,
}
"""Kind in ``dataset.yaml`` to the function that builds the likelihood."""
