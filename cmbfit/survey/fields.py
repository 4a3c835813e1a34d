"""Fields of a survey from prepared files: splits, mask, beam, templates, measured noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import SpectrumError
from cmbfit.io import sha256_file
from cmbfit.sky.beams import Beam
from cmbfit.sky.fits import read_column, read_mask_product
from cmbfit.sky.maps import Array, StokesMap
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.fields import Field, Noise
from cmbfit.spectra.master import Transfer
from cmbfit.spectra.multi import mean_alms, mean_pseudo
from cmbfit.spectra.noise import noise_from_auto
from cmbfit.spectra.transforms import FieldAlms, pseudo_spectra
from cmbfit.survey.products import read_alms


@dataclass(frozen=True, eq=False)
class Cleaning:
    """Templates of one field.

    Attributes
    ----------
    alms : sequence over templates of sequences over splits
        Coefficients of the masked regressors.
    b, covariance : ndarray, shape (k,), (k, k)
        Fitted coefficients of the regressors.
    """

    alms: Sequence[Sequence[FieldAlms]]
    b: Array
    covariance: Array


@dataclass(frozen=True, eq=False)
class SurveyField:
    """One field: what :class:`~cmbfit.spectra.fields.Field` needs, and its coefficients.

    Attributes
    ----------
    field : Field
        Its split maps are blank: their pixels are not needed any more.
    alms : sequence of FieldAlms
        Of each split, before cleaning.
    pixel_variance : float
        Noise variance of I of one split that the files state, mean inside the mask, uK^2; 0: not stated.
    """

    field: Field
    alms: Sequence[FieldAlms]
    cleaning: Cleaning | None = None
    pixel_variance: float = 0.0

    def cleaned(self, shift: Array | None = None) -> list[FieldAlms]:
        """Return the splits' coefficients with templates taken off.

        Parameters
        ----------
        shift : ndarray, shape (k,), optional
            Added to the coefficients: how bandpowers answer to them.
        """
        if self.cleaning is None:
            return list(self.alms)
        b = self.cleaning.b + (0.0 if shift is None else shift)
        out = []
        for s, own in enumerate(self.alms):
            e = own.e - sum(b_k * t[s].e for b_k, t in zip(b, self.cleaning.alms, strict=True))
            p = own.b - sum(b_k * t[s].b for b_k, t in zip(b, self.cleaning.alms, strict=True))
            out.append(replace(own, e=e, b=p))
        return out


@dataclass(frozen=True)
class FieldFiles:
    """Where the prepared files of one field lie.

    Attributes
    ----------
    splits, alms : sequence of str
        Products of prepare_split and transform_split.
    mask, beam : str
    templates : sequence over templates of sequences over splits
    coefficients : mapping, optional
        "b" and "covariance_b" of the fit.
    stated_noise : bool
        Whether the weights of the splits are inverse noise variances of white noise in I, 1/uK^2.
    """

    name: str
    splits: Sequence[str]
    alms: Sequence[str]
    mask: str
    beam: str
    templates: Sequence[Sequence[str]] = ()
    coefficients: Mapping[str, Sequence[float]] = field(default_factory=dict)
    stated_noise: bool = True


def read_transfer(path: str | Path) -> Beam:
    """Read the text table "ell t e b" of prepare_beam: beam times pixel window."""
    rows = np.loadtxt(path, ndmin=2)
    if rows.shape[1] != 4 or not np.array_equal(rows[:, 0], np.arange(len(rows))):
        raise SpectrumError(f"{path}: expected the columns ell t e b from l = 0")
    return Beam(rows[:, 1], rows[:, 2], rows[:, 3])


def write_transfer(path: str | Path, beam: Beam) -> None:
    """Write a transfer function as the text table "ell t e b"."""
    table = np.column_stack([np.arange(beam.lmax + 1), *beam.teb])
    np.savetxt(path, table, fmt=["%d", "%.10e", "%.10e", "%.10e"], header="ell t e b")


def noise_depth(paths: Sequence[str | Path], support: NDArray[np.bool_]) -> tuple[Array, float]:
    """Return the noise variance per pixel that the files state, as a shape and a level.

    Returns
    -------
    depth : ndarray, shape (npix,)
        Mean of 1 / weight over splits, divided by its mean inside the mask.
    variance : float
        That mean, uK^2 in I of one split.
    """
    total = np.zeros(support.size)
    for path in paths:
        weight, _ = read_column(path, "WEIGHT")
        if not (weight[support] > 0).all():
            raise SpectrumError(f"{path}: pixels inside the mask without weight")
        total[support] += 1 / weight[support] / len(paths)
    mean = float(total[support].mean())
    return np.asarray(total / mean, dtype=np.float64), mean


def measured_noise(field: Field, alms: Sequence[FieldAlms], bins: Bins, depth: Array) -> Noise:
    """Return the noise of one split: mean auto- minus mean cross-spectrum, as smooth N_l times depth."""
    lmax = alms[0].lmax
    norm = float(np.mean(field.mask.weights**2 * depth))
    cross = mean_pseudo(alms)
    autos = [pseudo_spectra(a, a) for a in alms]
    padded = bins.padded(lmax)
    level = {
        s: noise_from_auto(np.mean([a[s] for a in autos], axis=0), cross[s], padded, norm)
        for s in ("tt", "ee", "bb")
    }
    return Noise(level["tt"], 0.5 * (level["ee"] + level["bb"]), depth)


def read_field(files: FieldFiles, blank: StokesMap | None = None) -> SurveyField:
    """Assemble one field without a noise model.

    Parameters
    ----------
    blank : StokesMap, optional
        Stands for the split maps, whose pixels are not needed any more; shared by fields to save memory.

    Raises
    ------
    SpectrumError
        When coefficients were made under another mask or differ in lmax.
    """
    mask = read_mask_product(files.mask, name=f"mask of {files.name}")
    digest = sha256_file(files.mask)
    alms = [read_alms(path, digest) for path in files.alms]
    templates = [[read_alms(path, digest) for path in row] for row in files.templates]
    lmax = {a.lmax for a in [*alms, *(t for row in templates for t in row)]}
    if len(lmax) != 1:
        raise SpectrumError(f"field {files.name!r}: coefficients of different lmax {sorted(lmax)}")
    if blank is None:
        zero = np.zeros(mask.weights.size)
        blank = StokesMap(zero, zero, zero, coord=mask.coord)
    beam = read_transfer(files.beam)
    made = Field(files.name, [blank] * len(files.splits), mask, Transfer(beam.t, beam.p))
    if not templates:
        return SurveyField(made, alms)
    b, covariance = (np.asarray(files.coefficients[k], dtype=np.float64) for k in ("b", "covariance_b"))
    return SurveyField(made, alms, Cleaning(templates, b, covariance))


def read_fields(files: Sequence[FieldFiles], bins: Bins) -> list[SurveyField]:
    """Assemble the fields of a survey with their measured noise; errors as :func:`read_field`."""
    out: list[SurveyField] = []
    for f in files:
        one = read_field(f, out[0].field.splits[0] if out else None)
        depth, variance = noise_depth(f.splits, one.field.mask.support)
        noise = measured_noise(one.field, one.cleaned(), bins, depth)
        out.append(
            replace(one, field=replace(one.field, noise=noise), pixel_variance=variance * f.stated_noise)
        )
    return out


def difference_alms(alms: Sequence[FieldAlms]) -> list[FieldAlms]:
    """Return the half-differences (1 - 2) / 2, (3 - 4) / 2, ... of splits."""
    out = []
    for one, two in zip(alms[0::2], alms[1::2], strict=False):
        negative = replace(two, t=-two.t, e=-two.e, b=-two.b)
        out.append(mean_alms([one, negative]))
    return out
