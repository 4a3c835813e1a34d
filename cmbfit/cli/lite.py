"""``cmbfit lite``: a multi-frequency data set as CMB-only bandpowers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmbfit.cli.words import AllowCodeOption, EmulatorOption, SetOption, assignments, say
from cmbfit.errors import LikelihoodError

FIDUCIAL = {"ombh2": 0.02237, "omch2": 0.12, "theta_mc": 1.0409, "tau": 0.0544, "logA": 3.044, "ns": 0.9649}
"""Planck 2018 TT,TE,EE+lowE+lensing (arXiv:1807.06209, table 2): where what is marginalised to first order is taken."""


def lite(
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="NAME", help="Multi-frequency data set, or a candl definition (FILE.yaml)."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")],
    hold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A calibration that stays at 1, one of T and one of E; by default those that are left do not correlate with "
            "those that are marginalised. Repeat.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the data set that is made; NAME_lite by default.")
    ] = None,
    emulator: EmulatorOption = "lcdm_high",
    values: SetOption = None,
    allow_code: AllowCodeOption = False,  # noqa: ARG001 (its callback acts)
) -> None:
    """Marginalise foregrounds and relative calibrations of a multi-frequency data set: CMB-only bandpowers, in seconds.

    DIR gets NAME.yaml, a candl data set of bandpowers, covariance and windows whose overall calibrations Tcal and Ecal
    are left to vary, NAME.sacc.fits with these marginalised too, and record.json with what was marginalised. Aberration is
    in the windows; super-sample lensing is in the covariance, at the model of --set (Planck 2018).

    Example: cmbfit lite --data spt3g_2018_ttteee --hold Tcal150 --hold Ecal150 -o lite
    """
    from cmbfit.fit.build import load_data  # noqa: PLC0415 (torch: a mistake shows before it)
    from cmbfit.likelihood.lite import compress  # noqa: PLC0415
    from cmbfit.likelihood.lite_files import write_lite  # noqa: PLC0415
    from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers  # noqa: PLC0415
    from cmbfit.likelihood.selection import read_words  # noqa: PLC0415
    from cmbfit.theory.base import point_from_values  # noqa: PLC0415
    from cmbfit.theory.emulator.bundle import load_emulator  # noqa: PLC0415
    from cmbfit.theory.extrapolation import extrapolate_to  # noqa: PLC0415

    point = FIDUCIAL | assignments(values, "--set")
    likelihoods = load_data(read_words([data]))
    if len(likelihoods) != 1 or not isinstance(like := likelihoods[0], MultiFrequencyBandpowers):
        raise LikelihoodError(
            f"{data}: expected one data set of several frequencies with foregrounds, such as spt3g_2018_ttteee"
        )
    theory = extrapolate_to(load_emulator(emulator), like.lmax)
    made = compress(like, theory.spectra(point_from_values(theory, point)), hold or ())
    called = name or f"{like.info.name}_lite"
    title = f"{like.info.title}: CMB only"
    settings = {
        "data": data,
        "of": like.settings(),
        "hold": list(hold or ()),
        "fiducial": point,
        "emulator": emulator,
    }
    write_lite(output, made, called, title, settings)
    say(
        f"{output}: {len(made.data)} bandpowers of {len(like.data)}; calibrations left: {', '.join(made.calibrations) or 'none'}"
    )
    say("marginalised (mean, standard deviation):")
    for parameter, (mean, std) in made.nuisance.items():
        say(f"  {parameter:24} {mean:10.4f} {std:9.4f}")
