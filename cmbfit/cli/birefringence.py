"""``cmbfit birefringence``: rotation angles from the polarisation spectra of several maps."""

from __future__ import annotations

import json
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Annotated, Any

import typer

from cmbfit.cli.words import FigureOption, JsonOption, say

_UNLIKELY = 1e-3

_KEYS = {"maps", "spectra", "ell", "bin", "f_sky", "auto", "alpha_deg", "alpha_own_deg"}


def birefringence(
    description: Annotated[Path, typer.Argument(metavar="FILE", help="YAML: maps, spectra, ell, f_sky.")],
    as_json: JsonOption = False,
    figure: FigureOption = None,
) -> None:
    """Fit a rotation angle to each channel of several maps, from their EE, BB and EB alone (Minami & Komatsu 2020).

    FILE holds maps: {100a: 100, 100b: 100, 143a: 143} (map: channel whose angle it has), spectra: spectra_{a}x{b}.csv (the table
    of each pair, in either order, beside FILE; columns ell EE BB EB BE), ell: [51, 1490], f_sky: 0.6, and may hold bin: 20 (multipoles averaged), auto: true (spectra of
    a map with itself count too), alpha_deg: 0.28 (error that all detectors' angles share) and alpha_own_deg.

    Each angle is the detectors' plus beta; without dust's EB the CMB alone gives no beta.

    Example: cmbfit birefringence channels.yaml --figure angles
    """
    from cmbfit.theory.birefringence import channel_fit  # noqa: PLC0415 (torch)

    said = _read(description)
    maps = tuple(said["maps"])
    spectra = channel_fit.read_channel_spectra(maps, _files(said["spectra"], maps, description))
    settings = channel_fit.ChannelSettings(
        said["maps"],
        said["f_sky"],
        said.get("auto", False),
        said.get("alpha_deg", 0.0),
        said.get("alpha_own_deg", 0.0),
    )
    out = channel_fit.fit_channels(spectra.between(*said["ell"]).binned(said.get("bin", 1)), settings)
    if figure is not None:
        from cmbfit.figures.birefringence import angle_table, plot_angles  # noqa: PLC0415 (matplotlib)
        from cmbfit.figures.style import save_figure  # noqa: PLC0415

        save_figure(plot_angles(out), figure, angle_table(out))
    say(json.dumps(out, indent=2) if as_json else _in_words(out))


def _read(path: Path) -> dict[str, Any]:
    from cmbfit.config.read import read_config_file  # noqa: PLC0415
    from cmbfit.errors import ConfigError, unknown_name  # noqa: PLC0415

    said = read_config_file(path)
    if unknown := [key for key in said if key not in _KEYS]:
        raise ConfigError(f"{path}: {unknown_name('key', str(unknown[0]), sorted(_KEYS))}")
    wanted: dict[str, tuple[Any, str]] = {
        "maps": (lambda x: isinstance(x, dict) and len(x) > 0, "a channel for each map"),
        "spectra": (
            lambda x: isinstance(x, str) and "{a}" in x and "{b}" in x,
            "a file's name with {a} and {b}",
        ),
        "ell": (
            lambda x: isinstance(x, list) and len(x) == 2 and all(type(y) is int for y in x),
            "[first, last] multipole",
        ),
        "bin": (lambda x: type(x) is int and x > 0, "a number of multipoles"),
        "f_sky": (_number, "a number in (0, 1]"),
        "auto": (lambda x: isinstance(x, bool), "true or false"),
        "alpha_deg": (_number, "degrees"),
        "alpha_own_deg": (_number, "degrees"),
    }
    for key, (good, expected) in wanted.items():
        if key not in said and key in ("maps", "spectra", "ell", "f_sky"):
            raise ConfigError(f"{path}: {key}: expected {expected}, found nothing")
        if key in said and not good(said[key]):
            raise ConfigError(f"{path}: {key}: expected {expected}, found {said[key]!r}")
    said["maps"] = {str(name): str(channel) for name, channel in said["maps"].items()}
    return said


def _number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and x >= 0


def _files(pattern: str, maps: tuple[str, ...], description: Path) -> dict[tuple[str, str], Path]:
    """Return the tables that there are; the reader says which are missing."""
    out = {}
    for one, two in combinations_with_replacement(maps, 2):
        for a, b in dict.fromkeys(((one, two), (two, one))):
            path = description.parent / pattern.replace("{a}", a).replace("{b}", b)
            if path.is_file():
                out[a, b] = path
    return out


def _in_words(out: dict[str, Any]) -> str:
    low, high = out["ell"]
    common, beta = out["common"], out["beta"]
    width = max(len(name) for name in out["channels"])
    lines = [
        f"alpha + beta [deg], l = {low:g} to {high:g}, {out['n_data']} EB values, chi2 {out['chi2']:.1f} (PTE {out['pte']:.3f})"
    ]
    lines += [
        f"{name:>{width}}  {c['angle']:+.3f} +- {c['error']:.3f}" for name, c in out["channels"].items()
    ]
    if common["pte"] is not None:
        lines.append(
            f"one angle for all: {common['angle']:+.3f} +- {common['error']:.3f}, scatter chi2 {common['chi2']:.1f} of "
            f"{common['dof']} (PTE {common['pte']:.3f})"
        )
    if beta["alpha_deg"] or beta["alpha_own_deg"]:
        lines.append(
            f"beta, with the errors of the detectors' angles, if dust has no EB: {beta['value']:+.3f} +- {beta['error']:.3f}"
        )
    if out["pte"] < _UNLIKELY:
        lines.append(
            f"the data scatter as on {out['f_sky_of_scatter']:.3f} of the sky, not {out['f_sky']:g}: errors are too small; widen "
            "the bins or lower f_sky"
        )
    lines.append(out["note"])
    return "\n".join(lines)
