from __future__ import annotations

from pathlib import Path

from cmbfit.io import publish_record, read_json, write_json
from cmbfit.spectra import read_spectra
from cmbfit.survey.fields import read_fields
from cmbfit.survey.nulls import survey_checks
from cmbfit.theory.textfile import read_arrays
from pipeline.estimate_survey import bins_of, field_files, inputs_of


def check_nulls(
    *,
    fields: Path,
    differences: Path,
    spectra: Path,
    fiducial: Path,
    edges: list[str],
    lmax: int,
    output: Path,
    weighting: str = "dl",
) -> None:
    """Run the null tests of a survey; the outcome is a file, the exit code is 0.

    Parameters
    ----------
    fields
        JSON: files of each field.
    differences
        JSON: files of each difference of channels.
    spectra
        SACC: the combination.
    fiducial
        Table of D_l (uK^2): ell tt te ee bb ...
    edges
        Half-open bins, or: planck LMAX.
    lmax
        Of the mode coupling.
    output
        Where the checks go (JSON).
    weighting
        Of multipoles in a bin: dl, cl, uniform.
    """
    specs = read_json(fields)
    bins = bins_of(edges, weighting)
    files, other_files = field_files(specs), field_files(read_json(differences))
    checks = survey_checks(
        read_fields(files, bins),
        read_spectra(spectra),
        bins,
        read_arrays(fiducial),
        lmax,
        read_fields(other_files, bins),
    )
    write_json(output, {"checks": checks})
    inputs = inputs_of([*files, *other_files], specs)
    publish_record(output, inputs=[*inputs, spectra, fiducial])
