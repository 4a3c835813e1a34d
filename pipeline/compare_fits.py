from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cmbfit.checkpoint import discard, require_made_of
from cmbfit.inference.model_config import Model, candidate, posteriors_of
from cmbfit.inference.model_table import compare
from cmbfit.inference.products import read_samples
from cmbfit.io import provenance, read_json, write_json


def compare_fits(
    *,
    groups: Path,
    files: Path,
    starts: int,
    seed: int,
    output: Path,
) -> None:
    """Compare the models of a run that were fitted to the same data: one table for each set of data.

    Parameters
    ----------
    groups
        JSON: lists of models (Model.describe).
    files
        JSON: `fits` (samples and summary of each), products of compute_evidence (`evidence`) and search_features
        (`look_elsewhere`), products with a table of their own (`closed`), and folders of the evidences' checkpoints
        (`checkpoints`), which have served when the record is there.
    starts
        Of the optimiser.
    seed
        Of the random numbers.
    output
        Where the record goes (JSON).
    """
    torch.set_num_threads(1)
    given = read_json(files)
    evidence = {(record := read_json(path))["model"]: (path, record) for path in given["evidence"]}
    searched = {k: x for path in given["look_elsewhere"] for k, x in read_json(path)["models"].items()}
    tables = []
    for i, group in enumerate(read_json(groups)):
        candidates = []
        models = [Model.from_json(spec) for spec in group]
        posteriors = posteriors_of(models)
        for model in models:
            path, record = evidence.get(model.name, (None, None))
            if record:
                made_of = record["provenance"]["settings"]
                wanted = {"posterior": posteriors[model.name].settings(), "seed": seed}
                require_made_of(path, made_of, wanted)
            fitted = given["fits"][model.fit.name]
            found = searched.get(model.fit.primordial)
            candidates.append(
                candidate(
                    model,
                    posteriors[model.name],
                    samples=read_samples(fitted["samples"]),
                    n_effective=read_json(fitted["summary"])["convergence"]["effective_samples_min"],
                    evidence=record,
                    look_elsewhere=found and found["global"],
                )
            )
        tables.append(compare(candidates, np.random.default_rng([seed, i]), starts=starts))
    tables += [read_json(path)["table"] for path in given["closed"]]
    inputs = [fit[key] for key in ("samples", "summary") for fit in given["fits"].values()]
    inputs += [*given["evidence"], *given["closed"]]
    write_json(output, {"tables": tables, "provenance": provenance(inputs=inputs)})
    discard(*given["checkpoints"])
