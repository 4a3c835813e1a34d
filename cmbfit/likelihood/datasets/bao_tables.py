"""Files of baryon acoustic oscillations whose probability is a table."""

from __future__ import annotations

import numpy as np

from cmbfit.errors import DataError, LikelihoodError, shown
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info
from cmbfit.likelihood.datasets.tables import read_numbers
from cmbfit.likelihood.low_redshift.bao_table import BaoTables, Table


def read(source: Source, options: Options) -> Likelihood:
    """Return the likelihood of ``tables``: of one quantity or two at one redshift, a row a point.

    Each has ``file``, ``z``, ``quantities`` and what its last column ``holds``: likelihood or chi2. A file of that column
    alone has its points evenly ``between`` two values.
    """
    spec, tables = source.spec, []
    for row in spec["tables"]:
        numbers = np.atleast_2d(read_numbers(source.files, row["file"]))
        quantities = tuple(row["quantities"])
        if "between" in row:
            low, high = row["between"]
            numbers = np.column_stack([np.linspace(low, high, numbers.size), numbers.ravel()])
        if numbers.shape[1] != len(quantities) + 1:
            raise DataError(
                f"{row['file']}: expected {len(quantities) + 1} columns, {', '.join(quantities)} and {row['holds']}, found "
                f"{numbers.shape[1]}"
            )
        if row["holds"] not in ("likelihood", "chi2"):
            raise LikelihoodError(
                f"{source.name}: holds: expected likelihood or chi2, found {shown(row['holds'])}"
            )
        last = numbers[:, -1]
        if row["holds"] == "likelihood" and not (last > 0).all():
            raise DataError(f"{row['file']}: expected a likelihood above zero, found {last.min():g}")
        log_like = -0.5 * last if row["holds"] == "chi2" else np.log(last)
        tables.append(Table(row["file"], float(row["z"]), quantities, numbers[:, :-1], log_like))
    info = data_set_info(source, int(spec.get("n_data", 0)), options.without_cuts(source.name))
    return BaoTables(info, tables, horizon_scale=float(spec.get("horizon_scale", 1.0)), files=source.sums)
