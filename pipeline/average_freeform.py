from __future__ import annotations

from pathlib import Path

import numpy as np

from cmbfit.checkpoint import require_made_of
from cmbfit.fit import Fit
from cmbfit.inference.freeform import Member, average
from cmbfit.inference.products import read_samples
from cmbfit.io import provenance, read_json, write_json
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.knots import number_of_knots


def average_freeform(*, groups: Path, seed: int, output: Path) -> None:
    """Average free-form P(k) over numbers of knots by evidence, for each set of data.

    Parameters
    ----------
    groups
        JSON: for each set of data ``data`` and ``fits``: ``fit`` (Fit.describe), ``samples`` and ``evidence`` of each.
    seed
        Of the draws from the priors.
    output
        Where the record goes (JSON).
    """
    out, inputs = [], []
    for i, group in enumerate(read_json(groups)):
        members: list[Member] = []
        for part in group["fits"]:
            fit, evidence = Fit.from_json(part["fit"]), read_json(part["evidence"])
            require_made_of(part["evidence"], evidence["provenance"]["settings"], {"seed": seed})
            model = get_model(str(fit.primordial))
            samples = read_samples(part["samples"])
            columns = [samples.names.index(p) for p in model.parameter_names]
            number = number_of_knots(fit.primordial)
            if number is None:
                continue
            members.append(
                Member(fit.name, fit.title, number, model, fit.priors, samples.joined[:, columns], evidence)
            )
            inputs += [part["samples"], part["evidence"]]
        title = " + ".join(item if isinstance(item, str) else next(iter(item)) for item in group["data"])
        out.append({"title": title, **average(members, np.random.default_rng([seed, i]))})
    write_json(output, {"groups": out, "provenance": provenance(inputs=inputs)})
