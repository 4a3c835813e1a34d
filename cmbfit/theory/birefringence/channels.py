"""Measuring rotation angles: a model fit of EB and TB, and a model-free fit of several channels.

A detector whose polarisation angle is off by alpha turns what it sees by alpha, so CMB alone measures
theta = alpha + beta; :func:`beta_from_angles` says what a prior on alpha makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from cmbfit.errors import LikelihoodError
from cmbfit.theory.birefringence.rotation import rotate_spectra


class ParityLikelihood:
    """Gaussian likelihood of one rotation angle from EB and TB of one map, given theory.

    Covariance for each l, with the total spectra X turned by a reference angle:
    (2l+1) f_sky Cov = EE BB + EB^2 (EB), TT BB + TB^2 (TB), TE BB + EB TB (between them).

    Parameters
    ----------
    eb, tb : torch.Tensor, shape (n_l,)
        Observed, noise bias removed, beam divided out.
    theory : mapping of str to torch.Tensor, shape (n_l,)
        te, ee, bb before the rotation, lensed.
    total : mapping of str to torch.Tensor, shape (n_l,)
        tt, te, ee, bb before the rotation with noise.
    ells : torch.Tensor, shape (n_l,)
    f_sky : float
    reference_deg : float
        Angle of the covariance, near the best fit.

    Raises
    ------
    LikelihoodError
        If lengths disagree.
    """

    def __init__(
        self,
        eb: torch.Tensor,
        tb: torch.Tensor,
        theory: Mapping[str, torch.Tensor],
        total: Mapping[str, torch.Tensor],
        ells: torch.Tensor,
        f_sky: float,
        reference_deg: float = 0.0,
    ) -> None:
        lengths = {len(x) for x in (eb, tb, ells, *theory.values(), *total.values())}
        if len(lengths) != 1 or not 0 < f_sky <= 1:
            raise LikelihoodError(
                f"rotation: expected one length and 0 < f_sky <= 1, found {lengths}, {f_sky}"
            )
        self.data = torch.stack([eb, tb], -1)
        self.theory = {p: theory[p][None] for p in ("te", "ee", "bb")}
        angle = torch.tensor([[math.radians(reference_deg)]], dtype=torch.float64)
        x = {p: v[0] for p, v in rotate_spectra({p: v[None] for p, v in total.items()}, angle).items()}
        rows = [
            [x["ee"] * x["bb"] + x["eb"] ** 2, x["te"] * x["bb"] + x["eb"] * x["tb"]],
            [x["te"] * x["bb"] + x["eb"] * x["tb"], x["tt"] * x["bb"] + x["tb"] ** 2],
        ]
        cov = torch.stack([torch.stack(r, -1) for r in rows], -2) / ((2 * ells + 1) * f_sky)[:, None, None]
        self.cholesky = torch.linalg.cholesky(cov)  # shape: (n_l, 2, 2)

    def log_prob(
        self,
        theta_deg: torch.Tensor,  # shape: (batch,)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L up to a constant for angles in degrees."""
        turned = rotate_spectra(self.theory, torch.deg2rad(theta_deg)[:, None])
        residual = self.data - torch.stack([turned["eb"], turned["tb"]], -1)  # shape: (batch, n_l, 2)
        white = torch.linalg.solve_triangular(self.cholesky, residual[..., None], upper=False)
        return -0.5 * white.square().sum((-1, -2, -3))


class ChannelLikelihood:
    """Angles theta_i = alpha_i + beta of several channels, from their observed spectra alone.

    Maps turned back by -theta have no EB (Minami & Komatsu 2020, arXiv:2006.15982, where the same
    condition is divided by cosines):

        d_ij = c_i c_j EB_ij - s_i s_j BE_ij - c_i s_j EE_ij + s_i c_j BB_ij,   c, s = cos, sin 2 theta.

    Neither theory nor beams enter. For the CMB alone and no foregrounds: their EB would have to be
    modelled. The covariance Cov(d_ij, d_kl) = EE_ik BB_jl / ((2l+1) f_sky) is that of the spectra turned
    back by a reference angle and averaged over multipoles, since one sky's own scatter would correlate
    the weights with the data.

    Parameters
    ----------
    ee, bb, eb : torch.Tensor, shape (n_channels, n_channels, n_l)
        Observed EE_ij, BB_ij and EB_ij (E of channel i, B of channel j), of every consecutive l, diagonals
        with their noise.
    ells : torch.Tensor, shape (n_l,)
    f_sky : float
    auto : bool
        Use the pairs i = j too, which needs noise without EB correlation.
    smooth : int
        Multipoles averaged for the covariance.

    Raises
    ------
    LikelihoodError
        If shapes disagree, or one channel is asked for cross-spectra.
    """

    def __init__(
        self,
        ee: torch.Tensor,
        bb: torch.Tensor,
        eb: torch.Tensor,
        ells: torch.Tensor,
        f_sky: float,
        *,
        auto: bool = True,
        smooth: int = 51,
    ) -> None:
        n = ee.shape[0]
        if not ee.shape == bb.shape == eb.shape == (n, n, len(ells)) or not 0 < f_sky <= 1:
            raise LikelihoodError(
                f"rotation: expected ee, bb, eb of one shape (n, n, {len(ells)}) and 0 < f_sky <= 1, found "
                f"{tuple(ee.shape)}, {tuple(bb.shape)}, {tuple(eb.shape)}, {f_sky}"
            )
        pairs = [(i, j) for i in range(n) for j in range(n) if auto or i != j]
        if not pairs:
            raise LikelihoodError("rotation: one channel has no cross-spectrum; use auto=True")
        self.i, self.j = torch.tensor(pairs).T
        self.ee, self.bb, self.eb, self.n, self.smooth = ee, bb, eb, n, smooth
        self.modes = (2 * ells + 1) * f_sky
        self.set_reference(torch.zeros(n, dtype=torch.float64))

    def _turned_back(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return EE, BB, EB of maps turned by -theta; theta of shape (batch, n) in radians."""
        c, s = torch.cos(2 * theta)[..., None], torch.sin(2 * theta)[..., None]
        ci, si, cj, sj = c[:, :, None], s[:, :, None], c[:, None], s[:, None]
        be = self.eb.transpose(0, 1)
        ee = ci * cj * self.ee + si * sj * self.bb + ci * sj * self.eb + si * cj * be
        bb = ci * cj * self.bb + si * sj * self.ee - si * cj * self.eb - ci * sj * be
        eb = ci * cj * self.eb - si * sj * be - ci * sj * self.ee + si * cj * self.bb
        return ee, bb, eb

    def set_reference(self, theta_deg: torch.Tensor) -> None:
        """Take the covariance at the angles `theta_deg`, shape (n_channels,)."""
        ee, bb, _ = self._turned_back(torch.deg2rad(theta_deg)[None])

        def mean(x: torch.Tensor) -> torch.Tensor:
            half = self.smooth // 2
            padded = torch.nn.functional.pad(x[0], (half, half), mode="replicate")
            return padded.unfold(-1, 2 * half + 1, 1).mean(-1)

        ee, bb = mean(ee), mean(bb)
        cov = ee[self.i[:, None], self.i] * bb[self.j[:, None], self.j] / self.modes
        self.cholesky = torch.linalg.cholesky(cov.permute(2, 0, 1))  # shape: (n_l, n_pairs, n_pairs)

    def log_prob(
        self,
        alpha_deg: torch.Tensor,  # shape: (batch, n_channels)
        beta_deg: torch.Tensor,  # shape: (batch,)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L up to a constant, in degrees; it depends on alpha_i + beta alone."""
        _, _, eb = self._turned_back(torch.deg2rad(alpha_deg + beta_deg[:, None]))
        d = eb[:, self.i, self.j].transpose(1, 2)[..., None]  # shape: (batch, n_l, n_pairs, 1)
        white = torch.linalg.solve_triangular(self.cholesky, d, upper=False)
        return -0.5 * white.square().sum((-1, -2, -3))

    def fit(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the best alpha_i + beta [deg], shape (n,), and their covariance [deg^2].

        Newton steps, the covariance of the data following the angles.

        Raises
        ------
        LikelihoodError
            If the data do not constrain the angles.
        """
        angle, hessian = torch.zeros(self.n, dtype=torch.float64), torch.eye(self.n, dtype=torch.float64)

        def minus_log(x: torch.Tensor) -> torch.Tensor:
            return -self.log_prob(x[None], torch.zeros(1, dtype=torch.float64))[0]

        for _ in range(12):
            self.set_reference(angle)
            gradient = torch.autograd.functional.jacobian(minus_log, angle)
            hessian = torch.autograd.functional.hessian(minus_log, angle)
            if not bool((torch.linalg.eigvalsh(hessian) > 0).all()):
                raise LikelihoodError(
                    "rotation: ln L has no maximum near zero; the data do not constrain the angles"
                )
            move = torch.linalg.solve(hessian, gradient).clamp(-5.0, 5.0)
            angle = angle - move
            if move.abs().max() < 1e-8:
                break
        return angle, torch.linalg.inv(hessian)


def beta_from_angles(
    theta_deg: torch.Tensor,  # shape: (n,)
    covariance: torch.Tensor,  # shape: (n, n)
    alpha_covariance: torch.Tensor,  # shape: (n, n)
) -> tuple[float, float]:
    """Return beta and its error [deg] from theta_i = alpha_i + beta and a zero-mean Gaussian prior on alpha.

    However precise the spectra, the error stays above that of the calibration: with a common error
    sigma_alpha of all channels it is at least sigma_alpha.
    """
    inverse = torch.linalg.inv(covariance + alpha_covariance)
    weight = inverse.sum(0) / inverse.sum()
    return (weight @ theta_deg).item(), inverse.sum().item() ** -0.5
