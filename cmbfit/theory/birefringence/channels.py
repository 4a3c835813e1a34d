"""Measuring rotation angles of several channels without a model of their spectra.

A detector whose polarisation angle is off by alpha turns what it sees by alpha, so CMB alone measures
theta = alpha + beta; :func:`beta_from_angles` says what a prior on alpha makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cmbfit.errors import LikelihoodError


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
        Only their number of modes, 2l + 1, counts; of bins give `modes`.
    f_sky : float
    auto : bool
        Use the pairs i = j too, which needs noise without EB correlation.
    smooth : int
        Multipoles, or bins, averaged for the covariance.
    modes : torch.Tensor, shape (n_l,), optional
        Modes of the full sky in each value. Default: 2l + 1.
    channel : sequence of int, optional
        Number of the angle that each map has, from 0: splits of one frequency share theirs. Default: each its own.

    Attributes
    ----------
    n : int
        Number of angles.
    n_data : int

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
        channel: Sequence[int] | None = None,
        modes: torch.Tensor | None = None,
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
        self.channel = torch.arange(n) if channel is None else torch.tensor(list(channel))
        self.n = int(self.channel.max()) + 1
        if self.channel.shape != (n,) or set(self.channel.tolist()) != set(range(self.n)):
            raise LikelihoodError(
                f"rotation: expected a channel from 0 on for each of {n} maps, found {channel}"
            )
        self.ee, self.bb, self.eb, self.smooth = ee, bb, eb, smooth
        self.n_data = len(pairs) * len(ells)
        self.modes = (2 * ells + 1 if modes is None else modes) * f_sky
        self.set_reference(torch.zeros(self.n, dtype=torch.float64))

    def _turned_back(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return EE, BB, EB of maps turned by -theta; theta of shape (batch, n) in radians, one for each channel."""
        theta = theta[:, self.channel]
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
