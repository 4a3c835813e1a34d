"""Fields of a survey from prepared files: splits, mask, beam, templates, measured noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.io import atomic_file, reading
from cmbfit.sky.beams import LEAKS, Beam
from cmbfit.sky.fits import read_column, read_mask_product
from cmbfit.sky.harmonic import Alm, lmax_of, scale_alm
from cmbfit.sky.maps import Array
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.fields import Field
from cmbfit.spectra.master import Transfer
from cmbfit.spectra.multi import mean_alms, split_noise
from cmbfit.spectra.templates import CleanedModes, monopole_dipole
from cmbfit.spectra.transforms import FieldAlms
from cmbfit.survey.products import mask_label, read_alms


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

    def modes(self, response: Alm, transfer: Transfer) -> CleanedModes:
        """Return what the fit's chance correlation with the sky takes from a field.

        Parameters
        ----------
        response : ndarray, shape (k, 2, n)
            Of b to the sky's coefficients without beam (:attr:`~cmbfit.sky.template_fit.TemplateFit.sky_response`).
        """
        g = np.array([[mean.e, mean.b] for mean in map(mean_alms, self.alms)])
        beam = transfer.p[: lmax_of(response) + 1]
        return CleanedModes(g, scale_alm(response, np.divide(1, beam, out=0 * beam, where=beam > _FLOOR)))


@dataclass(frozen=True, eq=False)
class SurveyField:
    """One field: what :class:`~cmbfit.spectra.fields.Field` needs, and its coefficients.

    Attributes
    ----------
    field : Field
        With the number of its splits: their pixels are not needed any more.
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
    mask_p : str
        Of Q and U; `mask` when empty.
    survey : str
        See :class:`~cmbfit.spectra.fields.Field`.
    templates : sequence over templates of sequences over splits
    coefficients : mapping, optional
        "b", "covariance_b" and "response" of the fit.
    stated_noise : bool
        Whether the weights of the splits are inverse noise variances of white noise in I, 1/uK^2.
    """

    name: str
    splits: Sequence[str]
    alms: Sequence[str]
    mask: str
    beam: str
    templates: Sequence[Sequence[str]] = ()
    coefficients: Mapping[str, Any] = field(default_factory=dict)
    stated_noise: bool = True
    mask_p: str = ""
    survey: str = ""


_FLOOR = 1e-2
"""Of a beam that is divided out."""

_COLUMNS = "ell t e b"


def read_beam_table(path: str | Path) -> Beam:
    """Read the text table of :func:`write_beam_table`: beam times pixel window."""
    with reading(path, f"rows of numbers, {_COLUMNS}", SpectrumError):
        rows = np.loadtxt(path, ndmin=2)
    if not 4 <= rows.shape[1] <= 6 or not np.array_equal(rows[:, 0], np.arange(len(rows))):
        raise SpectrumError(
            f"{path}: expected the columns {_COLUMNS}, then none, t_to_e, or t_to_e and t_to_b, from l = 0"
        )
    return Beam(*rows.T[1:])


def write_beam_table(path: str | Path, beam: Beam) -> None:
    """Write a transfer function as the text table "ell t e b", and "t_to_e", "t_to_b" where the map's E or B holds T."""
    columns, header = [np.arange(beam.lmax + 1), *beam.teb], _COLUMNS
    for key in LEAKS[: 2 if beam.t_to_b is not None else len(beam.leaks)]:
        columns, header = [*columns, beam.leaks.get(key, 0 * beam.t)], f"{header} {key}"
    with atomic_file(path) as f:
        np.savetxt(f, np.column_stack(columns), fmt=["%d"] + ["%.10e"] * (len(columns) - 1), header=header)


def noise_depth(paths: Sequence[str | Path], field: Field) -> tuple[Array, float]:
    """Return the noise variance per pixel that the files state, as a shape and a level.

    Returns
    -------
    depth : ndarray, shape (npix,)
        Mean of 1 / weight over splits, times the relative area of the pixel, divided by its mean inside the masks.
    variance : float
        That mean, uK^2 in I of one split, of a pixel of mean area.
    """
    support = field.mask.support | field.mask_of("e").support
    total = np.zeros(support.size)
    for path in paths:
        weight, _ = read_column(path, "WEIGHT")
        if not (weight[support] > 0).all():
            raise SpectrumError(f"{path}: pixels inside the mask without weight")
        total[support] += 1 / weight[support] / len(paths)
    total[support] *= field.mask.grid.relative_area(
        support
    )  # white noise has as much in a square degree anywhere
    mean = float(total[support].mean())
    return np.asarray(total / mean, dtype=np.float64), mean


def read_field(files: FieldFiles) -> SurveyField:
    """Assemble one field without a noise model.

    Raises
    ------
    SpectrumError
        When coefficients were made under another mask or differ in lmax.
    """
    mask = read_mask_product(files.mask, name=f"mask of {files.name}")
    mask_p = read_mask_product(files.mask_p, name=f"mask of Q, U of {files.name}") if files.mask_p else None
    label = mask_label(files.mask, files.mask_p or None)
    alms = [read_alms(path, label) for path in files.alms]
    templates = [[read_alms(path, label) for path in row] for row in files.templates]
    lmax = {a.lmax for a in [*alms, *(t for row in templates for t in row)]}
    if len(lmax) != 1:
        raise SpectrumError(f"field {files.name!r}: coefficients of different lmax {sorted(lmax)}")
    beam = read_beam_table(files.beam)
    transfer = Transfer(beam.t, beam.p, beam.t_to_e, beam.t_to_b)
    if len(kinds := {a.polarised for a in alms}) > 1:
        raise SpectrumError(f"field {files.name!r}: some splits have Q and U and some do not")
    made = Field(
        files.name, len(files.splits), mask, transfer, mask_p=mask_p, survey=files.survey, polarised=kinds.pop(),
        filters=monopole_dipole(mask),  # transform_split takes them off
    )  # fmt: skip
    if not templates:
        return SurveyField(made, alms)
    wanted = ("b", "covariance_b", "response")
    if missing := set(wanted) - set(files.coefficients):
        raise SpectrumError(
            f"field {files.name!r}: coefficients without {sorted(missing)}; fit the templates again"
        )
    b, covariance, response = (np.asarray(files.coefficients[k], dtype=np.float64) for k in wanted)
    cleaning = Cleaning(templates, b, covariance)
    cleaned = cleaning.modes(response[..., 0] + 1j * response[..., 1], transfer)
    return SurveyField(replace(made, cleaned=cleaned), alms, cleaning)


def read_fields(files: Sequence[FieldFiles], bins: Bins) -> list[SurveyField]:
    """Assemble the fields of a survey with their measured noise; errors as :func:`read_field`."""
    out: list[SurveyField] = []
    for f in files:
        one = read_field(f)
        depth, variance = noise_depth(f.splits, one.field)
        noise = split_noise(one.field, one.cleaned(), bins, depth)
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
