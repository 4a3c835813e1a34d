"""Reader of candl-format data sets: a YAML definition and text files (Balkenhol et al. 2024, arXiv:2401.13433).

What is read here are foreground-marginalised ("lite") sets of one effective frequency and lensing
spectra: bandpowers, covariance, windows and a data model made of aberration, calibration, linear
lensing corrections and binned templates. A data model with any other step is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import sparse

from cmbfit.errors import DataError, LikelihoodError
from cmbfit.likelihood.datasets.candl_lensing import norm_correction, response_correction
from cmbfit.likelihood.datasets.tables import embed, lookup, read_numbers
from cmbfit.likelihood.priors import Gaussian, JointGaussian, Prior
from cmbfit.units import dl_over_cl

Calibration = dict[str, dict[str, float]]

_TEMPLATE = "common_lensing.BinnedTemplateForeground"

KK_OF_PP = np.pi / 2
"""C_L^kappakappa = [L(L+1)]^2 C_L^phiphi / 4, which is pi/2 times our pp."""


@dataclass(frozen=True)
class CandlData:
    """Numbers of a candl-format data set.

    Attributes
    ----------
    windows : dict of str to numpy.ndarray, shape (n_bins, lmax + 1)
        On D_l [uK^2] from l = 0; aberration is folded in.
    data : numpy.ndarray, shape (n,)
        Constants of the data model are moved to this side.
    covariance : numpy.ndarray, shape (n, n)
        Corrected for a finite number of simulations where the definition asks for it.
    calibration : dict
        Nuisance name to pair to power, as :class:`~cmbfit.likelihood.gaussian.GaussianBandpowers` wants.
    leakage : dict
        (pair, source) to windows, shape (n_bins, lmax + 1): lensing corrections.
    nuisance : dict of str to Prior
        Gaussian priors that the definition gives to its calibration parameters.
    joint_priors : tuple of JointGaussian
    other_priors : tuple of str
        Parameters with a prior in the definition that are not its own, tau for example. They are not used.
    templates : dict of str to numpy.ndarray, shape (n,)
        Amplitude to what it adds to the bandpowers: a foreground that is binned already.
    """

    windows: dict[str, np.ndarray]
    data: np.ndarray
    covariance: np.ndarray
    calibration: Calibration
    leakage: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    nuisance: dict[str, Prior] = field(default_factory=dict)
    joint_priors: tuple[JointGaussian, ...] = ()
    other_priors: tuple[str, ...] = ()
    templates: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Its nuisance parameters."""
        return (*self.calibration, *self.templates)


def aberration_matrix(lmax: int, coefficient: float) -> sparse.csr_array:
    """Return the matrix that adds aberration to D_l given from l = 2 to `lmax`.

    C_l -> C_l - coefficient l dC_l/dl (Jeong et al. 2014, PRD 89, 023003, eq. 23), with central
    differences, one-sided at the ends, as candl computes it.

    Parameters
    ----------
    lmax : int
    coefficient : float
        beta <cos theta> of the survey's patch.

    Returns
    -------
    scipy.sparse.csr_array, shape (lmax - 1, lmax - 1)
    """
    ell = np.arange(2, lmax + 1.0)
    to_dl = dl_over_cl(ell)
    n = len(ell)
    derivative = sparse.diags_array([-0.5, 0.5], offsets=[-1, 1], shape=(n, n)).tolil()
    derivative[0, :2] = derivative[-1, -2:] = [-1.0, 1.0]
    response = sparse.diags_array(to_dl * ell) @ derivative.tocsr() @ sparse.diags_array(1 / to_dl)
    return sparse.csr_array(sparse.eye_array(n) - coefficient * response)


def _window_table(
    files: Mapping[str, bytes],
    folder: str,
    spectrum: str,
    place: tuple[int, int],
    seen: dict[bytes, np.ndarray],
) -> tuple[np.ndarray, str]:
    """Return a spectrum's table, l and a column per bin, and the file's name, in either of candl's layouts.

    `place` is the spectrum's column and number of bins; `seen` holds what was parsed: spectra may share windows.
    """
    column, n_bins = place

    def parsed(name: str) -> np.ndarray:
        raw = lookup(files, name)
        if raw not in seen:
            seen[raw] = read_numbers(files, name)
        return seen[raw]

    file = f"{folder}/{spectrum.replace(' ', '_')}_window_functions.txt"
    first = f"{folder}/window_1.txt"
    if file in files or first not in files:
        return parsed(file), file
    tables = [parsed(f"{folder}/window_{b + 1}.txt") for b in range(n_bins)]
    return np.column_stack([tables[0][:, 0], *(t[:, column + 1] for t in tables)]), first


def _windows(table: np.ndarray, name: str, n_bins: int, coefficient: float) -> np.ndarray:
    if table.ndim != 2 or table.shape[1] != n_bins + 1:
        raise DataError(f"{name}: expected l and {n_bins} columns of windows, found shape {table.shape}")
    if wrong := np.flatnonzero(table[:, 0] != np.arange(2, 2 + len(table))).tolist():
        if table[wrong[0] :, 1:].any():
            raise DataError(
                f"{name}: row {wrong[0] + 1}: expected l from 2 in steps of one, so l = {2 + wrong[0]}, "
                f"found {table[wrong[0], 0]:g}"
            )
        table = table[: wrong[0]]
    windows = table[:, 1:].T
    if coefficient:
        windows = windows @ aberration_matrix(len(table) + 1, coefficient)
    return embed(windows, np.arange(2, 2 + len(table)))


def _calibration(step: Mapping[str, Any], spectra: Mapping[str, str]) -> Calibration:
    """Powers of one calibration step; `spectra` maps candl's names to pairs."""
    powers: Calibration = {}

    def divide_by(name: str, spectrum: str) -> None:
        row = powers.setdefault(name, {})
        row[spectra[spectrum]] = row.get(spectra[spectrum], 0.0) - 1.0

    match step["Module"]:
        case "common.CalibrationSingleScalarSquared":
            return {step["cal_param"]: dict.fromkeys(spectra.values(), -2.0)}
        case "common.CalibrationSingleScalar":
            return {step["cal_param"]: dict.fromkeys(spectra.values(), -1.0)}
        case "common.PolarisationCalibrationDivision":
            return {step["cal_param"]: {p: -float(p.count("e")) for p in spectra.values() if "e" in p}}
        case "common.CalibrationAuto":
            # the model is divided by each of the parameters
            for spectrum, names in step["spec_param_dict"].items():
                for name in names:
                    divide_by(name, spectrum)
        case "common.CalibrationCross":
            # the model is divided by the mean of (c1 c2, c3 c4), here equal products of two factors
            for spectrum, (a, b, c, d) in step["spec_param_dict"].items():
                if {a, b} != {c, d}:
                    raise LikelihoodError(
                        f"{spectrum}: calibration with {a}, {b}, {c}, {d} is not a simple product"
                    )
                divide_by(a, spectrum)
                divide_by(b, spectrum)
        case other:
            raise LikelihoodError(f"the data model step {other!r} is not supported")
    return powers


def _sum(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Add windows that end at different multipoles."""
    size = max(one.shape[1], two.shape[1])
    return np.pad(one, ((0, 0), (0, size - one.shape[1]))) + np.pad(two, ((0, 0), (0, size - two.shape[1])))


def _priors(
    spec: Mapping[str, Any], files: Mapping[str, bytes], own: set[str]
) -> tuple[dict[str, Prior], tuple[JointGaussian, ...], tuple[str, ...]]:
    """Return single and joint priors of the data set's own parameters, and the names of the rest."""
    single: dict[str, Prior] = {}
    joint: list[JointGaussian] = []
    others: list[str] = []
    for row in spec.get("priors") or []:
        names = [row["par_names"]] if isinstance(row["par_names"], str) else list(row["par_names"])
        if not set(names) <= own:
            others += names
        elif len(names) == 1 and "prior_std" in row:
            single[names[0]] = Gaussian(float(row["central_value"]), float(row["prior_std"]))
        else:
            covariance = np.atleast_2d(read_numbers(files, row["prior_covariance"]))
            joint.append(
                JointGaussian(
                    tuple(names),
                    tuple(float(x) for x in row["central_value"]),
                    tuple(tuple(x) for x in covariance.tolist()),
                )
            )
    single |= {name: prior.marginal(name) for prior in joint for name in prior.names}
    return single, tuple(joint), tuple(others)


def read_candl(files: Mapping[str, bytes], definition: str) -> CandlData:
    """Read a data set.

    Parameters
    ----------
    files : mapping of str to bytes
        All files; see :class:`Folder`.
    definition : str
        Path of the YAML file among them. It names files relative to itself, or from the top of `files`.

    Raises
    ------
    DataError
        If a file is missing or malformed.
    LikelihoodError
        If the data model has a step that is not supported.
    """
    if parent := definition.rpartition("/")[0]:
        files = {name.removeprefix(f"{parent}/"): raw for name, raw in files.items()}
    spec, spectra, folder = _definition(files, definition.rpartition("/")[2])
    pairs = {name: name.split()[0].lower().replace("kk", "pp") for name in spectra}
    if len(set(pairs.values())) != len(pairs):
        raise LikelihoodError(
            f"{definition}: several spectra of one pair (several frequencies) are not supported"
        )
    data = np.array(np.atleast_1d(read_numbers(files, spec["band_power_file"])), dtype=np.float64)
    if data.shape != (sum(spectra.values()),):
        raise DataError(
            f"{spec['band_power_file']}: expected the {sum(spectra.values())} bandpowers of {', '.join(spectra)} "
            f"in one column, found shape {data.shape}"
        )
    covariance = np.atleast_2d(read_numbers(files, spec["covariance_file"]))
    if covariance.shape != 2 * data.shape:
        raise DataError(
            f"{spec['covariance_file']}: expected a row and a column for each of {len(data)} bandpowers, found "
            f"shape {covariance.shape}"
        )
    if "hartlap_correction" in spec:
        # Hartlap et al. 2007, eq. 17, for a covariance estimated from n simulations
        n = int(spec["hartlap_correction"]["N_sims"])
        covariance = covariance * (n - 1) / (n - len(data) - 2)
    model = spec.get("data_model") or []
    # aberration acts on the CMB, before calibration; multiplying factors commute with it
    aberrations = [s["aberration_coefficient"] for s in model if s["Module"] == "common.AberrationCorrection"]
    windows, seen = {}, dict[bytes, np.ndarray]()
    for column, (name, n_bins) in enumerate(spectra.items()):
        table, file = _window_table(files, folder, name, (column, n_bins), seen)
        windows[pairs[name]] = _windows(table, file, n_bins, float(sum(aberrations)))
    templates = _templates(files, model, len(data))
    model = [step for step in model if step["Module"] != _TEMPLATE]
    calibration, leakage, constant = _data_model(files, model, pairs, windows)
    if any(name.lower().startswith("kk") for name in spectra):
        windows["pp"] = KK_OF_PP * windows["pp"]
    single, joint, others = _priors(spec, files, {*calibration, *templates})
    return CandlData(
        windows, data + constant, covariance, calibration, leakage, single, joint, others, templates
    )


def _templates(files: Mapping[str, bytes], model: list[Mapping[str, Any]], n: int) -> dict[str, np.ndarray]:
    """Return the binned templates of the data model, each shape (n,), by their amplitudes."""
    out: dict[str, np.ndarray] = {}
    for step in model:
        if step["Module"] == _TEMPLATE:
            name = step["template_file"]
            table = np.atleast_2d(read_numbers(files, name))
            if table.shape != (n, 2):
                raise DataError(
                    f"{name}: expected the bin and its value in {n} rows, found shape {table.shape}"
                )
            out[step["amp_param"]] = out.get(step["amp_param"], np.zeros(n)) + table[:, 1]
    return out


def _definition(files: Mapping[str, bytes], name: str) -> tuple[dict[str, Any], dict[str, int], str]:
    """Return the definition, the number of bins of each spectrum, and the folder of the windows."""
    try:
        spec = yaml.safe_load(lookup(files, name))
        spectra = {spectrum: int(n) for row in spec["spectra_info"] for spectrum, n in row.items()}
        _ = spec["band_power_file"], spec["covariance_file"]
        return spec, spectra, spec["window_functions_folder"].rstrip("/")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{name}: not a candl data set definition ({error!r})") from error


def _data_model(
    files: Mapping[str, bytes],
    model: list[Mapping[str, Any]],
    pairs: Mapping[str, str],
    windows: Mapping[str, np.ndarray],
) -> tuple[Calibration, dict[tuple[str, str], np.ndarray], np.ndarray]:
    """Return calibration, responses to other spectra, and the constant that goes to the data."""
    calibration: Calibration = {}
    leakage: dict[tuple[str, str], np.ndarray] = {}
    constant = np.zeros(sum(len(w) for w in windows.values()))
    lensing = {
        "common_lensing.ResponseFunctionM": response_correction,
        "common_lensing.NormCorr": norm_correction,
    }
    for step in model:
        module = step["Module"]
        if module == "common.AberrationCorrection":
            continue
        if module in lensing and list(pairs.values()) == ["pp"]:
            add, fiducial = lensing[module](files, step, windows["pp"])
            constant = constant + fiducial
            for key, window in add.items():
                leakage["pp", key] = _sum(leakage.get(("pp", key), window[:, :0]), window)
            continue
        for name, powers in _calibration(step, pairs).items():
            row = calibration.setdefault(name, {})
            for pair, power in powers.items():
                row[pair] = row.get(pair, 0.0) + power
    return calibration, leakage, constant


class Folder(Mapping[str, bytes]):
    """The files of a folder by their path relative to it, read when asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __getitem__(self, name: str) -> bytes:
        path = self.root / name
        if not path.is_file():
            raise KeyError(name)
        return path.read_bytes()

    def __iter__(self) -> Any:
        return (str(p.relative_to(self.root)) for p in sorted(self.root.rglob("*")) if p.is_file())

    def __len__(self) -> int:
        return sum(1 for _ in self)
