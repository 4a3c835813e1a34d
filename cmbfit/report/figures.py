"""The figures that the page knows: what each kind shows and what to look for, and in which section it stands.

To add one: what draws it (a stage ``pipeline/plot_<kind>.py``, best with the drawing itself in :mod:`cmbfit.figures`), the
stage's rule, and its caption and place here. Figures of all fits of all runs need no more; others are named in
``Plan.figures`` (pipeline/plan.py) with the condition under which they are drawn.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

from cmbfit.errors import DataError

CAPTIONS = {
    "maps": "Stokes maps (Mollweide), monopole and dipole removed; grey: masked, round holes are point sources. Look for: the same CMB in I of all bands; where "
    "noise dominates, Q and U show it and large-scale residuals. P is never negative: noise alone gives it a mean above zero.",
    "mask": "Weight of each pixel in the spectra: 0 is left out, 1 counts in full.",
    "spectra": "Cross-spectra with the fiducial model. TT must follow the curve; EB and TB are nulls, "
    "and so are EE and BB where noise dominates. Checks say what is compared with what.",
    "lowl": "Temperature power of single low multipoles by the pixel likelihood of the WMAP 7-year V map (V-W, csc|b|, "
    "monopole and dipole marginalised). Points must scatter about the line as their errors say.",
    "lowl_maps": "The averaged V map as used, what the fitted templates take off, and what is left: look for a Galactic "
    "pattern near the mask in the right panel.",
    "look_elsewhere": "Improvement of the fit by oscillations of the primordial spectrum at each frequency, and the largest "
    "one at any frequency in simulated LCDM skies: a peak means something only beyond the dotted line.",
    "firas": "The FIRAS monopole: the blackbody above, residuals with the fits of mu and y and their 95% bounds below. Residuals "
    "must scatter about zero as their errors say.",
    "birefringence": "Published angles of cosmic birefringence, and the posterior of the rotation from EB and TB of these "
    "maps; dashed: what no data at all would give.",
    "evaporation": "Limits (95%) on the dark matter in evaporating primordial black holes by mass, and the relative change of "
    "TT and EE by holes at these limits. Look for: less power at high multipoles, a bump of EE near l = 10.",
    "quantum_states": "Quanta and entanglement entropy of squeezed pairs: by squeezing, of a primordial pair through horizon "
    "exit, of Hawking photons. A classical simulation; circles (truncated Fock space, solved modes) must lie on the lines.",
    "nulls": "Probability to exceed the chi2 of every null and consistency test, in order: points must lie along the "
    "diagonal.",
    "emulator": "Error of the emulator against CAMB in units of cosmic variance (full sky, per multipole).",
    "emulator_search": "Validation error of every candidate set of polynomials against its number of terms (ring: the choice), and "
    "the choice's error against the number of training spectra with the fitted power law.",
    "emulator_comparison": "Held-out errors of the polynomials, of a network alone and of both together (dots: 99%, dashes: "
    "largest), and the networks' loss curves.",
    "reweight": "What exact theory would change: shift of each mean, in sigma, and of each width, from CAMB spectra at "
    "points of the chain; grey: the mark. Right: ln of the exact over the emulated likelihood at these points.",
    "residuals": "Bandpowers of the fitted data with the best fit; residuals must scatter like unit normals.",
    "foregrounds": "Each spectrum of a multi-frequency set at the best fit: CMB, foregrounds, residuals, chi2 and its probability to exceed "
    "(own block of the covariance, no parameter subtracted). Look for: residuals like unit normals at every frequency.",
    "amplitudes": "Foreground parameters in widths of their priors, beside other measurements. A parameter as wide as its prior was not "
    "measured here.",
    "distances": "Baryon acoustic oscillations over the best fit, and magnitudes of supernovae about it (and about their "
    "common mean). Points must scatter about zero as their errors say; D_M and D_H of one redshift are correlated.",
    "together": "Bandpowers of all Gaussian data sets of the run, with the best fit of the first; points of one multipole are not "
    "independent where data sets see the same sky. Look for: data sets that leave the curve together.",
    "power": "Primordial spectrum that the data leave (68% and 95%) within this model, by wavenumber. Bars: wavenumbers that the "
    "multipoles of each data set see, k = ℓ / 13.9 Gpc; beyond them the model extrapolates.",
    "corner": "Marginal posteriors (68% and 95%); dashed: published means and widths.",
    "primordial": "Band of P(k) that the data leave (68% and 95%) with the best fit, and its change of TT, TE and EE "
    "relative to the power law of the same amplitude and tilt. Points: data minus that power law, neighbours averaged.",
    "learned": "What the network that was fitted learned of ln P(k), minus what the solver evolves: at points that did not train it, "
    "and at points of this chain; right: its error against the number of evolved points that it learned from.",
    "bounce": "From the bounce to inflation at the best fit: energies over the critical density, and power over that of inflation alone, for each "
    "mass and vacuum of perturbations (lines, averaged) and with every turn of this model's interference (points), which no data resolve. Strong "
    "bounces are excluded by Planck's bispectrum (van Tent et al. 2023, arXiv:2212.05977).",
    "models": "Models fitted to the same data against the first of them: negative differences and positive ln B speak for "
    "a model. Inside the grey bands the data do not decide; every Bayes factor depends on the priors in the table.",
    "freeform": "Free-form P(k), averaged over the number of knots by evidence: 68% and 95% at each k by itself, grey: what the priors alone "
    "say. Below: the same about the power law, and the evidence by number of knots. Where blue is as wide as grey, data say nothing.",
    "tension": "Parameters from each data set alone and from both, about the joint mean in units of the joint error. Points "
    "of both colours should scatter as their errors say.",
    "subsets": "Mean and error from parts of the data about the whole's mean, in its errors. Grey: one and two times the scatter that is "
    "expected of a part's shift.",
    "predictive": "Bandpowers among replicas drawn from the posterior, and chi2 of data and replicas: the blue chi2 should lie "
    "within the grey ones. Flagged: p outside 0.01 to 0.99.",
    "compared_corner": "Marginal posteriors (68% and 95%) of all fits; the first one is filled.",
    "compared_shifts": "Mean and error of each fit about the first one's mean, in the first one's errors. Grey: one and two times the "
    "scatter that is expected of the shift, from what the data share.",
    "traces": "Mean and 68% band of the walkers by step, and the longest autocorrelation time against chain length.",
}
"""Caption of each kind of figure; the files are ``<kind>.png`` or ``<kind>_<subject>.png``. What it says of one run's numbers
follows it on the page: :mod:`cmbfit.report.captions`."""

TITLES = {
    "maps": "The maps",
    "mask": "The mask",
    "spectra": "Spectra of the maps",
    "lowl": "Single low multipoles",
    "lowl_maps": "The map behind the low multipoles",
    "look_elsewhere": "Search over frequencies",
    "firas": "Spectrum of the monopole",
    "birefringence": "Rotation of polarisation",
    "evaporation": "Limits on evaporating black holes",
    "quantum_states": "Squeezed pairs",
    "nulls": "Null tests",
    "emulator": "Error of the emulator",
    "emulator_search": "Choice of the emulator's polynomials",
    "emulator_comparison": "Emulators compared",
    "reweight": "Emulated against exact theory",
    "residuals": "Fitted data and best fit",
    "corner": "Posterior",
    "together": "All fitted data together",
    "power": "Primordial power and the data's reach",
    "distances": "Distances and the fit",
    "foregrounds": "Foregrounds by frequency",
    "amplitudes": "Foreground amplitudes",
    "primordial": "Primordial spectrum and its imprint",
    "learned": "Learned against evolved spectra",
    "bounce": "The bounce before inflation",
    "models": "Models compared",
    "freeform": "Free-form primordial spectrum",
    "tension": "Data sets against each other",
    "subsets": "Parts of the data against the whole",
    "predictive": "Data among their replicas",
    "compared_corner": "Posteriors over each other",
    "compared_shifts": "Shifts and their expected scatter",
    "traces": "Chains",
}
"""Title of each kind of figure, in words."""

PLACES = {
    "fit": (
        "corner",
        "residuals",
        "power",
        "distances",
        "foregrounds",
        "amplitudes",
        "primordial",
        "learned",
        "bounce",
        "traces",
        "reweight",
        "emulator",
    ),
    "models": ("models",),
    "freeform": ("freeform",),
    "tension": ("tension",),
    "subsets": ("subsets",),
    "predictive": ("predictive",),
    "sky": ("together", "maps", "mask", "spectra", "nulls", "lowl", "lowl_maps"),
    "look_elsewhere": ("look_elsewhere",),
    "evaporation": ("evaporation",),
    "blackbody": ("firas",),
    "birefringence": ("birefringence",),
    "quantum_states": ("quantum_states",),
    "theory": ("emulator_search", "emulator_comparison"),
}
"""Section of the page to the kinds of figures at its end, in their order."""

_OVERSAMPLED = 1.5
"""Pixels of a figure per CSS pixel: 150 to the inch, where 10 points are to look like 10 points at 100 to the inch."""

SOMETIMES = ("distances", "foregrounds", "amplitudes", "power", "primordial", "learned", "bounce")
"""Kinds of the section ``fit`` that not every fit has."""


@dataclass(frozen=True)
class PageFigure:
    """One figure on the page.

    Attributes
    ----------
    stem : str
        The file's name without suffix: ``<kind>`` or ``<kind>_<subject>``.
    kind, subject : str
        The subject (often a fit) is empty where there is one figure of the kind.
    caption : str
    data : str
        The PNG, base64.
    width, height : int
        In CSS pixels at which its text has the size that it was drawn for.
    """

    stem: str
    kind: str
    subject: str
    caption: str
    data: str
    width: int = 1
    height: int = 1

    @property
    def title(self) -> str:
        """Return the title of its kind."""
        return TITLES.get(self.kind, self.kind)


def read_figure(path: str | Path) -> PageFigure:
    """Read a PNG; the longest known kind that begins its name gives the caption."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: figure is missing")
    kinds = [k for k in CAPTIONS if path.stem == k or path.stem.startswith(f"{k}_")]
    if not kinds:
        raise DataError(f"{path}: no caption for a figure of this name; known kinds: {', '.join(CAPTIONS)}")
    kind = max(kinds, key=len)
    content = path.read_bytes()
    # width and height lead a PNG's header
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or len(content) < 24:
        raise DataError(f"{path}: expected a PNG file, found {content[:8]!r}")
    width, height = (round(pixels / _OVERSAMPLED) for pixels in struct.unpack(">II", content[16:24]))
    data = base64.b64encode(content).decode()
    return PageFigure(path.stem, kind, path.stem[len(kind) + 1 :], CAPTIONS[kind], data, width, height)
