from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cmbfit.figures.predictive import plot_predictive, predictive_table, summary_text
from cmbfit.figures.style import save_figure
from cmbfit.fit import Fit, build_posterior
from cmbfit.inference.predictive import predictive_tests, replicate
from cmbfit.inference.products import read_samples
from cmbfit.io import provenance, write_json


def check_predictive(
    *,
    name: str,
    fit: Path,
    samples: Path,
    draws: int,
    seed: int,
    figure: Path,
    output: Path,
) -> None:
    """Posterior predictive checks of one fit: whether the model would have given such data.

    Parameters
    ----------
    name
        Of the product.
    fit
        JSON: the fit, complete.
    samples
        The fit's chain (publish_chains).
    draws
        How many.
    seed
        Of the random numbers.
    figure
        Where the figure goes (PNG); PDF and CSV are written beside it.
    output
        Where the record goes (JSON).
    """
    described = Fit.read(fit)
    torch.set_num_threads(1)
    posterior = build_posterior(described, fold=False)
    chain, rng = read_samples(samples), np.random.default_rng(seed)
    points = chain.joined[:, : chain.n_sampled]
    replicas = replicate(posterior, points[rng.integers(len(points), size=draws)], rng)
    tests = [test for replica in replicas for test in predictive_tests(replica)]
    records = [test.record() for test in tests]
    print(summary_text(records))
    save_figure(plot_predictive(replicas, tests), figure.with_suffix(""), predictive_table(replicas))
    write_json(
        output,
        {
            "fit": name,
            "title": described.title,
            "tests": records,
            "left_out": [
                like.info.name
                for like in posterior.likelihoods
                if like.info.name not in {r["data_set"] for r in records}
            ],
            "provenance": provenance(inputs=[str(samples)], draws=draws, seed=seed),
        },
    )
