from __future__ import annotations

import logging
from pathlib import Path

import torch

from cmbfit.device import pick_device
from cmbfit.fit import Fit, build_posterior
from cmbfit.inference.sampling import sample_and_publish

log = logging.getLogger(__name__)


def sample_posterior(
    *,
    fit: Path,
    seed: list[int],
    code: str,
    checkpoint: Path,
    output: Path,
    device: str = "auto",
    threads: int = 1,
) -> None:
    """Run one independent chain of a fit until it has converged; resumes from its checkpoint.

    Parameters
    ----------
    fit
        JSON: the fit, complete.
    seed
        Run seed and ensemble number.
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the checkpoints.
    output
        Where the chain goes (HDF5).
    device
        auto, cpu or cuda.
    threads
        Of torch.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    chosen = pick_device(device)
    described = Fit.read(fit)
    posterior = build_posterior(described, chosen)
    log.info("relative difference of the folded ln L: %s; device %s", posterior.fold_difference, chosen)
    sample_and_publish(posterior, described, seed, checkpoint, code, output)
