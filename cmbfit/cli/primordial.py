"""``cmbfit theory --primordial``: spectra of a primordial model, by CAMB or by transfer functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbfit.errors import ParameterError, SpectrumError

if TYPE_CHECKING:
    import torch

    from cmbfit.theory.primordial import PrimordialModel
    from cmbfit.theory.spectra import Spectra


def primordial_spectra(
    name: str, values: Mapping[str, float], lmax: int, emulator: str, preset: str, transfer: Path | None
) -> tuple[Spectra, Spectra, dict[str, Any]]:
    """Return lensed spectra of a primordial model and of the power law that it departs from.

    Parameters
    ----------
    name : str
        A scalar model of the registry.
    values : mapping of str to float
        The background's parameters and the model's; what is not given of the model is its default.
    lmax : int
    emulator, preset : str
        Emulator (with `transfer`) or CAMB's preset (without).
    transfer : Path or None
        Folder of a transfer expansion. Without it CAMB computes both (half a minute).

    Returns
    -------
    spectra, smooth : Spectra
        Batches of one.
    settings : dict
    """
    import torch  # noqa: PLC0415 (as below: --help stays fast)

    from cmbfit.theory.primordial import get_model  # noqa: PLC0415
    from cmbfit.theory.spectra import Spectra  # noqa: PLC0415

    model = get_model(name)
    if model.kind != "scalar":
        raise ParameterError(
            f"--primordial {name}: a spectrum of tensors; for those use --code camb --set r=..."
        )
    own = {p: values[p] for p in model.parameter_names if p in values}
    background = {p: x for p, x in values.items() if p not in own}
    theta = model.point(own)
    if transfer is None:
        return _by_camb(model, theta, background, lmax, preset)
    from cmbfit.theory.base import point_from_values  # noqa: PLC0415
    from cmbfit.theory.primordial_theory import PrimordialTheory  # noqa: PLC0415
    from cmbfit.theory.select import theory_from_config  # noqa: PLC0415

    theory = theory_from_config({"theory": {"primordial": name}}, emulator, transfer)
    assert isinstance(theory, PrimordialTheory)  # noqa: S101 (a primordial model was asked for)
    if not 2 <= lmax <= theory.lmax:
        raise SpectrumError(f"--lmax: expected 2..{theory.lmax} for {name}, found {lmax}")
    defaults = dict(zip(model.parameter_names, theta[0].tolist(), strict=True))
    point = point_from_values(theory, {**background, **defaults})
    model.require_valid(theory.k, theta)
    with torch.no_grad():
        whole, imprint = theory.spectra(point), theory.imprint(point)
    cut = {p: x[:, : lmax + 1] for p, x in whole.dl.items()}
    smooth = {p: x - imprint[p][:, : lmax + 1] for p, x in cut.items()}
    return Spectra(cut, whole.parameters), Spectra(smooth, whole.parameters), theory.settings


def _by_camb(
    model: PrimordialModel, theta: torch.Tensor, background: Mapping[str, float], lmax: int, preset: str
) -> tuple[Spectra, Spectra, dict[str, Any]]:
    import math  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from cmbfit.theory.base import point_from_values  # noqa: PLC0415
    from cmbfit.theory.camb_code import CambTheory, get_preset  # noqa: PLC0415
    from cmbfit.theory.primordial.model import PIVOT  # noqa: PLC0415
    from cmbfit.theory.primordial_exact import TABLE, camb_with_power  # noqa: PLC0415
    from cmbfit.theory.spectra import Spectra  # noqa: PLC0415

    settings = get_preset(preset)
    if lmax > settings.lmax:
        raise SpectrumError(f"--lmax: expected 2..{settings.lmax} with --primordial, found {lmax}")
    k = torch.from_numpy(np.geomspace(*TABLE))
    model.require_valid(k[k < 1], theta)
    power = model.power(k, theta)[0]
    values = dict(zip(model.parameter_names, theta[0].tolist(), strict=True))
    near = torch.log(model.power(torch.tensor([PIVOT / 1.05, PIVOT * 1.05], dtype=torch.float64), theta))[0]
    tilt = values.get("ns", 1 + (near[1] - near[0]).item() / (2 * math.log(1.05)))
    lcdm = CambTheory(settings)
    start = point_from_values(lcdm, {**background, "logA": values["logA"], "ns": tilt})
    point = dict(zip(lcdm.parameters, start[0].tolist(), strict=True))
    smooth_power = math.exp(point["logA"]) * 1e-10 * (k.numpy() / PIVOT) ** (tilt - 1)
    both = []
    for table in (torch.where(k < 1, power, torch.from_numpy(smooth_power)).numpy(), smooth_power):
        dl = camb_with_power(settings, point, k.numpy(), table)[0][:, : lmax + 1]
        pairs = zip(("tt", "te", "ee", "bb", "pp"), dl, strict=True)
        parameters = {p: torch.tensor([x], dtype=torch.float64) for p, x in (point | values).items()}
        both.append(Spectra({p: torch.from_numpy(x.copy())[None] for p, x in pairs}, parameters))
    record = {"code": "camb", **dataclasses.asdict(settings), "primordial": model.name}
    return both[0], both[1], record


def save_imprint(spectra: Spectra, smooth: Spectra, stem: Path, title: str) -> None:
    """Publish a figure of the model's spectra and of their ratio to the power law's."""
    from cmbfit.figures.imprint import imprint_table, plot_imprint  # noqa: PLC0415 (matplotlib)
    from cmbfit.figures.style import save_figure  # noqa: PLC0415

    table = imprint_table(spectra, smooth)
    save_figure(plot_imprint(table, title), stem, table)
