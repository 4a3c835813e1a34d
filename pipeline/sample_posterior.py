"""Run one independent chain of a fit until it has converged; resumes from its checkpoint."""

from __future__ import annotations

import argparse
import json
import logging

import torch

from cmbfit.inference.sampling import sample_and_publish
from cmbfit.likelihood.build import posterior_from_config
from cmbfit.likelihood.compiled import compile_if_possible
from cmbfit.likelihood.posterior import pick_device
from cmbfit.theory.select import theory_from_config
from pipeline.run_stage import run_stage

log = logging.getLogger(__name__)


def main() -> None:
    """Parse the arguments, sample, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--transfer", help="folder of the transfer expansion, for primordial models")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, nargs="+", required=True, help="run seed and ensemble number")
    parser.add_argument("--code", required=True, help="hash of the code; part of the checkpoint's identity")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    theory = theory_from_config(args.fit, args.emulator, args.transfer)
    posterior = compile_if_possible(posterior_from_config(args.fit, theory))
    log.info("relative difference of the folded ln L: %s; device %s", posterior.fold_difference, device)
    sample_and_publish(posterior.to(device), args.fit, args.seed, args.checkpoint, args.code, args.output)


if __name__ == "__main__":
    run_stage(main)
