from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cmbfit.fit import Fit, build_likelihoods, build_theory
from cmbfit.inference.exact import ExactTheory, read_exact
from cmbfit.inference.products import read_samples
from cmbfit.inference.reweight import log_likelihood_ratio
from cmbfit.inference.sequential import ROUND, bounds, chosen_rows, edges, in_order, record
from cmbfit.io import read_json, write_json
from cmbfit.theory.emulator.accuracy import errors_in_sigma, spectra_of
from cmbfit.theory.emulator.trainingset import TrainingSet, join, write_chunk
from cmbfit.theory.extrapolation import extrapolate_spectra


def extend_exact(
    *,
    exact: list[Path],
    samples: Path,
    fit: Path,
    marks: Path,
    seed: list[int],
    code: str,
    checkpoint: Path,
    decision: Path,
    output: Path,
) -> None:
    """Add exact spectra until the check of the emulator is decided at five sigma, and look at the chain's edges.

    It resumes from its checkpoints.

    Parameters
    ----------
    exact
        All parts of compute_exact, in order.
    samples
        The fit's chain (publish_chains).
    fit
        JSON: the fit, complete.
    marks
        JSON: theory.emulator.check of the configuration.
    seed
        Of the random numbers.
    code
        Hash of the code; part of the checkpoints' identity.
    checkpoint
        Folder of the checkpoints; check_emulator removes it.
    decision
        Where the decision goes (JSON).
    output
        Where the further spectra go (NPZ); no points where the parts decide.
    """
    described, limits = Fit.read(fit), read_json(marks)
    chain, likelihoods = read_samples(samples), build_likelihoods(described)
    theory, guessed = (
        build_theory(described),
        build_theory(described, lmax=max(like.lmax for like in likelihoods)),
    )
    columns = [chain.names.index(name) for name in guessed.parameters]
    rows = chosen_rows(chain, limits["draws"], seed)
    source = ExactTheory(described, code)

    def log(text: str) -> None:
        print(text, flush=True)

    def ratios(done: TrainingSet, values: np.ndarray) -> dict[str, np.ndarray]:
        nuisance = {
            name: torch.from_numpy(values[:, i].copy())
            for i, name in enumerate(chain.names[: chain.n_sampled])
        }
        truth = extrapolate_spectra(spectra_of(done), guessed.lmax)
        guess = guessed.spectra(torch.from_numpy(done.theta))
        return log_likelihood_ratio(likelihoods, truth, guess, nuisance)

    first, _ = read_exact(exact, chain, described, guessed.parameters, limits["draws"], seed)
    order = np.argsort(in_order(len(first.theta), len(exact)))
    done, more = first.select(order), first.select(np.arange(0))
    while True:
        values = chain.joined[rows[: len(done.theta)]]
        found = ratios(done, values)
        errors = errors_in_sigma(theory.spectra(torch.from_numpy(done.theta)), done.dl)
        state = bounds(
            chain.names, values, np.sum(list(found.values()), axis=0), {k: -2 * x for k, x in found.items()},
            {pair: np.percentile(x[:, 2:], 95, axis=1) for pair, x in errors.items() if pair in ("tt", "te", "ee")}, limits,
        )  # fmt: skip
        decision_now = record(state, len(done.theta), limits["draws"], chain.n_sampled)
        log(f"{len(done.theta)} points: {'decided' if decision_now['decided'] else 'not decided'}")
        if decision_now["decided"] or len(done.theta) == limits["draws"]:
            break
        wanted = chain.joined[rows[len(done.theta) : len(done.theta) + ROUND]][:, columns]
        points = source.spectra(wanted, checkpoint / f"from_{len(done.theta)}", log)
        more, done = join([more, points]), join([done, points])
    if decision_now["decided"] and len(done.theta) < limits["draws"]:
        outer = chain.joined[edges(chain.joined[:, : chain.n_sampled])]
        far = ratios(source.spectra(outer[:, columns], checkpoint / "edges", log), outer)
        inner = np.sum(list(found.values()), axis=0).mean()
        decision_now["edges"] = [float(x - inner) for x in np.sum(list(far.values()), axis=0)]
    write_chunk(output, more)
    write_json(decision, decision_now)
