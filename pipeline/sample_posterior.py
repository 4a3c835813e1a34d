"""Run one emcee ensemble of a fit until it has converged; resumes from its checkpoint."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import torch

from cmbfit.inference.ensemble import EnsembleSettings, initial_walkers, run_ensemble
from cmbfit.inference.products import write_chain
from cmbfit.io import publish_record, sha256_json
from cmbfit.likelihood.build import posterior_from_config, start_from_config
from cmbfit.likelihood.compiled import compile_if_possible
from cmbfit.likelihood.posterior import pick_device
from cmbfit.theory.emulator.bundle import load_emulator
from pipeline.run_stage import run_stage

log = logging.getLogger(__name__)


def main() -> None:
    """Parse the arguments, sample, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--emulator", required=True)
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
    posterior = compile_if_possible(posterior_from_config(args.fit, load_emulator(args.emulator)))
    log.info("relative difference of the folded ln L: %s; device %s", posterior.fold_difference, device)
    posterior = posterior.to(device)
    settings = EnsembleSettings(**args.fit["sampler"])
    seeds = np.random.SeedSequence(args.seed)
    centre, scale = start_from_config(args.fit, posterior)
    start = initial_walkers(posterior, centre, scale, settings.walkers, np.random.default_rng(seeds))
    seed = int(seeds.generate_state(1)[0])
    # the JSON round trip makes the identity comparable with the one on disk
    identity = json.loads(
        json.dumps({"posterior": posterior.settings(), "start": args.fit["start"], "code": args.code})
    )
    # other inputs get another folder: a checkpoint is only ever resumed with the inputs that made it
    # (max_steps only says when to give up: raising it goes on from where the run stopped)
    sampler = {k: v for k, v in args.fit["sampler"].items() if k != "max_steps"}
    folder = Path(args.checkpoint) / sha256_json([identity, seed, sampler])[:16]
    chain = run_ensemble(posterior, start, settings, seed, folder, identity)
    write_chain(args.output, chain, {**identity, "seed": seed, "fold_difference": posterior.fold_difference})
    publish_record(args.output, settings=identity, seed=seed, device=str(device), seconds=chain.seconds)
    shutil.rmtree(args.checkpoint)  # the chain is published: this and abandoned checkpoints have served


if __name__ == "__main__":
    run_stage(main)
