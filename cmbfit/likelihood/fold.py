"""Fold linear steps of data sets into one small matrix for each set of calibrations.

A linear-decoder emulator gives D = s (a + B c) with an amplitude s(theta) and a few components c,
polynomials of theta. Windows, calibration and whitening are linear too, so for Gaussian data

    chi2 = |sum_g s_g k_g R_g [1, c_g] - d|^2,

where g runs over what shares a calibration k_g and an amplitude: the emulator's blocks, EE at l < 30,
where the components are exp(polynomials), and templates, whose amplitude is a nuisance parameter. A QR
decomposition of all R_g together rotates the hundreds of bandpowers onto the few directions that the
components can reach; what is orthogonal to them is a constant. All of this is exact up to rounding.
:func:`varying` goes on from there, and says what it neglects.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.bandpower_model import Powers
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.lognormal_bins import LogNormalBins
from cmbfit.likelihood.low_redshift.measured import DistanceLikelihood
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.simall import TabulatedSpectrum
from cmbfit.likelihood.tau_prior import ParameterGaussian
from cmbfit.theory.emulator.arrays import LOWL_EE_MAX
from cmbfit.theory.emulator.linear import LinearEmulator

Group = tuple[str, Powers]
"""Source of the components (a block of the emulator, "lowl_ee" or "template") and powers of the nuisances."""

_BLOCKS = {"pp": "lensing", "bb": "bb"}


class Foldable(NamedTuple):
    """A posterior's data sets by how they fold.

    Gaussian bandpowers, tables of low-l EE, measurements of sampled parameters, multi-frequency sets, distances, log-normal bins.
    """

    gaussian: list[GaussianBandpowers]
    tables: list[TabulatedSpectrum]
    direct: list[ParameterGaussian]
    multi: list[MultiFrequencyBandpowers]
    distances: list[DistanceLikelihood]
    binned: list[LogNormalBins]

    @property
    def linear(self) -> list[MultiFrequencyBandpowers | LogNormalBins]:
        """Data sets whose bandpowers are linear in the components, and ln L is another function of them."""
        return [*self.multi, *self.binned]


def foldable(posterior: Posterior) -> Foldable:
    """Sort a posterior's data sets by how they fold.

    Raises
    ------
    LikelihoodError
        If it has any other data set, or a table that reaches beyond the emulator's low-l EE.
    """
    gaussian: list[GaussianBandpowers] = []
    tables: list[TabulatedSpectrum] = []
    direct: list[ParameterGaussian] = []
    multi: list[MultiFrequencyBandpowers] = []
    distances: list[DistanceLikelihood] = []
    binned: list[LogNormalBins] = []
    for like in posterior.likelihoods:
        if isinstance(like, GaussianBandpowers):
            gaussian.append(like)
        elif isinstance(like, TabulatedSpectrum):
            tables.append(like)
        elif isinstance(like, ParameterGaussian) and like.parameter in posterior.theory.parameters:
            direct.append(like)
        elif isinstance(like, MultiFrequencyBandpowers):
            multi.append(like)
        elif isinstance(like, DistanceLikelihood):
            distances.append(like)
        elif isinstance(like, LogNormalBins):
            binned.append(like)
        else:
            raise LikelihoodError(f"{like.info.name} cannot be folded")
    for like in tables:
        if like.pairs != ("ee",) or like.lmin < 2 or like.lmax > LOWL_EE_MAX:
            raise LikelihoodError(f"{like.info.name} reaches beyond the emulator's low-l EE")
    return Foldable(gaussian, tables, direct, multi, distances, binned)


@dataclass(frozen=True)
class Folded(OnDevice):
    """Data sets with the same calibrations: chi2 = |matrix z - target|^2 + constant.

    Attributes
    ----------
    groups : tuple of (source, powers)
        z stacks, group by group, amplitude times calibration times the source's components.
    matrix : torch.Tensor or None, shape (n_directions, length of z)
        None if the components of the only group are those of the residual already.
    target : torch.Tensor, shape (n_directions,)
    constant : torch.Tensor, shape ()
    """

    groups: tuple[Group, ...]
    matrix: torch.Tensor | None
    target: torch.Tensor
    constant: torch.Tensor

    @functools.cached_property
    def norm(self) -> torch.Tensor:  # shape: ()
        """Ln L where the residual is zero."""
        return -0.5 * self.constant

    def residual(
        self, components: Mapping[str, torch.Tensor], scales: Mapping[Group, torch.Tensor]
    ) -> torch.Tensor:  # shape: (n_directions, batch)
        """Return target - model from the sources' components, each (n, batch), and the groups' scales, each (batch,)."""
        if self.matrix is None:
            (group,) = self.groups
            return torch.addcmul(self.target[:, None], components[group[0]], scales[group], value=-1)
        z = torch.cat([components[g[0]] * scales[g] for g in self.groups])
        return torch.addmm(self.target[:, None], self.matrix, z, alpha=-1)


def columns(
    emulator: LinearEmulator, like: GaussianBandpowers
) -> tuple[dict[Group, torch.Tensor], torch.Tensor]:
    """Return a data set's whitened response to each group's components, and its whitened data."""
    whitened, target = like.whitened()
    out: dict[Group, torch.Tensor] = {}
    for powers in dict.fromkeys(powers for _, powers in whitened):
        decoded = decoder_rows(emulator, {pair: rows for (pair, p), rows in whitened.items() if p == powers})
        out |= {(source, powers): matrix for source, matrix in decoded.items()}
    for name, rows in like.whitened_templates().items():
        out["template", ((name, 1.0),)] = rows[:, None]
    return out, target


def decoder_rows(
    emulator: LinearEmulator, windows: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:  # source -> (n_rows, n_components)
    """Return what windows on D_l, each (n_rows, lmax + 1) by pair, see of the components of each source.

    The first component of linear sources is the constant 1.

    Raises
    ------
    LikelihoodError
        If a pair is not among the emulator's spectra.
    """
    linear: dict[str, dict[str, torch.Tensor]] = {}
    out: dict[str, torch.Tensor] = {}
    for pair, block in windows.items():
        rows = block
        if pair == "ee" and bool(rows[:, 2 : LOWL_EE_MAX + 1].any()):
            low = torch.zeros(len(rows), LOWL_EE_MAX - 1, dtype=rows.dtype, device=rows.device)
            part = rows[:, 2 : LOWL_EE_MAX + 1]
            low[:, : part.shape[1]] = part
            out["lowl_ee"] = low
            rows = rows.clone()
            rows[:, : LOWL_EE_MAX + 1] = 0
        linear.setdefault(_BLOCKS.get(pair, "cmb"), {})[pair] = rows
    for source, matrices in linear.items():
        offset, matrix = emulator.fold(matrices, source)
        out[source] = torch.cat([offset[:, None], matrix], dim=1)
    return out


def unrotated(emulator: LinearEmulator, like: GaussianBandpowers) -> Folded:
    """Return one data set as it is: its directions are the whitened bandpowers.

    Raises
    ------
    LikelihoodError
        If a pair is not among the emulator's spectra.
    """
    parts, target = columns(emulator, like)
    return Folded(
        tuple(sorted(parts)), torch.cat([parts[g] for g in sorted(parts)], 1), target, target.new_zeros(())
    )


def fold(emulator: LinearEmulator, likelihoods: list[GaussianBandpowers]) -> list[Folded]:
    """Fold data sets; those with the same calibrations share one rotation.

    Data sets of other calibrations stay apart: their covariance is block-diagonal, and one residual
    of all of them would have to be as long as all groups' components together.

    Raises
    ------
    LikelihoodError
        If a pair is not among the emulator's spectra.
    """
    clusters: dict[tuple[Group, ...], list[Folded]] = {}
    for like in likelihoods:
        part = unrotated(emulator, like)
        clusters.setdefault(part.groups, []).append(part)
    folded = []
    for groups, members in clusters.items():
        data = torch.cat([part.target for part in members])
        basis, matrix = torch.linalg.qr(
            torch.cat([part.matrix for part in members if part.matrix is not None])
        )
        target = basis.T @ data
        folded.append(Folded(groups, matrix, target, (data - basis @ target).square().sum()))
    return folded


def varying(
    part: Folded,
    coefficients: torch.Tensor,  # shape: (n_directions, n_terms)
    degrees: np.ndarray,  # shape: (n_terms, n_parameters)
    neglect: float,
) -> tuple[Folded, torch.Tensor]:
    """Rotate a residual onto the directions that vary over the box, and drop the rest of them.

    The singular vectors of the Legendre coefficients order the directions by their variance over the box. Of
    those that together vary by less than `neglect`, two are kept: along the mean of the components and along the
    data. In what is dropped mean and data are zero, so that its whole effect on chi2 is second order, the
    amplitude times its own small square.

    Parameters
    ----------
    part : Folded
        Of one group.
    coefficients : torch.Tensor
        Of the residual's components; the first feature is the constant 1.
    degrees : numpy.ndarray of int
        Legendre degree of each parameter in each feature.
    neglect : float
        Largest mean over the box of what is dropped from chi2 at amplitude 1.

    Returns
    -------
    Folded, torch.Tensor
        The shorter residual and its coefficients, shape (n_kept, n_terms).
    """
    rms = torch.from_numpy(1 / np.sqrt((2 * degrees[1:] + 1).prod(axis=1)))  # of a feature over the box
    vectors, sizes, _ = torch.linalg.svd(
        coefficients[:, 1:] * rms.to(coefficients.device), full_matrices=False
    )
    dropped = sizes.square().flip(0).cumsum(0).flip(0)
    n = int((dropped > neglect).sum())
    rest = vectors[:, n:]
    if rest.shape[1] <= 2:
        return part, coefficients
    mean_and_data = torch.stack([rest.T @ coefficients[:, 0], rest.T @ part.target], dim=1)
    kept = torch.cat([vectors[:, :n], rest @ torch.linalg.qr(mean_and_data)[0]], dim=1)
    return replace(part, target=kept.T @ part.target), kept.T @ coefficients


def component_coefficients(emulator: LinearEmulator, source: str) -> torch.Tensor:
    """Return polynomial coefficients of a source's components, shape (n_components, n_terms).

    Those of the linear sources begin with the constant 1, which carries the decoder's mean.
    """
    if source == "lowl_ee":
        return emulator.lowl_ee_coefficients
    unit = torch.zeros_like(emulator.lowl_ee_coefficients[:1])
    unit[0, 0] = 1.0  # the first feature is the constant 1
    return unit if source == "template" else torch.cat([unit, emulator.block_coefficients(source)])


def source_amplitude(
    emulator: LinearEmulator,
    source: str,
    theta: torch.Tensor,  # shape: (batch, n_parameters of the emulator)
) -> torch.Tensor:  # shape: (batch,)
    """Return the factor of a source's components."""
    if source == "template":
        return torch.ones_like(theta[:, 0])
    return (
        emulator.scalar_amplitude(theta) if source == "lowl_ee" else emulator.block_amplitude(source, theta)
    )
