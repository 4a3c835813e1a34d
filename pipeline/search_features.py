from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from cmbfit.device import pick_device
from cmbfit.errors import ConfigError
from cmbfit.fit import Fit, build_posterior, start_point
from cmbfit.inference.linear_model import linearise, power_response
from cmbfit.inference.look_elsewhere import FrequencySearch, search_record
from cmbfit.inference.maximum import find_maximum
from cmbfit.io import publish_record, read_json, write_json
from cmbfit.theory.primordial import get_model
from cmbfit.theory.transfer.expansion import TransferExpansion
from cmbfit.theory.transfer.store import read_transfer
from pipeline.record import recorded

log = logging.getLogger(__name__)


def search_features(
    *,
    fit: Path,
    search: Path,
    transfer: Path,
    seed: int,
    output: Path,
    curves: Path,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Search the data and simulated skies for oscillations of P(k) at every frequency.

    Parameters
    ----------
    fit
        JSON: the fit, complete.
    search
        JSON: models, omega [low, high], frequencies, amplitude_max, simulations.
    transfer
        Manifest of the transfer expansion, which primordial models need.
    seed
        Of the random numbers.
    output
        Where the record goes (JSON).
    curves
        Periodograms and histograms, for the figure.
    device
        Where it runs.
    """
    given = recorded(locals())
    described, settings = Fit.read(fit), read_json(search)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    posterior = build_posterior(described, fold=False)
    best = find_maximum(posterior, *start_point(described, posterior))
    read = read_transfer(transfer.parent)
    operator = read.at_centre() if isinstance(read, TransferExpansion) else read
    model = linearise(posterior, best.point)
    smooth = get_model("power_law")
    power = smooth.power(operator.k, smooth.point({p: best.point[p] for p in smooth.parameter_names}))[0]
    response = power_response(model, operator, power)
    chosen = pick_device(device)
    low, high = settings["omega"]
    fastest = operator.settings["nodes"]
    if fastest is not None and high > (limit := min(fastest["log_frequency"], fastest["linear_frequency"])):
        raise ConfigError(
            f"look_elsewhere.omega: the transfer functions carry frequencies up to {limit:g}, found {high:g}"
        )
    frequencies = torch.linspace(low, high, settings["frequencies"], dtype=torch.float64)
    searches = [
        FrequencySearch(model, response, operator.k, name, frequencies, settings["amplitude_max"]).to(chosen)
        for name in settings["models"]
    ]
    start = time.perf_counter()
    record = search_record(searches, model, settings["simulations"], np.random.default_rng(seed))
    seconds = time.perf_counter() - start
    log.info(
        "%d fits on %s in %.1f s",
        settings["simulations"] * settings["frequencies"] * len(searches),
        chosen,
        seconds,
    )
    record["data"] = [like.info.name for like in posterior.likelihoods]
    write_json(curves, record.pop("curves"))
    write_json(output, record)
    publish_record(
        output, inputs=[transfer], settings=given | {"fit": described.describe(), "search": settings}
    )
