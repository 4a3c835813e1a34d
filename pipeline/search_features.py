"""Search the data and simulated skies for oscillations of P(k) at every frequency."""

from __future__ import annotations

import argparse
import json
import logging
import time

import numpy as np
import torch

from cmbfit.errors import ConfigError
from cmbfit.inference.linear_model import linearise, power_response
from cmbfit.inference.look_elsewhere import FrequencySearch, search_record
from cmbfit.inference.maximum import find_maximum
from cmbfit.io import publish_record, write_json
from cmbfit.likelihood.build import posterior_from_config, start_from_config
from cmbfit.likelihood.posterior import pick_device
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.primordial import get_model
from cmbfit.theory.transfer.expansion import TransferExpansion
from cmbfit.theory.transfer.store import read_transfer
from pipeline.run_stage import run_stage

log = logging.getLogger(__name__)


def main() -> None:
    """Parse the arguments, fit LCDM, search, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: data, priors, start")
    parser.add_argument(
        "--search",
        type=json.loads,
        required=True,
        help="JSON: models, omega [low, high], frequencies, amplitude_max, simulations",
    )
    parser.add_argument("--emulator", required=True, help="folder or name of a bundle")
    parser.add_argument("--transfer", required=True, help="folder of a transfer operator or expansion")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--curves", required=True, help="periodograms and histograms, for the figure")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    posterior = posterior_from_config(args.fit, load_emulator(args.emulator))
    best = find_maximum(posterior, *start_from_config(args.fit, posterior))
    transfer = read_transfer(args.transfer)
    operator = transfer.at_centre() if isinstance(transfer, TransferExpansion) else transfer
    model = linearise(posterior, best.point)
    smooth = get_model("power_law")
    power = smooth.power(operator.k, smooth.point({p: best.point[p] for p in smooth.parameter_names}))[0]
    response = power_response(model, operator, power)
    device = pick_device(args.device)
    settings = args.search
    low, high = settings["omega"]
    fastest = operator.settings["nodes"]
    if fastest is not None and high > (limit := min(fastest["log_frequency"], fastest["linear_frequency"])):
        raise ConfigError(
            f"look_elsewhere.omega: the transfer functions carry frequencies up to {limit:g}, found {high:g}"
        )
    frequencies = torch.linspace(low, high, settings["frequencies"], dtype=torch.float64)
    searches = [
        FrequencySearch(model, response, operator.k, name, frequencies, settings["amplitude_max"]).to(device)
        for name in settings["models"]
    ]
    start = time.perf_counter()
    record = search_record(searches, model, settings["simulations"], np.random.default_rng(args.seed))
    seconds = time.perf_counter() - start
    log.info(
        "%d fits on %s in %.1f s",
        settings["simulations"] * settings["frequencies"] * len(searches),
        device,
        seconds,
    )
    record["data"] = [like.info.name for like in posterior.likelihoods]
    write_json(args.curves, record.pop("curves"))
    write_json(args.output, record)
    publish_record(args.output, inputs=[f"{args.transfer}/manifest.json"], settings=vars(args))


if __name__ == "__main__":
    run_stage(main)
