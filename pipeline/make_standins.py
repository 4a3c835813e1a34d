from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import yaml

from cmbfit.data import fetch, load_registry
from cmbfit.data.model import HttpsSource
from cmbfit.errors import ConfigError
from cmbfit.io import sha256_file, write_text
from cmbfit.sky import Beam, Noise
from cmbfit.sky.foregrounds import Foreground, dust_sky, synchrotron_sky
from cmbfit.sky.harmonic import Alm, alm2stokes, change_lmax, scale_alm
from cmbfit.sky.maps import Array, Mask, projected
from cmbfit.sky.simulate import draw_alm, stream
from cmbfit.sky.standins import (
    HFI_NOISE_UK_ARCMIN,
    WMAP_HITS_PER_YEAR,
    Content,
    scan_hits,
    standin_beam,
    standin_mask,
    write_beam_archive,
    write_hfi_map,
    write_mask_file,
    write_wmap_beam,
    write_wmap_map,
)
from cmbfit.survey.config import Band, Survey
from cmbfit.theory.textfile import read_arrays

NSIDE = {"wmap9": 512, "planck_pr3": 2048}
SITES = {"https://lambda.gsfc.nasa.gov/": "lambda/", "https://irsa.ipac.caltech.edu/": "irsa/"}
LATITUDE = {  # Galactic cuts that leave about the sky fractions of the real masks
    "kq85": 13.0, "polarization_analysis": 15.0,
    "temperature-100": 17.0, "temperature-143": 23.0, "temperature-217": 30.0,
    "polarization-100": 17.0, "polarization-143": 30.0, "polarization-217": 37.0,
}  # fmt: skip


@dataclass(frozen=True)
class Sky:
    """What all maps show: D_l of the CMB, strength of the foregrounds, seed."""

    theory: Mapping[str, Array]
    foregrounds: float
    seed: int


class Maker:
    """Writes the files of one configuration below `folder`, each where its site has it."""

    def __init__(self, sky: Sky, survey: Survey, folder: Path, nside: int | None) -> None:
        self.sky, self.survey, self.folder, self.common_nside = sky, survey, folder, nside
        self.drawn: tuple[Alm, list[Foreground]] | None = None

    def target(self, name: str) -> Path:
        """Return the place of a registered file: its address below the folder."""
        for source in load_registry()[name].sources:
            for site, folder in SITES.items():
                if isinstance(source, HttpsSource) and source.url.startswith(site):
                    return self.folder / folder / source.url[len(site) :]
        raise ConfigError(f"{name}: no stand-in can be made of a file that is not on {', '.join(SITES)}")

    def nside(self, name: str) -> int:
        """Return the resolution of a file's survey, or the one asked for."""
        return int(self.common_nside or NSIDE[name.split("/", maxsplit=1)[0]])

    def signal(self, band: Band, nside: int, beam: Beam) -> Array:
        """Return I, Q, U of the sky that all maps show, through a band's beam, shape (3, npix)."""
        if self.drawn is None:
            rng = stream(self.sky.seed, "foregrounds")
            top = self.lmax(
                max(self.nside(f) for b in self.survey.observed.values() for f in b.maps(b.splits[0]))
            )
            low = min(top, 383)
            made = [f(rng, 128, low, scale=self.sky.foregrounds) for f in (dust_sky, synchrotron_sky)]
            self.drawn = draw_alm(self.sky.theory, top, stream(self.sky.seed, "cmb")), made
        cmb, foregrounds = self.drawn
        total = change_lmax(cmb, beam.lmax)
        for f in foregrounds:
            total = total + change_lmax(f.at(band.spec["frequency_ghz"]), beam.lmax)
        seen = np.stack([scale_alm(a, x) for a, x in zip(total, beam.teb, strict=True)])
        if beam.t_to_e is not None:
            seen[1] += scale_alm(total[0], beam.t_to_e)
        return alm2stokes(seen, nside)

    def lmax(self, nside: int) -> int:
        """Return the highest multipole of the sky at a resolution."""
        return int(min(3 * nside - 1, self.sky.theory["tt"].size - 1))

    def maps(self, band: Band) -> None:
        """Write the maps of all splits and detectors of a field or template."""
        for detector in band.detectors:
            first = band.map_of(band.splits[0], detector)
            nside, wmap = self.nside(first), first.startswith("wmap9")
            spec, pixel = band.spec["detectors"][detector], math.degrees(healpy.nside2resol(nside)) * 60
            if wmap:
                hits = scan_hits(nside, WMAP_HITS_PER_YEAR * (512 / nside) ** 2)
                sigma = spec["sigma0_uk"], spec["sigma0_uk"] * 1.003
            else:
                hits = scan_hits(nside, 500.0)
                scale = math.sqrt(2) / pixel / math.sqrt(float(np.mean(1 / hits)))
                t, p = HFI_NOISE_UK_ARCMIN[detector]
                sigma = scale * t, scale * p
            window = fetch(f"pixel_windows/pixel_window_n{nside:04d}.fits", progress=False)
            beam = standin_beam(detector, self.lmax(nside)).times_pixel_window(window)
            dipole = (projected(nside, np.array([3.0, -2.0, 1.0])) + 5.0).astype(np.float32)
            noise, signal = Noise(*sigma, hits=hits), self.signal(band, nside, beam).astype(np.float32)
            calibration = {**band.spec.get("calibration", {}), **spec.get("calibration", {})}
            efficiency = calibration.get("efficiency", 1.0)
            for k, split in enumerate(band.splits):
                rng = stream(self.sky.seed, "noise", 0, detector, k)
                iqu = noise.draw(nside, rng)
                iqu += signal
                iqu[0] = (iqu[0] + dipole) / calibration.get("gain", 1.0)
                iqu[1:] *= efficiency
                content = Content(iqu, hits, *sigma)
                path = self.target(band.map_of(split, detector))
                if wmap:
                    write_wmap_map(path, content)
                else:
                    write_hfi_map(path, content, rng)
                print(path, flush=True)

    def masks(self) -> None:
        """Write the mask files; those of one kind (half missions) have one content."""
        made: dict[str, Mask] = {}
        for name in dict.fromkeys(f for m in self.survey.masks.values() for f in m.get("files", [])):
            kind = [k for k in LATITUDE if k in name]
            if not kind:
                raise ConfigError(f"{name}: no stand-in for this mask; there are {', '.join(LATITUDE)}")
            rng, wmap = np.random.default_rng(len(kind[0])), name.startswith("wmap9")
            if kind[0] not in made:
                made = {
                    kind[0]: standin_mask(self.nside(name), LATITUDE[kind[0]], 200, rng, 0.0 if wmap else 5.0)
                }
            mask = made[kind[0]]
            write_mask_file(self.target(name), mask, "TEMPERATURE" if wmap else "MASK", coordsys=not wmap)

    def beams(self) -> None:
        """Write the beam files: text, or the members of an archive."""
        archives: dict[str, dict[str, str]] = {}
        for band in self.survey.observed.values():
            for detector, beam in zip(band.detectors, band.beams, strict=True):
                if "member" in beam:
                    archives.setdefault(beam["file"], {})[beam["member"]] = detector
                else:
                    write_wmap_beam(self.target(beam["file"]), detector, 1500)
        for name, members in archives.items():
            write_beam_archive(self.target(name), members, 4000)

    def overlay(self, url: str) -> dict[str, Any]:
        """Return the registry overlay: pins of what was written, mirrors of the sites."""
        pins, registry = {}, load_registry()
        for name in self.survey.files:
            if registry[name].sha256 is None:
                path = self.target(name)
                pins[name] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        return {
            "version": 1,
            "pins": pins,
            "mirrors": {s: f"{url.rstrip('/')}/{f}" for s, f in SITES.items()},
        }


def merged(paths: Sequence[Path]) -> dict[str, Any]:
    """Return configuration files merged in order, as Snakemake merges them."""

    def join(a: dict, b: dict) -> dict:
        both = {
            k: join(a[k], b[k])
            for k in a.keys() & b.keys()
            if isinstance(a[k], dict) and isinstance(b[k], dict)
        }
        return {**a, **b, **both}

    out: dict[str, Any] = {}
    for path in paths:
        out = join(out, yaml.safe_load(path.read_text(encoding="utf-8")))
    return out


def make_standins(
    *,
    config: list[Path],
    theory: Path,
    folder: Path,
    overlay: Path,
    url: str = "http://127.0.0.1:8765",
    nside: int | None = None,
    foregrounds: float = 1.0,
    seed: int = 20260101,
) -> None:
    """Write stand-ins for the survey files that a configuration names, and the registry overlay that pins them.

    Serve the folder (python -m http.server --bind 127.0.0.1 --directory FOLDER PORT) and name the overlay in
    CMBFIT_REGISTRY: every file then comes through the real download code from the mirror at `url`.

    Parameters
    ----------
    config
        Configuration files, merged in order.
    theory
        D_l of the sky (product of compute_fiducial).
    folder
        Where to write; to be served.
    overlay
        Where the overlay for CMBFIT_REGISTRY goes.
    url
        Where the folder will be served.
    nside
        Of all maps; the releases' own when omitted.
    foregrounds
        Strength; 1 is that of high latitudes.
    seed
        Of the random numbers.
    """
    sky = Sky({k: v for k, v in read_arrays(theory).items() if k != "pp"}, foregrounds, seed)
    maker = Maker(sky, Survey(merged(config)["maps"]), folder, nside)
    for band in maker.survey.observed.values():
        maker.maps(band)
    maker.masks()
    maker.beams()
    write_text(overlay, yaml.safe_dump(maker.overlay(url), sort_keys=False))
