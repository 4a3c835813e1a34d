from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cmbfit.checkpoint import discard
from cmbfit.fit import Fit, build_likelihoods, build_theory
from cmbfit.inference.exact import read_exact
from cmbfit.inference.products import read_samples
from cmbfit.inference.sequential import first_points
from cmbfit.io import read_json, write_json
from cmbfit.report.checks import below, write_checks
from cmbfit.theory.emulator.accuracy import measure, spectra_of
from cmbfit.theory.emulator.bundle import read_arrays
from cmbfit.theory.emulator.manifest import bundle_folder
from cmbfit.theory.emulator.stored_errors import errors_by_multipole
from cmbfit.theory.extrapolation import LEAST_LMAX, extrapolate_spectra


def check_emulator(
    *,
    exact: list[Path],
    samples: Path,
    fit: Path,
    marks: Path,
    seed: list[int],
    errors: Path,
    output: Path,
    checkpoints: list[Path],
) -> None:
    """Compare the emulator with exact spectra over the posterior and report its held-out error.

    Parameters
    ----------
    exact
        All parts of compute_exact, in order, and extend_exact's where there is one.
    samples
        The fit's chain (publish_chains).
    fit
        JSON: the fit, complete.
    marks
        JSON: theory.emulator.check of the configuration.
    seed
        Of the random numbers: which points of the chain these must be.
    errors
        Where the errors by multipole go (JSON).
    output
        Where the checks go (JSON).
    checkpoints
        Folders of the exact spectra's checkpoints, which have served when the checks are there.
    """
    described, limits = Fit.read(fit), read_json(marks)
    theory = build_theory(described)
    chain = read_samples(samples)
    first = first_points(limits)
    computed, _ = read_exact(exact, chain, described, theory.parameters, limits["draws"], seed, first)
    accuracy = measure(theory, computed.theta, computed.dl, computed.derived)
    manifest, arrays = read_arrays(bundle_folder(described.theory["emulator"]))
    checks = []
    for pair in ("tt", "te", "ee"):
        for where, found, limit in (
            ("posterior", accuracy.overall[pair], limits["posterior_95"]),
            ("box", manifest["accuracy"]["overall"][pair], limits["box_95"]),
        ):
            comment = f"68% {found[0]:.2g}, 99% {found[2]:.2g}, max {found[3]:.2g}; f_sky = 1, l >= 2"
            checks.append(
                below(f"emulator {pair} over the {where}: 95% of |dD_l|/sigma_CV", found[1], limit, comment)
            )
    one = torch.ones(len(computed.theta), dtype=torch.float64)
    truth, guess = spectra_of(computed), theory.spectra(torch.from_numpy(computed.theta))
    likelihoods = build_likelihoods(described)
    lmax = max(like.lmax for like in likelihoods)
    if theory.lmax >= LEAST_LMAX:
        truth, guess = extrapolate_spectra(truth, lmax), extrapolate_spectra(guess, lmax)
    for like in likelihoods:
        name = like.info.name
        nuisance = dict.fromkeys(like.info.nuisance, one)
        difference = -2 * (like.log_prob(guess, nuisance) - like.log_prob(truth, nuisance)).numpy()
        comment = (
            f"{len(one)} posterior draws: median {np.median(np.abs(difference)):.3f}, "
            f"scatter {difference.std():.3f} (a constant offset drops out of a fit)"
        )
        checks.append(
            below(
                f"emulator: 95% of |delta chi2| of {name}",
                float(np.percentile(np.abs(difference), 95)),
                limits["delta_chi2_95"],
                comment,
            )
        )
    write_checks(output, checks)
    box = errors_by_multipole(arrays, manifest["lmax"])
    write_json(
        errors,
        {
            "n_box": manifest["accuracy"]["n_points"],
            "n_posterior": accuracy.n_points,
            "mark": limits["posterior_95"],
            "box": {p: box[p].tolist() for p in accuracy.per_ell},
            "posterior": {p: x.tolist() for p, x in accuracy.per_ell.items()},
        },
    )
    discard(*checkpoints)
