"""What a run consists of: the fits, products, figures and checks that a configuration asks for.

The rules read it and nothing else of the configuration; it knows nothing of Snakemake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cmbfit.data import trust_command
from cmbfit.errors import ConfigError, at, named
from cmbfit.fit import Fit
from cmbfit.fit.complete import with_data
from cmbfit.fit.run import complete_run, fit_of_run
from cmbfit.inference.evidence import EVIDENCE
from cmbfit.inference.model_config import Model, models_by_data
from cmbfit.inference.samplers import settings_of
from cmbfit.inference.subset_request import subset_requests
from cmbfit.inference.tension_request import TensionRequest, tension_requests
from cmbfit.io import read_json, sha256_json
from cmbfit.likelihood.selection import has_foregrounds, measures_distances
from cmbfit.provenance.codehash import code_hash
from cmbfit.provenance.uses import fit_uses
from cmbfit.report.figures import PLACES, SOMETIMES
from cmbfit.survey.config import Maps
from cmbfit.theory.emulator.family import bundle_box
from cmbfit.theory.emulator.manifest import bundle_folder
from cmbfit.theory.primordial.knots import number_of_knots
from cmbfit.theory.primordial.registry import PRIMORDIAL_MODELS, get_model

_ACCURACY = ("lmax", "lens_potential_accuracy", "accuracy_boost", "l_accuracy_boost")
_TRANSFER = "say with theory.transfer how they are made (pipeline/config/early_universe.yaml)"
LOWL_MAPS = (
    *(f"wmap7/wmap_band_iqumap_r9_7yr_{band}_v4_udgraded32.fits" for band in "VW"),
    "wmap7/wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits",
)
FIRAS = "firas/firas_monopole_spec_v1.txt"


class Plan:
    """A run.

    Parameters
    ----------
    config : mapping
        From :func:`cmbfit.config.load_config`.

    Raises
    ------
    ConfigError
        If names or numbers do not fit together.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.seed, self.device = config["run"]["seed"], config["device"]
        self.folder = f"results/{config['run']['name']}"
        self.maps, self.spectra, self.theory = config["maps"], config["spectra"], config["theory"]
        self.comparison, self.reference = config["comparison"], config["likelihood"]["reference"]
        self.look, self.rotation = config.get("look_elsewhere"), config.get("birefringence")
        self.blackbody, self.quantum = config.get("blackbody"), config.get("quantum_states")
        self._plan_maps()
        self._plan_emulator()
        self.run = complete_run(config)
        self.fits: Mapping[str, Fit] = self.run.fits
        self.blinding = self.run.blinding
        self._uses: dict[str, str] = {}
        self._plan_transfer()
        self._plan_comparison()

    # maps and spectra

    def _plan_maps(self) -> None:
        self._named = Maps(self.config)
        self.survey, self.bands = self._named.survey, self._named.bands
        # the low-l pixel likelihood runs on the maps that the default run has anyway
        self.lowl = any(band.get("map", "").startswith("wmap7/") for band in self.bands.values())
        pair = "combined" if self.survey else "x".join(self.spectra["pair"])
        self.own_spectra = f"{self.folder}/spectra/{pair}.sacc.fits"
        self.leakage = f"{self.folder}/spectra/{pair}.leakage.fits"
        edges = self.spectra["edges"]
        self.edges = ["planck", self.spectra["lmax_bins"]] if edges == "planck" else edges

    @property
    def map_files(self) -> list[str]:
        """Registered files that the maps are made of."""
        return self._named.files

    def require_pinned(self) -> None:
        """Raise :class:`ConfigError` with the one command that brings files of maps that have no published sha256."""
        if command := trust_command(self.map_files):
            raise ConfigError(
                "maps: files without a published sha256, which cmbfit does not download unasked. Trust what comes first, "
                f"once, and have it checked from then on:\n{command}"
            )

    def resolved(self, value: Any) -> Any:
        """Return a value with <results> at the head of its paths written out, as Snakemake does for its files."""
        if isinstance(value, Mapping):
            return {k: self.resolved(x) for k, x in value.items()}
        if isinstance(value, list | tuple):
            return [self.resolved(x) for x in value]
        if isinstance(value, str) and value.startswith("<results>/"):
            return self.folder + value.removeprefix("<results>")
        return value

    # theory

    def _plan_emulator(self) -> None:
        emulator = self.theory["emulator"]
        self.marks, self.train = emulator["check"], emulator.get("train")
        # the points that a check begins with; further ones where these do not decide it
        self.exact_first = min(self.marks["least"], self.marks["draws"])
        self.exact_parts = min(self.marks["parts"], self.exact_first)
        self.sequential = self.exact_first < self.marks["draws"]
        if self.train:
            design = self.train["design"]
            backgrounds = design["n_backgrounds"] + design.get("n_focus", 0)
            self.n_chunks = -(-backgrounds // design["per_chunk"])
            self.manifest, self.box = f"{self.folder}/theory/emulator/manifest.json", design["box"]
            self.extensions, self.held_out = self.train.get("extensions", {}), self.train["held_out"]
            if "extensions" in emulator:
                raise ConfigError(
                    "theory.emulator.extensions extend the emulator that `bundle` names, but this run trains its own: move them to "
                    "theory.emulator.train.extensions"
                )
        else:
            self.n_chunks, self.extensions = 0, emulator.get("extensions", {})
            self.held_out = emulator.get("held_out", 0.2)
            with at("theory.emulator.bundle"):
                self.manifest = watchable(str(bundle_folder(emulator["bundle"]) / "manifest.json"))
            bundle = read_json(self.manifest)
            self.box = bundle_box(bundle)
            self._refuse_other_physics(bundle["settings"]["trained_on"]["camb"])

    def _refuse_other_physics(self, trained: Mapping[str, Any]) -> None:
        for key, value in self.theory["camb"].items():
            if key not in _ACCURACY and trained[key] != value:
                raise ConfigError(
                    f"theory.camb.{key} is {value}, but the emulator of the fits was trained with {trained[key]}; "
                    "train one (theory.emulator.train, as in pipeline/config/train.yaml) or change it back"
                )

    def _plan_transfer(self) -> None:
        self.transfer = self.theory.get("transfer", {})
        self.transfer_parts = self.transfer.get("parts", 5)
        self.transfer_manifest = f"{self.folder}/theory/transfer/manifest.json"
        for name, fit in self.fits.items():
            with at(f"fits.{name}.theory.transfer"):
                watchable(fit.transfer or "")
        self.distance_fits = [n for n, f in self.fits.items() if measures_distances(f.data)]
        self.primordial_fits = [n for n, f in self.fits.items() if f.primordial]
        self.foreground_fits = [n for n, f in self.fits.items() if has_foregrounds(f.data)]
        self.learned_fits = [n for n in self.primordial_fits if learned(self.fits[n].primordial)]
        self.bounce_fits = [n for n in self.primordial_fits if bounces(self.fits[n].primordial)]
        self.tensors = any("tensors" in f.theory for f in self.fits.values())
        if self.look and not self.transfer:
            raise ConfigError(f"look_elsewhere needs transfer functions: {_TRANSFER}")
        if self.look:
            named(self.config["fits"], self.look["fit"], "look_elsewhere.fit", "fit")
            with at("look_elsewhere.data"):
                self.look_fit = with_data(fit_of_run(self.run, self.look["fit"]), self.look["data"])

    @property
    def power_fits(self) -> list[str]:
        """Fits with a power law of primordial perturbations."""
        return [n for n, f in self.fits.items() if not f.primordial and {"logA", "ns"} <= set(f.priors)]

    @property
    def several_data(self) -> bool:
        """Whether the fits count more than one item of data."""
        return len({sha256_json(item) for fit in self.fits.values() for item in fit.data}) > 1

    def transfer_of(self, fit: str) -> list[str]:
        """Return the manifest of a fit's transfer expansion, if it needs one."""
        folder = self.fits[fit].transfer
        return [] if folder is None else [f"{folder}/manifest.json"]

    # fits

    def own_of(self, fit: str) -> list[str]:
        """Return the run's own spectra, if a fit uses them."""
        return [self.own_spectra, self.leakage] if self.fits[fit].own_spectra else []

    def uses(self, *fits: Fit) -> str:
        """Return the hash of what fits use: their own readers, models, sampler, data and files, and no others."""
        found = []
        for fit in fits:
            key = sha256_json([fit.data, fit.theory, fit.sampler])
            if key not in self._uses:
                self._uses[key] = fit_uses(fit, self.folder).hash()
            found.append(self._uses[key])
        return found[0] if len(found) == 1 else sha256_json(found)[:16]

    @property
    def hidden(self) -> str:
        """What the code's hash of figures, summary and report carries while the run is blinded: they say so."""
        hidden = self.blinding is not None and self.blinding["opened"] is None
        return f".blinded.{self.blinding['commitment'][:12]}" if self.blinding is not None and hidden else ""

    def evidence_code(self) -> str:
        """Return the hash of the evidence method's code."""
        place = EVIDENCE.where(str(self.evidence_method))
        return code_hash(files=[place]) if place.endswith(".py") else code_hash(place)

    def chains(self, fit: str) -> list[str]:
        """Return a fit's ensembles."""
        return [f"{self.folder}/chains/{fit}.ensemble{i}.h5" for i in range(self.fits[fit].ensembles)]

    def tau_multiple(self, fit: str) -> float | None:
        """Return the autocorrelation times that a fit's sampler asks for, if it knows such."""
        return getattr(settings_of(self.fits[fit].sampler), "tau_multiple", None)

    def exact_parts_of(self, fit: str) -> list[str]:
        """Return the parts of the exact spectra that a fit's check begins with."""
        return [f"{self.folder}/theory/exact/{fit}.part{i}.npz" for i in range(self.exact_parts)]

    def exact(self, fit: str) -> list[str]:
        """Return all of a fit's exact spectra, in order."""
        further = [f"{self.folder}/theory/exact/{fit}.further.npz"] if self.sequential else []
        return self.exact_parts_of(fit) + further

    def decision(self, fit: str) -> list[str]:
        """Return what says how many exact spectra decided a fit's check, where fewer than all may."""
        return [f"{self.folder}/theory/exact/{fit}.decision.json"] if self.sequential else []

    def fitted(self, *names: str) -> dict[str, dict[str, str]]:
        """Return chain, summary and re-weighting of fits."""
        stem = f"{self.folder}/chains"
        return {
            n: {
                "samples": f"{stem}/{n}.samples.h5",
                "summary": f"{stem}/{n}.summary.json",
                "reweight": f"{stem}/{n}.reweight.json",
            }
            for n in names
        }

    @property
    def evaporation(self) -> dict[str, float]:
        """Mass in grams of each fit with evaporating black holes."""
        masses = {name: fit.theory.get("evaporation") for name, fit in self.fits.items()}
        return {name: mass for name, mass in masses.items() if mass is not None}

    # comparison

    def _plan_comparison(self) -> None:
        groups = models_by_data(self.run)
        self.models: dict[str, Model] = {model.name: model for group in groups for model in group}
        self.compared = [group for group in groups if len(group) > 1]
        names = [model.name for group in self.compared for model in group]
        self.compared_fits = [name for name in names if name in self.fits]
        self._plan_freeform()
        self.pairs: dict[str, TensionRequest] = tension_requests(self.run)
        for name, pair in self.pairs.items():
            for key, items in (("a", pair.a), ("b", pair.b)):
                with at(f"comparison.tension.{name}.{key}"):
                    with_data(pair.fit, items)
        self.subsets = subset_requests(self.run)
        self.predictive = self.comparison["predictive"]
        asked = self.comparison["evidence"] or {}
        self.evidence_method = asked.get("method")
        self.evidences = [f"{self.folder}/evidence/{name}.json" for name in names] if asked else []

    def _plan_freeform(self) -> None:
        """Find what can be averaged over the number of knots: fits of the same data, with evidences."""
        asked = self.comparison["evidence"]
        found = [[m for m in group if number_of_knots(m.fit.primordial)] for group in self.compared]
        free = [[m for m in group if not m.fixed] for group in found]
        self.freeform = [group for group in free if len(group) > 1] if asked else []

    def freeform_groups(self) -> list[dict[str, Any]]:
        """Return the products that average_freeform joins."""
        return [
            {
                "data": group[0].fit.data,
                "fits": [
                    {
                        "fit": m.fit.describe(),
                        "samples": self.fitted(m.name)[m.name]["samples"],
                        "evidence": f"{self.folder}/evidence/{m.name}.json",
                    }
                    for m in group
                ],
            }
            for group in self.freeform
        ]

    def tension_uses(self) -> str:
        """Return the hash of what the pairs of data sets use."""
        return self.uses(*(with_data(r.fit, items) for r in self.pairs.values() for items in (r.a, r.b)))

    def subset_uses(self, name: str) -> str:
        """Return the hash of what the parts of a fit's data use."""
        request = self.subsets[name]
        return self.uses(request.fit, *(with_data(request.fit, x) for x in request.parts.values()))

    def comparison_files(self) -> dict[str, Any]:
        """Return the products that compare_fits joins."""
        closed = [self.products[key] for key in ("blackbody", "birefringence") if key in self.products]
        return {
            "fits": self.fitted(*self.compared_fits),
            "evidence": self.evidences,
            "look_elsewhere": [self.products["look_elsewhere"]] if self.look else [],
            "closed": closed,
        }

    # the report

    @property
    def products(self) -> dict[str, str]:
        """JSON products that a section of the page shows, by the section's key (cmbfit/report/sections.py)."""
        asked = {
            "comparison/models": self.compared,
            "comparison/predictive": self.predictive,
            "comparison/freeform": self.freeform,
            "comparison/tension": self.pairs,
            "comparison/subsets": self.subsets,
            "features/look_elsewhere": self.look,
            "features/birefringence": self.rotation,
            "features/quantum_states": self.quantum,
            "evaporation/limits": self.evaporation,
            "features/blackbody": self.blackbody,
        }
        keys = {"evaporation/limits": "evaporation"}
        return {
            keys.get(p, p.split("/")[1]): f"{self.folder}/{p}.json" for p, wanted in asked.items() if wanted
        }

    @property
    def checks(self) -> list[str]:
        """Every product with checks."""
        kinds = ("chains", "emulator", "reweight")
        names = [
            "spectra",
            *(["pairs", "nulls"] if self.survey else []),
            *(["lowl"] if self.lowl else []),
            "likelihood",
            *(f"{kind}_{fit}" for fit in self.fits for kind in kinds),
        ]
        cleaned = self.survey.cleaning["fields"] if self.survey else []
        return [f"{self.folder}/checks/{n}.json" for n in names] + [
            f"{self.folder}/maps/{field}.templates.json" for field in cleaned
        ]

    @property
    def training_figures(self) -> list[str]:
        """Figures of the target `training`."""
        drawn = (("search", "search"), ("network", "comparison"))
        return [f"{self.folder}/figures/emulator_{f}.png" for key, f in drawn if key in (self.train or {})]

    @property
    def figures(self) -> list[str]:
        """Every figure of the page, in its order."""
        kinds = [kind for kind in PLACES["fit"] if kind not in SOMETIMES]
        names = [
            *(["models"] if self.compared else []),
            *(f"predictive_{fit}" for fit in self.fits if self.predictive),
            *(["freeform"] if self.freeform else []),
            *(["tension"] if self.pairs else []),
            *(f"subsets_{name}" for name in self.subsets),
            *(["together"] if self.several_data else []),
            *("maps", "mask", "spectra"),
            *(["nulls"] if self.survey else []),
            *(["look_elsewhere"] if self.look else []),
            *(["birefringence"] if self.rotation else []),
            *(["quantum_states"] if self.quantum else []),
            *(["evaporation", "evaporation_imprint"] if self.evaporation else []),
            *(["firas"] if self.blackbody else []),
        ]
        late = [
            *(["lowl", "lowl_maps"] if self.lowl else []),
            *(f"{kind}_{fit}" for fit in self.fits for kind in kinds),
            *(f"{kind}_{fit}" for fit in self.foreground_fits for kind in ("foregrounds", "amplitudes")),
            *(f"distances_{fit}" for fit in self.distance_fits),
            *(f"primordial_{fit}" for fit in self.primordial_fits),
            *(f"learned_{fit}" for fit in self.learned_fits),
            *(f"bounce_{fit}" for fit in self.bounce_fits),
            *(f"power_{fit}" for fit in self.power_fits),
        ]
        drawn = [[f"{self.folder}/figures/{n}.png" for n in part] for part in (names, late)]
        return [*drawn[0], *self.training_figures, *drawn[1]]

    def summary_files(self) -> dict[str, Any]:
        """Return the products that write_summary joins."""
        out = {"fits": self.fitted(*self.fits), "checks": self.checks, "products": self.products}
        return {**out, "registered": self.map_files, "blinding": self.blinding}


def learned(model: str | None) -> bool:
    """Return whether a fit evaluates a network in place of a solver: the page then shows both beside each other."""
    return model in PRIMORDIAL_MODELS and get_model(str(model)).trained is not None


def bounces(model: str | None) -> bool:
    """Return whether a fit's inflation follows a bounce that is solved: the page then shows it."""
    return model in PRIMORDIAL_MODELS and get_model(str(model)).history is not None


def watchable(path: str) -> str:
    """Return a path that rules may name, or raise :class:`ConfigError`: Snakemake finds wildcards in any."""
    if re.search(r"[{}\n]", path):
        raise ConfigError(
            f"{path!r}: expected a path without braces and line breaks, which Snakemake takes for wildcards; "
            "rename the folder"
        )
    return path
