"""The family: corrections that name their base, and which of them covers what is asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import BundleError, ConfigError, LikelihoodError, OutsideBoxError
from cmbfit.fit import build_posterior
from cmbfit.fit.complete import complete_fit
from cmbfit.io import sha256_file
from cmbfit.theory.emulator import manifest
from cmbfit.theory.emulator.accuracy import measure
from cmbfit.theory.emulator.bundle import load_emulator, write_bundle
from cmbfit.theory.emulator.correction import BoundedEmulator
from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.family import emulator_that_extends
from cmbfit.theory.emulator.finetune import FineTuneSettings, fine_tune
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.publish import finetune_bundle, held_out_spectra
from cmbfit.theory.emulator.train import fit_emulator
from cmbfit.theory.emulator.trainingset import TrainingSet, write_chunk
from cmbfit.theory.parameters import LCDM
from pipeline.ship_emulator import ship_emulator
from tests.theory.synthetic import LMAX, SETTINGS, Universe

CAMB = {"camb": {"lmax": LMAX, "tcmb": 2.7255}}
BOXES = {"nnu": (2.0, 4.0), "w": (-1.5, -0.5), "wa": (-1.0, 1.0)}
QUICK = FineTuneSettings(method="quadratic", more_components=2)


def runs_of(universe: Universe, names: tuple[str, ...], n: int = 80) -> TrainingSet:
    """An extension that scales all spectra, more at larger ns."""
    rng = np.random.default_rng(4)
    low, high = np.array([BOXES[p] for p in names]).T
    extra = rng.uniform(low, high, (n, len(names)))
    if set(names) == {"w", "wa"}:
        extra[:, 1] = np.minimum(extra[:, 1], -extra[:, 0] - 0.1)
    low, high = np.array([LCDM_BOX[p] for p in LCDM]).T
    inner = (universe.theta(n) + low + high) / 3  # where the made-up spectra are positive
    theta = np.column_stack([inner, extra])
    dl, bare, derived = universe.training_arrays(theta[:, :6])
    reference = {"nnu": 3.044, "w": -1.0, "wa": 0.0}
    e = sum(extra[:, i] - reference[p] for i, p in enumerate(names))
    factor = (1 + 0.02 * e * (1 + (theta[:, 5] - 0.97)))[:, None, None]
    box = {p: list(limits) for p, limits in LCDM_BOX.items()}
    design = {
        "n_backgrounds": n // 2 - 10,
        "box": box,
        "extension": {p: list(BOXES[p]) for p in names},
    }
    return TrainingSet(
        theta,
        dl * factor,
        bare * factor,
        derived,
        np.arange(n) // 2,
        [],
        {**CAMB, "design": design},
        (*LCDM, *names),
    )


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Universe]:
    """A package's bundles: toy, toy_nnu and toy_w_wa, which name it."""
    folder = tmp_path_factory.mktemp("bundles")
    universe = Universe(np.random.default_rng(5))
    base = LinearEmulator(fit_emulator(universe.training_set(100), SETTINGS, LCDM_BOX), {"trained_on": CAMB})
    theta = universe.theta(4)
    write_bundle(folder / "toy", base.arrays, base.settings, measure(base, theta, *universe.spectra(theta)))
    patch = pytest.MonkeyPatch()
    patch.setattr(manifest, "_SHIPPED", folder)
    for names in (("nnu",), ("w", "wa")):
        runs = runs_of(universe, names)
        finetune_bundle(folder / f"toy_{'_'.join(names)}", load_emulator("toy"), runs, QUICK, 0.5)  # type: ignore[arg-type]
    patch.undo()
    return folder, universe


@pytest.fixture(autouse=True)
def family(shipped: tuple[Path, Universe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(shipped[0], tmp_path / "bundles"))
    monkeypatch.setattr(manifest, "_SHIPPED", folder)
    return folder


def test_a_correction_holds_no_base_and_is_the_base_at_its_reference(
    family: Path, shipped: tuple[Path, Universe]
) -> None:
    """1e-12 is rounding: features are differences. The base's 5 components of 4 blocks are not stored again."""
    sizes = {n: (family / n / "arrays.safetensors").stat().st_size for n in ("toy", "toy_nnu")}
    assert sizes["toy_nnu"] < 0.6 * sizes["toy"]
    theta = torch.from_numpy(shipped[1].theta(6))
    extended = load_emulator("toy_nnu")
    at_reference = torch.cat([theta, torch.full((6, 1), 3.044, dtype=torch.float64)], dim=1)
    plain = load_emulator("toy").spectra(theta)
    for pair, x in plain.dl.items():
        got = extended.spectra(at_reference).dl[pair]
        torch.testing.assert_close(got, x, rtol=1e-12, atol=1e-12 * x.abs().max().item())


def test_another_version_of_the_base_is_refused(family: Path) -> None:
    arrays, path = family / "toy/arrays.safetensors", family / "toy/manifest.json"
    raw = bytearray(arrays.read_bytes())
    raw[-50] ^= 1
    arrays.write_bytes(raw)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"arrays_sha256": sha256_file(arrays)}))
    with pytest.raises(BundleError, match="two versions of the family"):
        load_emulator("toy_nnu")


def test_shipping_records_what_the_errors_do_to_chi2(
    family: Path, shipped: tuple[Path, Universe], tmp_path: Path
) -> None:
    """Low-l EE of the made-up universe, whose effect is nearly held by quadratics: chi2 moves by little of its size."""
    write_chunk(tmp_path / "chunk.npz", runs_of(shipped[1], ("nnu",)))
    ship_emulator(
        emulator=family / "toy_nnu",
        chunks=[tmp_path / "chunk.npz"],
        held_out=0.5,
        data=["planck2018_lowl_ee"],
        output=tmp_path / "toy_nnu",
        cpu_seconds=12.0,
    )
    made = json.loads((tmp_path / "toy_nnu/manifest.json").read_text())
    error = made["accuracy"]["chi2"]["planck2018_lowl_ee"]
    assert 0 < error["median"] <= error["p95"] <= error["max"]
    assert error["focus_p95_about_mean"] < 0.1 * error["median_chi2"]
    assert made["settings"]["cpu_seconds"] == 12.0


def test_a_base_of_ones_own_is_held_whole(
    shipped: tuple[Path, Universe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that no installation ships is no name to rely on."""
    base = load_emulator(shutil.copytree(shipped[0] / "toy", tmp_path / "mine"))
    finetune_bundle(tmp_path / "whole", base, runs_of(shipped[1], ("nnu",)), QUICK, 0.5)  # type: ignore[arg-type]
    monkeypatch.setattr(manifest, "_SHIPPED", tmp_path / "none")
    (tmp_path / "none").mkdir()
    shutil.rmtree(tmp_path / "mine")
    assert load_emulator(tmp_path / "whole").parameters[6:] == ("nnu",)


def test_held_out_errors_are_of_backgrounds_not_seen(shipped: tuple[Path, Universe]) -> None:
    """Spectra of one background whose numbers are spoilt come back as the others say, not as it says."""
    runs = runs_of(shipped[1], ("nnu",))
    spoilt = runs.background == runs.background[0]
    exact = runs.dl.copy()
    runs.dl[spoilt] *= 1.5
    got = held_out_spectra(load_emulator("toy"), runs, QUICK, 0.5).dl["tt"].numpy()[spoilt, 2:]  # type: ignore[arg-type]
    assert np.abs(got / exact[spoilt, 0, 2:] - 1).max() < 0.03


def test_dark_energy_of_the_early_universe_is_refused(shipped: tuple[Path, Universe]) -> None:
    emulator = load_emulator(extends=["wa", "w"], name_or_path="toy")
    assert isinstance(emulator, BoundedEmulator)
    theta = torch.from_numpy(runs_of(shipped[1], ("w", "wa")).theta[:2].copy())
    theta[:, 6:] = torch.tensor([[-0.9, 0.2], [-0.6, 0.7]])
    assert emulator.allowed(theta).tolist() == [True, False]
    emulator.spectra(theta[:1])
    with pytest.raises(OutsideBoxError, match=r"w \+ wa = 0\.1 \(row 1\) lies above 0"):
        emulator.spectra(theta)


def test_the_family_picks_what_covers_and_names_the_nearest() -> None:
    assert emulator_that_extends(["nnu"], "toy") == "toy_nnu"
    assert emulator_that_extends(["wa", "w"], "toy") == "toy_w_wa"
    assert emulator_that_extends(["nnu"], "toy_nnu") == "toy_nnu"
    with pytest.raises(ConfigError, match=r"covers nnu and omk together; the nearest: toy_nnu \(nnu\)"):
        emulator_that_extends(["nnu", "omk"], "toy")
    with pytest.raises(ConfigError, match=r"covers w; the nearest: toy_w_wa \(w, wa\); make one"):
        emulator_that_extends(["w"], "toy")
    with pytest.raises(ConfigError, match="did you mean 'nnu'"):
        emulator_that_extends(["nnuu"], "toy")
    with pytest.raises(ConfigError, match="each once"):
        emulator_that_extends(["nnu", "nnu"], "toy")


def test_a_fit_that_extends_has_the_parameter_within_the_emulators_range() -> None:
    fit = complete_fit("mine", {"data": ["tau_lowe"], "theory": {"extends": ["nnu"]}}, "toy")
    assert (fit.theory["emulator"], fit.priors["nnu"]) == ("toy_nnu", {"uniform": [2.0, 4.0]})
    wide = {"data": ["tau_lowe"], "theory": {"extends": ["nnu"]}, "priors": {"nnu": {"uniform": [1, 4]}}}
    with pytest.raises(ConfigError, match=r"fits\.mine\.priors\.nnu: \[1, 4\] reaches beyond the emulator's"):
        complete_fit("mine", wide, "toy")
    with pytest.raises(ConfigError, match=r"priors\.nnu: .* add theory: \{extends: \[nnu\]\}"):
        complete_fit("mine", {"data": ["tau_lowe"], "priors": {"nnu": {"uniform": [2, 4]}}}, "toy")
    both = {"data": ["tau_lowe"], "theory": {"extends": ["nnu"], "primordial": "running"}}
    with pytest.raises(ConfigError, match=r"extends chooses an emulator .* which primordial does not take"):
        complete_fit("mine", both, "toy")


def test_lensing_data_need_a_good_lensing_potential(family: Path) -> None:
    path = family / "toy_nnu/manifest.json"
    record = json.loads(path.read_text())
    record["accuracy"]["focus"]["overall"]["pp"][2] = 0.3
    path.write_text(json.dumps(record))
    fit = complete_fit("mine", {"data": ["planck2018_lensing"], "theory": {"extends": ["nnu"]}}, "toy")
    with pytest.raises(
        LikelihoodError, match=r"planck2018_lensing: .* toy_nnu has within 0\.3 cosmic-variance"
    ):
        build_posterior(fit)


def test_polynomials_beyond_the_number_of_runs_are_held_small(shipped: tuple[Path, Universe]) -> None:
    """120 terms from 60 runs predict 20 others of a cubic effect: the prior of high degrees is what determines them."""
    runs = runs_of(shipped[1], ("nnu",))
    base, few = load_emulator("toy"), np.arange(80) < 60
    settings = FineTuneSettings(degree=4.0, weights=(1.0,) * 7, more_components=2)
    emulator, _ = fine_tune(base, runs.select(few), settings, {**LCDM_BOX, **BOXES})  # type: ignore[arg-type]
    assert len(emulator.correction.degrees) < 120  # what carries nothing is left out
    held = torch.from_numpy(runs.theta[~few])
    effect = np.abs(runs.dl[~few, 0, 2:] - base.spectra(held[:, :6]).dl["tt"].numpy()[:, 2:]).max()
    left = np.abs(runs.dl[~few, 0, 2:] - emulator.spectra(held).dl["tt"].numpy()[:, 2:]).max()
    assert left < 0.1 * effect
