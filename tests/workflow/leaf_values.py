"""What the walk over the schema's leaves lays into configurations, and which rules must see it."""

from __future__ import annotations

from typing import Any

MOVES_NO_NUMBER = {"run.author": "stands in the record of the run alone"}
"""Leaves that make nothing run again but the summary, which shows the configuration, and why."""

REFUSED = {
    "maps.channels.*.mask": "a channel is masked where it is joined",
    "maps.channels.*.mask_p": "as mask",
    "maps.templates.*.mask": "a template is seen behind the mask of the field that it cleans",
    "maps.templates.*.mask_p": "as mask",
    "maps.fields.*.has_cmb": "of templates",
    "maps.fields.*.noise_uk_arcmin": "of templates",
    "maps.channels.*.has_cmb": "of templates",
    "maps.channels.*.noise_uk_arcmin": "of templates",
}
"""Leaves of definitions that are shared by several sections and that the schema itself takes out of this one."""


FROZEN = {
    "run.blind.form": "parameters is not offered",
    "run.blind.shift.*": "is not what was frozen",
    "run.blind.reference.*": "is not what was frozen",
    "run.blind.criteria.checks": "is not what was frozen",
    "run.blind.criteria.goodness": "is not what was frozen",
}
"""Leaves that stay as they were when a run's secret was made, and what is said of a change."""


# what no shipped configuration says, so that there is something to change
_DECLARED = {"coord": "G", "ordering": "NESTED", "unit": "mK", "polcconv": "COSMO"}
_CALIBRATION = {"gain": 1.01, "efficiency": 0.99, "angle_deg": 0.1}
_BAND = {
    "declare": _DECLARED,
    "calibration": _CALIBRATION,
    "max_variance_uk2": 1.0e6,
    "bandpass": "planck_pr3/beams/HFI_RIMO_BEAMS_R3.01.tar.gz[1]",
    "pixel_window": "pixel_windows/pixel_window_n0512.fits",
}
_NETWORK = {"width": 8, "depth": 2, "learning_rate": 0.01, "weight_decay": 0.1, "batch": 64, "patience": 3}
_FOCUS = {"ombh2": [0.0216, 0.0233], "omch2": [0.112, 0.129], "theta_mc": [1.0385, 1.043], "tau": [0.03, 0.09],
          "logA": [2.98, 3.12], "ns": [0.94, 1.0]}  # fmt: skip
_CAMB = {"lmax": 3000, "recfast_approximation": "planck", "mnu": 0.06, "nnu": 3.046, "tcmb": 2.7255}
_BOOST = {"accuracy_boost": 1.0, "l_accuracy_boost": 1.0}
_NESTED = {"method": "nested", "runs": 2, "n_live": 500, "n_effective": 2500.0, "batch": 256, "networks": 2}
RIMO = {
    "file": "planck_pr3/beams/HFI_RIMO_BEAMS_R3.01.tar.gz",
    "member": "x.fits",
    "hdus": ["TT", "EE"],
    "columns": {"t": 2, "e": 3, "b": 4, "p": 5},
    "leakage": True,
}


def _detector(name: str, beam: Any) -> dict[str, Any]:
    return {"detectors": {name: {"calibration": _CALIBRATION, "sigma0_uk": 1.0, **beam}}}


BASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "default": (
        "default",
        {
            "maps": {"declare": _DECLARED, "bands": {"V": {"frequency_ghz": 60.8}}},
            "likelihood": {"reference": {"camb": _CAMB | _BOOST}},
            "comparison": {"evidence": _NESTED},
        },
        (),
    ),
    "tiny": ("tiny", {"theory": {"camb": _BOOST}}, ()),
    "simulated": ("simulated", {}, ()),
    "wmap9": (
        "wmap9",
        {
            "maps": {
                "fields": {
                    "V": {**_BAND, **_detector("V1", {})},
                    "W": _detector("W1", {"beam": RIMO}),
                },
                "templates": {
                    "K": {**_BAND, **_detector("K1", {})},
                    "dust": _detector("353", {"beam": RIMO}),
                },
            }
        },
        (),
    ),
    "planck2018": (
        "planck2018",
        {
            "maps": {
                "channels": {"f100": {**_BAND, **_detector("100", {"beam": {"columns": RIMO["columns"]}})}}
            }
        },
        (),
    ),
    "train": (
        "train",
        {
            "theory": {
                "emulator": {
                    "train": {
                        "network": _NETWORK | {"seed": 1},
                        "extensions": {"nnu": {"n_focus": 8, "focus": _FOCUS}},
                    }
                }
            }
        },
        ("training", "extensions"),
    ),
    "blinded": (
        "default",
        {
            "run": {
                "blind": {
                    "form": "data",
                    "shift": {"ns": 0.01},
                    "reference": {"ns": 0.965},
                    "secret": "walk",
                    "criteria": {"checks": ["chains_*"], "goodness": 0.01},
                }
            }
        },
        (),
    ),
    "freeform": ("freeform", {}, ()),
    "lqc": ("lqc", {}, ()),
    "subsets": (
        "subsets",
        {
            "subsets": {
                "planck": {
                    "cross": True,
                    "spectra": [["tt"]],
                    "fixed": {"tau": 0.0544},
                    "shifted": ["ns", "ombh2"],
                    "draws": 5000,
                    "parts": {"tau": ["tau_lowe"]},
                },
                "planckact": {"pairs": [["TT", "EE"]]},  # of parts that no leaf under test names
            }
        },
        (),
    ),
    "family": (
        "family",
        {"theory": {"emulator": {"extensions": {"mnu": {"focus": _FOCUS}}}}},
        ("extensions",),
    ),
    "ground": ("ground", {"run": {"fits": ["lcdm_act_dr6"]}}, ()),
    "early": ("early_universe", {"run": {"fits": ["power_law", "tensors"]}}, ()),
    "holes": ("evaporation", {"run": {"fits": ["pbh_1e14"]}}, ()),
    "own": (
        "default",
        {"fits": {"lcdm_planck2018": {"theory": {"class": "mine.py:A", "options": {"a": 1}}}}},
        (),
    ),
}
"""A shipped configuration, what is laid over it, and targets besides `all`."""

MASK = "planck_pr3/masks/COM_Mask_Likelihood-temperature-100-hm1_2048_R3.00.fits"
KQ85 = "wmap9/masks/wmap_temperature_kq85_analysis_mask_r9_9yr_v5.fits"
V7 = "wmap7/wmap_band_iqumap_r9_7yr_{}_v4_udgraded32.fits"
WINDOW = "pixel_windows/pixel_window_n0064.fits"
BEAM = "wmap9/beams/wmap_ampl_bl_Q1_9yr_v5p1.txt"
HFI = "planck_pr3/maps/HFI_SkyMap_{detector}_2048_R3.01_halfmission-2.fits"

# where a value cannot be made from the one that stands there, or none does: configuration, place, another value
VALUES: dict[str, tuple[str, str, Any]] = {
    "run.fits": ("early", "run.fits", ["power_law"]),
    "run.author": ("default", "run.author", "The Example Collaboration"),
    "subsets.*.fit": ("subsets", "subsets.planck.fit", "planck_act"),
    "subsets.*.spectra": ("subsets", "subsets.planckact.spectra", [["tt"], ["ee"]]),
    "subsets.*.ranges": ("subsets", "subsets.planck.ranges", [[2, 799], [800, 2508], [2, 900]]),
    "subsets.*.pairs": ("subsets", "subsets.planckact.pairs", [["planck", "act"]]),
    "subsets.*.surveys": ("subsets", "subsets.planckact.surveys", ["planck", "act", "x"]),
    "subsets.*.common": ("subsets", "subsets.planckact.common", []),
    "subsets.*.parts.*": ("subsets", "subsets.planck.parts.tau", ["planck2018_lowl_ee"]),
    "run.blind.criteria.checks": ("blinded", "run.blind.criteria.checks", ["*"]),
    "maps.mask": ("default", "maps.mask", V7.format("V")),
    "maps.mask_column": ("default", "maps.mask_column", 1),
    "maps.bands.*.bandpass": ("default", "maps.bands.V.bandpass", V7.format("V")),
    "maps.fields.*.bandpass": ("wmap9", "maps.fields.V.bandpass", V7.format("V")),
    "maps.channels.*.bandpass": ("planck2018", "maps.channels.f100.bandpass", V7.format("V")),
    "maps.templates.*.bandpass": ("wmap9", "maps.templates.K.bandpass", V7.format("V")),
    "spectra.weighting": ("default", "spectra.weighting", "uniform"),
    "spectra.iterations": ("default", "spectra.iterations", 3),
    "maps.declare.unit": ("default", "maps.declare.unit", "uK_CMB"),
    "maps.fields.*.declare.unit": ("wmap9", "maps.fields.V.declare.unit", "uK_CMB"),
    "maps.channels.*.declare.unit": ("planck2018", "maps.channels.f100.declare.unit", "uK_CMB"),
    "maps.templates.*.declare.unit": ("wmap9", "maps.templates.K.declare.unit", "uK_CMB"),
    "maps.pixel_window": ("default", "maps.pixel_window", WINDOW),
    "maps.fields.*.maps": ("wmap9", "maps.fields.V.maps", "wmap9/maps/wmap_iqumap_r9_yr1_{detector}_v5.fits"),
    "maps.channels.*.maps": ("planck2018", "maps.channels.f100.maps", HFI),
    "maps.templates.*.maps": ("wmap9", "maps.templates.dust.maps", HFI),
    "maps.fields.*.weights": ("wmap9", "maps.fields.V.weights", "wmap9/maps/wmap_iqumap_r9_yr{split}_{detector}_v5.fits"),
    "maps.channels.*.weights": ("planck2018", "maps.channels.f100.weights", HFI),
    "maps.templates.*.weights": ("wmap9", "maps.templates.dust.weights", HFI),
    "maps.fields.*.mask": ("wmap9", "maps.fields.V.mask", "polarisation"),
    "maps.fields.*.mask_p": ("wmap9", "maps.fields.V.mask_p", "temperature"),
    "maps.differences.*.mask": ("planck2018", "maps.differences.d100x143.mask", "polarisation"),
    "maps.differences.*.mask_p": ("planck2018", "maps.differences.d100x143.mask_p", "temperature"),
    "maps.differences.*.survey": ("planck2018", "maps.differences.d100x143.survey", "hm"),
    "maps.fields.*.survey": ("wmap9", "maps.fields.V.survey", "wmap"),
    "maps.channels.*.survey": ("planck2018", "maps.channels.f100.survey", "hm"),
    "maps.templates.*.survey": ("wmap9", "maps.templates.K.survey", "wmap"),
    "maps.differences.*.join": ("planck2018", "maps.differences.d100x143.join", ["f100", "f217"]),
    "maps.differences.*.ranges.*": ("planck2018", "maps.differences.d100x143.ranges.f100", 900),
    "maps.templates.*.noise_uk_arcmin": ("wmap9", "maps.templates.dust.noise_uk_arcmin", 700.0),
    "maps.templates.*.splits": ("wmap9", "maps.templates.dust.splits", ["x"]),
    "maps.fields.*.pixel_window": ("wmap9", "maps.fields.V.pixel_window", WINDOW),
    "maps.channels.*.pixel_window": ("planck2018", "maps.channels.f100.pixel_window", WINDOW),
    "maps.templates.*.pixel_window": ("wmap9", "maps.templates.dust.pixel_window", WINDOW),
    "maps.fields.*.detectors.*.beam": ("wmap9", "maps.fields.V.detectors.V1.beam", BEAM),
    "maps.channels.*.detectors.*.beam": ("planck2018", "maps.channels.f100.detectors.100.beam", BEAM),
    "maps.templates.*.detectors.*.beam": ("wmap9", "maps.templates.K.detectors.K1.beam", BEAM),
    "maps.fields.*.detectors.*.beam.file": ("wmap9", "maps.fields.W.detectors.W1.beam.file", BEAM),
    "maps.channels.*.detectors.*.beam.file": ("planck2018", "maps.channels.f100.detectors.100.beam.file", BEAM),
    "maps.templates.*.detectors.*.beam.file": ("wmap9", "maps.templates.dust.detectors.353.beam.file", BEAM),
    **{name: ("wmap9" if "templates" in name or "fields" in name else "planck2018", place, value) for name, place, value in (
        ("maps.channels.*.mask", "maps.channels.f100.mask", "temperature"),
        ("maps.channels.*.mask_p", "maps.channels.f100.mask_p", "temperature"),
        ("maps.templates.*.mask", "maps.templates.K.mask", "temperature"),
        ("maps.templates.*.mask_p", "maps.templates.K.mask_p", "temperature"),
        ("maps.fields.*.has_cmb", "maps.fields.V.has_cmb", True),
        ("maps.fields.*.noise_uk_arcmin", "maps.fields.V.noise_uk_arcmin", 1.0),
        ("maps.channels.*.has_cmb", "maps.channels.f100.has_cmb", True),
        ("maps.channels.*.noise_uk_arcmin", "maps.channels.f100.noise_uk_arcmin", 1.0),
    )},
    "maps.masks.*.files": ("wmap9", "maps.masks.temperature.files", [MASK]),
    "maps.masks.*.column": ("wmap9", "maps.masks.temperature.column", 1),
    "maps.masks.*.latitude_deg": ("wmap9", "maps.masks.temperature.latitude_deg", 10.0),
    "maps.cleaning.fields": ("wmap9", "maps.cleaning.fields", ["V"]),
    "maps.cleaning.templates": ("wmap9", "maps.cleaning.templates", ["K"]),
    "maps.cleaning.nside": ("wmap9", "maps.cleaning.nside", 16),
    "maps.bands.*.map": ("default", "maps.bands.V.map", V7.format("W")),
    "spectra.pair": ("default", "spectra.pair", ["W", "V"]),
    "spectra.edges": ("default", "spectra.edges", [2, 5, 9, 14, 20]),
    "spectra.pairs": ("wmap9", "spectra.pairs", [["V", "W"]]),
    "spectra.cuts.*.*": ("wmap9", "spectra.cuts.tt.VxW", [40, 900]),
    "theory.camb.halofit": ("tiny", "theory.camb.halofit", "mead2020"),
    "theory.camb.recombination": ("tiny", "theory.camb.recombination", "CosmoRec"),
    "theory.camb.bbn_table": ("tiny", "theory.camb.bbn_table", "PRIMAT_Yp_DH_Error.dat"),
    "theory.camb.mnu": ("tiny", "theory.camb.mnu", 0.1),
    "theory.camb.nnu": ("tiny", "theory.camb.nnu", 3.1),
    "theory.camb.tcmb": ("tiny", "theory.camb.tcmb", 2.72),
    "theory.transfer.centre.*": ("early", "theory.transfer.centre.ombh2", 0.02241),
    "theory.transfer.steps.*": ("early", "theory.transfer.steps.ombh2", 0.0005),
    "theory.transfer.lmax": ("early", "theory.transfer.lmax", 2600),
    "theory.transfer.log_frequency": ("early", "theory.transfer.log_frequency", 120.0),
    "theory.transfer.linear_frequency": ("early", "theory.transfer.linear_frequency", 120.0),
    "theory.emulator.bundle": ("default", "theory.emulator.bundle", "lcdm_high"),
    "theory.emulator.train.design.focus.*": ("train", "theory.emulator.train.design.focus.ns", [0.95, 0.98]),
    "theory.emulator.train.extensions.*.focus.*": ("train", "theory.emulator.train.extensions.nnu.focus.ns", [0.95, 0.98]),
    "theory.emulator.extensions.*.focus.*": ("family", "theory.emulator.extensions.mnu.focus.ns", [0.95, 0.98]),
    "theory.emulator.train.design.box.*": ("tiny", "theory.emulator.train.design.box.ns", [0.94, 0.991]),
    "likelihood.reference.camb.halofit": ("default", "likelihood.reference.camb.halofit", "mead2020"),
    "likelihood.reference.camb.recombination": ("default", "likelihood.reference.camb.recombination", "CosmoRec"),
    "likelihood.reference.camb.bbn_table": ("default", "likelihood.reference.camb.bbn_table", "x.dat"),
    "look_elsewhere.fit": ("early", "look_elsewhere.fit", "running"),
    "look_elsewhere.data": ("early", "look_elsewhere.data", ["planck2018_plik_lite_ttteee", "tau_lowe"]),
    "comparison.fixed.*.fit": ("early", "comparison.fixed.harrison_zeldovich",
                               {"title": "x", "fit": "tensors", "values": {"ns": 1.0}}),
    "comparison.nests.*.*": ("early", "comparison.nests.tensors.r", 0.01),
    "comparison.evidence.method": ("tiny", "comparison.evidence.method", "chain"),
    "comparison.tension.*.fit": ("ground", "comparison.tension.planck_act.fit", "lcdm_spt3g_2018"),
    "comparison.tension.*.a": ("ground", "comparison.tension.planck_act.a", ["planck2018_plik_lite_ttteee"]),
    "comparison.tension.*.b": ("ground", "comparison.tension.planck_act.b", ["spt3g_2018_lite"]),
    "comparison.tension.*.shifted": ("ground", "comparison.tension.planck_act.shifted", ["ns"]),
    "comparison.tension.*.draws": ("ground", "comparison.tension.planck_act.draws", 2000),
    "fits.*.data": ("default", "fits.lcdm_planck2018.data", ["planck2018_plik_lite_ttteee", "tau_lowe"]),
    "fits.*.theory.primordial": ("early", "fits.tensors.theory.primordial", "running"),
    "fits.*.theory.tensors": ("early", "fits.tensors.theory.tensors", "tensor_free"),
    "fits.*.theory.transfer": ("early", "fits.tensors.theory.transfer", "elsewhere"),
    "fits.*.theory.extends": ("default", "fits.lcdm_planck2018.theory.extends", ["mnu"]),
    "fits.*.theory.evaporation": ("holes", "fits.pbh_1e14.theory.evaporation", 3.0e14),
    "fits.*.sampler.kind": ("default", "fits.lcdm_planck2018.sampler", {"kind": "hmc"}),
    "fits.*.sampler.walkers": ("default", "fits.lcdm_planck2018.sampler.walkers", 64),
    "fits.*.sampler.moves": ("default", "fits.lcdm_planck2018.sampler.moves", "stretch"),
    "fits.*.theory.class": ("own", "fits.lcdm_planck2018.theory.class", "mine.py:B"),
    "fits.*.theory.options": ("own", "fits.lcdm_planck2018.theory.options", {"a": 2}),
    "fits.*.reference.correlations.parameters": (
        "default",
        "fits.lcdm_planck2018.reference.correlations.parameters",
        ["omch2", "ombh2", "theta_mc", "tau", "logA", "ns"],
    ),
    "fits.*.reference.correlations.lower": (
        "default",
        "fits.lcdm_planck2018.reference.correlations.lower",
        [[1], [0, 1], [0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0.9, 1], [0, 0, 0, 0, 0, 1]],
    ),
    "fits.*.published": ("early", "fits.power_law.published", "x"),
}  # fmt: skip


# the rules that take a value themselves, of which a change must move every one that the configuration has
REACHES: dict[str, set[str]] = {
    "subsets.*": {"measure_subsets"},
    "run.blind.secret": {"sample_posterior", "plot_maps", "write_summary"},
    "maps.mask": {"prepare_mask"},
    "maps.declare.coord": {"prepare_mask", "prepare_maps"},
    "maps.declare.ordering": {"prepare_mask", "prepare_maps"},
    "maps.declare.[up]*": {"prepare_maps"},
    "maps.galactic_cut.*": {"prepare_mask"},
    "maps.apodisation.*": {"prepare_mask"},
    "maps.pixel_window": {"estimate_spectra"},
    "maps.masks.*": {"prepare_survey_mask"},
    "maps.fields.*.weights": {"prepare_split"},
    "maps.*.declare.*": {"prepare_split"},
    "maps.*.calibration.*": {"prepare_split"},
    "maps.*.sigma0_uk": {"prepare_split", "prepare_beam"},
    "maps.*.beam*": {"prepare_beam"},
    "maps.cleaning.window": {"transform_sky", "prepare_beam"},
    "maps.cleaning.nside": {"fit_templates"},
    "maps.bands.*.simulate.*": {"simulate_map"},
    "spectra.edges": {"estimate_spectra"},
    "maps.mask_column": {"prepare_mask"},
    "maps.bands.*.bandpass": {"prepare_maps"},
    "maps.fields.*.bandpass": {"prepare_split"},
    "spectra.weighting": {"estimate_spectra"},
    "spectra.iterations": {"estimate_spectra"},
    "spectra.signal": {"check_spectra", "plot_spectra"},
    "spectra.lmax": {"transform_split", "estimate_survey", "check_nulls"},
    "spectra.likelihood.*": {"sample_posterior"},
    "theory.camb.*": {"compute_fiducial", "compute_theory"},
    "theory.fiducial.*": {"compute_fiducial"},
    "theory.transfer.*": {"compute_transfer", "join_transfer"},
    "theory.emulator.bundle": {"sample_posterior", "compute_exact"},
    "theory.emulator.train.held_out": {"train_emulator"},
    "theory.emulator.train.fit.*": {"train_emulator"},
    "theory.emulator.train.design.*": {"compute_theory"},
    "theory.emulator.train.network.*": {"compare_emulators"},
    "theory.emulator.check.draws": {"compute_exact"},
    "theory.emulator.check.least": {"compute_exact"},
    "theory.emulator.check.*": {"check_emulator", "reweight"},
    "likelihood.reference.*": {"check_likelihood"},
    "look_elsewhere.*": {"search_features"},
    "comparison.fixed.*": {"compare_fits", "compute_evidence"},
    "comparison.evidence.*": {"compute_evidence"},
    "comparison.tension.*": {"measure_tension"},
    "run.seed": {"sample_posterior", "compute_exact", "reweight", "compute_evidence", "compare_fits"},
    "fits.*.data": {"sample_posterior", "publish_chains", "compute_exact", "plot_residuals", "compute_evidence"},
    "fits.*.priors.*": {"sample_posterior", "publish_chains", "compute_exact", "compute_evidence"},
    "fits.*.start.*": {"sample_posterior"},
    "fits.*.theory.*": {"sample_posterior", "publish_chains", "compute_exact", "compute_evidence"},
    "fits.*.sampler.*": {"sample_posterior"},
    "fits.*.gate.*": {"publish_chains"},
    "fits.*.show": {"plot_posterior"},
    "fits.*.reference.correlations.*": {"plot_posterior"},
}  # fmt: skip
