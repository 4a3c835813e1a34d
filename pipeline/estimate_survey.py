from __future__ import annotations

from pathlib import Path

from cmbfit.io import publish_record, read_json, write_json
from cmbfit.spectra import Bins, write_combined
from cmbfit.spectra.reach import continued_theory
from cmbfit.survey.analysis import analyse
from cmbfit.survey.fields import FieldFiles, read_fields
from cmbfit.survey.products import write_pairs
from cmbfit.theory.textfile import read_arrays


def field_files(specs: list[dict]) -> list[FieldFiles]:
    """Return where the files of each field lie; `coefficients` names the fit's file."""
    out = []
    for spec in specs:
        path = spec.get("coefficients")
        out.append(FieldFiles(**{**spec, "coefficients": read_json(path) if path else {}}))
    return out


def inputs_of(files: list[FieldFiles], specs: list[dict]) -> list[str]:
    """Return every file behind the fields, once each."""
    out = [
        p
        for f in files
        for p in (*f.splits, *f.alms, f.mask, f.mask_p, f.beam, *(t for r in f.templates for t in r))
        if p
    ]
    return list(dict.fromkeys([*out, *(s["coefficients"] for s in specs if s.get("coefficients"))]))


def bins_of(edges: list[str], weighting: str = "dl") -> Bins:
    """Return the bins: edges, or "planck LMAX"."""
    found = Bins.planck(int(edges[1])).edges if edges[0] == "planck" else [int(e) for e in edges]
    return Bins(found, weighting)


def estimate_survey(
    *,
    fields: Path,
    fiducial: Path,
    edges: list[str],
    lmax: int,
    combine: Path,
    pairs_output: Path,
    checks: Path,
    output: Path,
    weighting: str = "dl",
) -> None:
    """Estimate all cross-spectra of a survey's fields, combine them, compare pairs of fields, publish.

    Parameters
    ----------
    fields
        JSON: files of each field.
    fiducial
        Table of D_l (uK^2): ell tt te ee bb ...
    edges
        Half-open bins, or: planck LMAX.
    lmax
        Of the mode coupling.
    combine
        JSON: pairs of fields, all when null, and cuts: spectrum to pair to range.
    pairs_output
        HDF5: all cross-spectra.
    checks
        JSON: pairs of fields against each other.
    output
        SACC: the combination.
    weighting
        Of multipoles in a bin: dl, cl, uniform.
    """
    specs, wanted = read_json(fields), read_json(combine)
    given = {"fields": specs, **wanted, "edges": edges, "lmax": lmax, "weighting": weighting}
    files, bins = field_files(specs), bins_of(edges, weighting)
    dl, notes = continued_theory(read_arrays(fiducial), bins.lmax, lmax)
    estimated, combined, tests = analyse(
        read_fields(files, bins),
        bins,
        dl,
        lmax=lmax,
        pairs=[(a, b) for a, b in wanted["pairs"]] if wanted["pairs"] else None,
        cuts=wanted["cuts"],
    )
    inputs = [*inputs_of(files, specs), fiducial]
    write_pairs(pairs_output, estimated)
    publish_record(pairs_output, inputs=inputs, settings=given)
    write_json(checks, {"checks": tests})
    write_combined(output, combined)
    said = [estimated.facts["notes"]] if "notes" in estimated.facts else []
    publish_record(output, inputs=inputs, settings=given, notes=[*notes, *said])
