from __future__ import annotations

from pathlib import Path

from cmbfit.fit import Fit
from cmbfit.inference.exact import ExactTheory
from cmbfit.inference.products import read_samples
from cmbfit.inference.sequential import chosen_rows
from cmbfit.theory.emulator.trainingset import write_chunk


def compute_exact(
    *,
    samples: Path,
    fit: Path,
    draws: int,
    first: int,
    part: tuple[int, int],
    seed: list[int],
    code: str,
    checkpoint: Path,
    output: Path,
) -> None:
    """Compute exact CAMB spectra at draws from a fit's posterior, to judge the emulator and re-weight the chain.

    It resumes from its checkpoint.

    Parameters
    ----------
    samples
        The fit's chain (publish_chains).
    fit
        JSON: the fit, complete.
    draws
        Points at most.
    first
        How many of them the parts compute together; extend_exact goes on where these do not decide.
    part
        This part and the number of parts.
    seed
        Of the random numbers.
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the checkpoints; check_emulator removes it.
    output
        Where the spectra go (NPZ).
    """
    chain = read_samples(samples)
    exact = ExactTheory(Fit.read(fit), code)
    rows = chosen_rows(chain, draws, seed)[:first]
    number, parts = part
    columns = [chain.names.index(name) for name in exact.theory.parameters]
    theta = chain.joined[rows[number::parts]][:, columns]
    write_chunk(output, exact.spectra(theta, checkpoint, lambda text: print(text, flush=True)))
