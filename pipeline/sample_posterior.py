from __future__ import annotations

import logging
from pathlib import Path

import torch

from cmbfit.inference.sampling import sample_and_publish
from cmbfit.likelihood.build import posterior_from_config
from cmbfit.likelihood.compiled import compile_if_possible
from cmbfit.likelihood.posterior import pick_device
from cmbfit.theory.select import theory_from_config
from pipeline.read import read_fit

log = logging.getLogger(__name__)


def sample_posterior(
    *,
    fit: Path,
    emulator: Path,
    seed: list[int],
    code: str,
    checkpoint: Path,
    output: Path,
    transfer: Path | None = None,
    device: str = "auto",
    threads: int = 1,
) -> None:
    """Run one independent chain of a fit until it has converged; resumes from its checkpoint.

    Parameters
    ----------
    fit
        JSON: the fit, complete.
    emulator
        Manifest of the emulator's bundle.
    seed
        Run seed and ensemble number.
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the checkpoints.
    output
        Where the chain goes (HDF5).
    transfer
        Manifest of the transfer expansion, which primordial models need.
    device
        auto, cpu or cuda.
    threads
        Of torch.
    """
    section = read_fit(fit)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    chosen = pick_device(device)
    theory = theory_from_config(section, emulator.parent, transfer and transfer.parent)
    posterior = compile_if_possible(posterior_from_config(section, theory))
    log.info("relative difference of the folded ln L: %s; device %s", posterior.fold_difference, chosen)
    sample_and_publish(posterior.to(chosen), section, seed, checkpoint, code, output)
