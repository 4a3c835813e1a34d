from __future__ import annotations

from pathlib import Path

import numpy as np

from cmbfit.io import publish_record, read_json, write_json
from cmbfit.sky import read_mask_product
from cmbfit.sky.cleaning import Source, fit_coefficients
from cmbfit.sky.fits import read_column
from cmbfit.survey.fields import read_beam_table
from cmbfit.survey.products import read_alms
from cmbfit.theory.textfile import read_arrays


def _source(spec: dict) -> Source:
    weight = np.sum([read_column(path, "WEIGHT")[0] for path in spec["splits"]], axis=0)
    positive = weight > 0
    depth = np.where(positive, 1 / np.where(positive, weight, 1.0), 1 / weight[positive].min())
    alms = [np.stack([x.e, x.b]) for x in map(read_alms, spec["alms"])]
    return Source(spec["name"], alms, depth, read_beam_table(spec["beam"]), spec.get("noise_uk_arcmin"))


def fit_templates(*, sources: Path, mask: Path, fiducial: Path, nside: int, output: Path) -> None:
    """Fit the template coefficients of one field and publish them with covariance and checks.

    Parameters
    ----------
    sources
        JSON: name, splits, alms, beam of the `field` and of each of its `templates`, and their has_cmb.
    mask
        Product of prepare_survey_mask.
    fiducial
        Table of D_l (uK^2): ell tt te ee bb ...
    nside
        Of the fit.
    output
        Where the record goes (JSON).
    """
    given = read_json(sources)
    own, others = given["field"], given["templates"]
    fit = fit_coefficients(
        _source(own),
        [_source(t) for t in others],
        [t["has_cmb"] for t in others],
        read_mask_product(mask, name="mask"),
        nside,
        read_arrays(fiducial)["ee"],
    )
    errors = np.sqrt(np.diag(fit.covariance_a))
    check = {
        "name": f"templates of {own['name']}, reduced chi2",
        "value": fit.reduced_chi2,
        "tolerance": "[0.5, 2]",
        "pass": bool(0.5 < fit.reduced_chi2 < 2),
        "comment": "; ".join(
            f"{name} {a:.5f} +- {s:.5f}" for name, a, s in zip(fit.names, fit.a, errors, strict=True)
        ),
    }
    out = {"field": own["name"], "templates": list(fit.names), "reduced_chi2": fit.reduced_chi2}
    out |= {k: getattr(fit, k).tolist() for k in ("a", "covariance_a", "b", "covariance_b")}
    response = np.asarray(fit.sky_response)
    out["response"] = np.stack([response.real, response.imag], axis=-1).tolist()
    write_json(output, {**out, "checks": [check]})
    files = [p for s in (own, *others) for p in (*s["splits"], *s["alms"], s["beam"])]
    publish_record(output, inputs=[*files, mask, fiducial], settings={**given, "nside": nside})
