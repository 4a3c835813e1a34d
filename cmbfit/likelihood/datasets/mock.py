"""Mock data sets: a survey's noise, its share of the sky and a model of the sky in a ``dataset.yaml``.

```yaml
kind: mock
fsky: 0.4
sky: {so_lat: {tt: [40, 3000], te: [40, 3000], ee: [40, 5000]}}
noise:                         # of each field t, e, b, p
  t: {file: NAME.txt, column: 1}              # N_l [uK^2], of C_l, beam divided out; for p of the convergence
  e: {white: [[7.3, 43.0], [5.0, 65.0]]}      # [FWHM in arcmin, uK arcmin] of channels, inverse-variance weighted
truth: {emulator: lcdm_high, parameters: {...}}   # of the emulator; and beta, a rotation in degrees
seed: 3                        # draw the data; their own mean without it
```

A user's file in this form is a data set like any other, `data: [./mysurvey.yaml]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from cmbfit.errors import DataError, LikelihoodError, unknown_name
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info, refuse_idle
from cmbfit.likelihood.datasets.tables import read_numbers
from cmbfit.likelihood.mock import FIELDS, MockSpectra
from cmbfit.theory.spectra import Spectra
from cmbfit.units import dl_over_cl

_KEYS = ("title", "kind", "files", "members", "fsky", "sky", "noise", "truth", "seed", "nuisance", "citation",
         "approximation", "reference", "name")  # fmt: skip
_ARCMIN = np.pi / 10800


def read(source: Source, options: Options) -> Likelihood:
    """Return the likelihood of mock data; cuts are those of auto-spectra, and the cross-spectra follow.

    Raises
    ------
    DataError
        For an unknown key, noise that does not reach, a truth that is no point of its emulator.
    """
    spec = dict(source.spec)
    if unknown := [k for k in spec if k not in _KEYS]:
        raise DataError(f"{source.name}: {unknown_name('key', unknown[0], _KEYS)}")
    spec["sky"] = _cut(source.name, spec["sky"], options)
    ranges = {p: r for pairs in spec["sky"].values() for p, r in pairs.items()}
    lmax = max(int(high) for _, high in ranges.values())
    used = Source(source.name, spec, source.files, source.sums)
    n_data = sum(int(high) - int(low) + 1 for low, high in ranges.values())
    info = data_set_info(used, n_data, options)
    refuse_idle(info, ())
    noise = {x: _noise(used, x, spec["noise"][x], lmax) for x in spec["noise"]}
    truth, parameters = true_spectra(source.name, spec["truth"], lmax, tuple(ranges))
    return MockSpectra(
        info, truth, noise, spec["fsky"], seed=spec.get("seed"), parameters=parameters, files=source.sums
    )


def _cut(name: str, sky: Mapping[str, Any], options: Options) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the multipoles that are left; [0, 0] drops a spectrum."""
    out: dict[str, dict[str, tuple[int, int]]] = {}
    for survey, pairs in sky.items():
        left = {p: (int(a), int(b)) for p, (a, b) in pairs.items()}
        for pair, (low, high) in options.cuts.items():
            if pair not in left or pair[0] != pair[1]:
                raise LikelihoodError(
                    f"{name}: cuts: {pair}: expected one of {', '.join(p for p in left if p[0] == p[1])}; "
                    "cross-spectra are where both of their fields are"
                )
            first, last = max(low, left[pair][0]), min(high, left[pair][1])
            if first <= last:
                left[pair] = first, last
            else:
                del left[pair]
        for pair in [p for p in left if p[0] != p[1]]:
            parts = [left.get(x + x) for x in pair]
            both = [p for p in parts if p]
            low, high = max((p[0] for p in both), default=0), min((p[1] for p in both), default=-1)
            if options.cuts and (None in parts or low > high):
                del left[pair]
            elif options.cuts:
                left[pair] = low, high
        if not left:
            raise LikelihoodError(f"{name}: the cuts leave nothing")
        out[survey] = left
    return out


def _noise(source: Source, field: str, given: Mapping[str, Any], lmax: int) -> np.ndarray:
    """Return a field's noise in the units of its auto-spectrum, from l = 0."""
    if field not in FIELDS:
        raise DataError(f"{source.name}: noise: {unknown_name('field', field, FIELDS)}")
    ell = np.arange(lmax + 1.0)
    if set(given) == {"file", "column"}:
        table = read_numbers(source.files, given["file"])
        column = int(given["column"])
        if table.ndim != 2 or not 1 <= column < table.shape[1]:
            raise DataError(
                f"{given['file']}: no column {column} beside the multipoles, found shape {table.shape}"
            )
        if not (np.diff(table[:, 0]) > 0).all():
            raise DataError(f"{given['file']}: expected multipoles in rising order in the first column")
        power = np.interp(ell, table[:, 0], table[:, column], left=np.nan, right=np.nan)
    elif set(given) == {"white"}:
        weight = np.zeros(lmax + 1)
        for fwhm, level in given["white"]:
            if not (fwhm >= 0 and level > 0):
                raise DataError(
                    f"{source.name}: noise: {field}: expected [FWHM, level] in arcmin, uK arcmin, found {[fwhm, level]}"
                )
            beam = np.exp(
                -ell * (ell + 1) * (fwhm * _ARCMIN) ** 2 / (16 * np.log(2))
            )  # exp(-l (l + 1) sigma^2 / 2)
            weight += (beam / (level * _ARCMIN)) ** 2
        power = np.divide(1.0, weight, out=np.full(lmax + 1, np.inf), where=weight > 1e-300)
        # what no channel sees is as good as not there, and stays a number
        power = np.minimum(power, 1e12)
    else:
        raise DataError(
            f"{source.name}: noise: {field}: expected {{file, column}} or {{white}}, found {sorted(given)}"
        )
    if field == "p":  # C_L^kk = [L(L+1)]^2 C_L^pp / 4, and [L(L+1)]^2 C_L^pp / 2 pi is what spectra hold
        return power * 4 / (2 * np.pi)
    return power * dl_over_cl(ell)


def true_spectra(
    name: str, truth: Mapping[str, Any], lmax: int, pairs: tuple[str, ...]
) -> tuple[Spectra, dict[str, float]]:
    """Return the signal of mock data, and its parameters by their own names.

    Raises
    ------
    DataError
        If the emulator does not reach `lmax`, or a key is unknown.
    """
    from cmbfit.theory.base import point_from_values  # noqa: PLC0415 (as those below: only mock data need them)
    from cmbfit.theory.birefringence.rotation import rotate  # noqa: PLC0415
    from cmbfit.theory.emulator.bundle import load_emulator  # noqa: PLC0415

    if set(truth) != {"emulator", "parameters"}:
        raise DataError(f"{name}: truth: expected emulator and parameters, found {sorted(truth)}")
    emulator = load_emulator(truth["emulator"])
    values = {p: float(x) for p, x in truth["parameters"].items()}
    beta = values.pop("beta", 0.0)
    point = point_from_values(emulator, values)
    with torch.no_grad():
        spectra = emulator.spectra(point)
    if spectra.lmax < lmax:
        raise DataError(f"{name}: truth: {truth['emulator']} reaches l = {spectra.lmax}, the data l = {lmax}")
    out = (
        rotate(spectra, torch.tensor([beta], dtype=torch.float64))
        if {"tb", "eb"} & {*pairs} or beta
        else spectra
    )
    return out, dict(zip(emulator.parameters, point[0].tolist(), strict=True)) | (
        {"beta": beta} if beta else {}
    )
