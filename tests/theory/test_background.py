"""Distances against CAMB at random points of every extension, their gradients, the sound horizon."""

from __future__ import annotations

import camb
import numpy as np
import pytest
import torch

from cmbfit.errors import ConfigError, LikelihoodError, OutsideBoxError
from cmbfit.theory.background.densities import OMEGA_PHOTON, Densities, MassiveNeutrinos
from cmbfit.theory.background.distances import Distances
from cmbfit.theory.background.sound_horizon import SoundHorizon
from cmbfit.theory.background.theory import BackgroundTheory
from cmbfit.theory.camb_code import PRESETS, camb_parameters
from cmbfit.theory.extensions import BACKGROUND_EXTENSIONS

Z = np.array([0.01, 0.05, 0.295, 0.51, 0.934, 1.484, 2.33, 2.5])
LCDM_BOX = {"ombh2": (0.019, 0.026), "omch2": (0.09, 0.15), "H0": (55.0, 85.0)}


def on_batch(points: list[dict[str, float]]) -> dict[str, torch.Tensor]:
    return {p: torch.tensor([x[p] for x in points], dtype=torch.float64) for p in points[0]}


def drawn(rng: np.random.Generator, extra: tuple[str, ...], n: int) -> list[dict[str, float]]:
    boxes = LCDM_BOX | {p: BACKGROUND_EXTENSIONS[p].box for p in extra}
    points = [{p: float(rng.uniform(*boxes[p])) for p in boxes} for _ in range(n)]
    for point in points:  # CAMB refuses dark energy that outweighs matter early on
        if "wa" in point:
            point["wa"] = min(point["wa"], -0.1 - point["w"])
    return points


@pytest.mark.parametrize(
    "extra", [(), ("mnu",), ("nnu",), ("omk",), ("w",), ("w", "wa"), ("mnu", "nnu", "omk", "w", "wa")]
)
def test_distances_are_those_of_camb(extra: tuple[str, ...], rng: np.random.Generator) -> None:
    """To 1e-6 wherever a fit may go; phantom crossing included, since w and wa fill their box. Found: 5e-9."""
    points = drawn(rng, extra, 6)
    dm, dh = (x.exp().numpy() for x in Distances(Z)(on_batch(points)))
    for i, point in enumerate(points):
        pars = camb_parameters(PRESETS["planck2018"], tau=0.05, **point)
        exact = camb.get_background(pars, no_thermo=True)
        np.testing.assert_allclose(dm[:, i], (1 + Z) * exact.angular_diameter_distance(Z), rtol=1e-6)
        np.testing.assert_allclose(dh[:, i], 1 / exact.h_of_z(Z), rtol=1e-6)


def test_redshifts_do_not_depend_on_each_other(rng: np.random.Generator) -> None:
    """The farthest redshift sets the nodes; supernovae alone and with quasars have the same distances."""
    points = on_batch(drawn(rng, ("w", "wa"), 4))
    near = Distances(Z[:3])(points)[0]
    assert torch.allclose(Distances(Z)(points)[0][:3], near, rtol=0, atol=1e-9)


def test_distances_have_gradients(rng: np.random.Generator) -> None:
    points = on_batch(drawn(rng, ("mnu", "omk", "w", "wa"), 2))
    names, distances = list(points), Distances(Z[2:5])

    def log_distances(*columns: torch.Tensor) -> torch.Tensor:
        return torch.cat(distances(dict(zip(names, columns, strict=True))))

    assert torch.autograd.gradcheck(log_distances, [points[p].requires_grad_() for p in names], atol=1e-7)


def test_neutrinos_at_both_ends() -> None:
    """F(0) = 1; for large y energy is mass: F -> y 180 zeta(3) / (7 pi^4) (1 + O(1/y^2))."""
    y = torch.tensor([0.0, 2000.0], dtype=torch.float64)
    got = MassiveNeutrinos()(y)
    heavy = 180 * 1.2020569031595942 / (7 * np.pi**4) * 2000
    assert got[0].item() == pytest.approx(1, abs=1e-12)
    assert got[1].item() == pytest.approx(heavy, rel=5e-6)


def test_photons_and_the_sum_of_everything_today() -> None:
    assert pytest.approx(2.4728e-5, rel=2e-4) == OMEGA_PHOTON  # at 2.7255 K, as in reviews
    today = Densities(np.array([0.0]))(on_batch([{"ombh2": 0.0224, "omch2": 0.12, "H0": 67.0, "omk": 0.03}]))
    assert today.item() == pytest.approx(0.67**2, rel=1e-13)


def test_no_universe_is_not_a_number() -> None:
    """Closed so far that H^2 < 0 on the way: no distance, and no silent one."""
    odd = on_batch([{"ombh2": 0.02, "omch2": 0.01, "H0": 70.0, "omk": -1.5}])
    assert torch.isnan(Distances(np.array([2.0]))(odd)[0]).all()


@pytest.mark.parametrize("z", [[], [0.0], [-0.1], [np.nan]])
def test_redshifts_that_are_none(z: list[float]) -> None:
    with pytest.raises(LikelihoodError, match="redshifts above zero"):
        Distances(np.array(z))


def test_sound_horizon_is_that_of_camb(rng: np.random.Generator) -> None:
    """Within its stated largest error, at points that it was not trained on."""
    horizon = SoundHorizon()
    points = [{p: float(rng.uniform(*box)) for p, box in horizon.box.items()} for _ in range(6)]
    got = horizon(on_batch(points))
    for value, point in zip(got.tolist(), points, strict=True):
        pars = camb_parameters(PRESETS["planck2018"], tau=0.05, H0=67.0, **point)
        exact = camb.get_background(pars).get_derived_params()["rdrag"]
        assert value == pytest.approx(exact, rel=2 * horizon.settings["largest_error"])
    standard = horizon(on_batch([{"ombh2": 0.02237, "omch2": 0.1200}])).item()
    # Planck 2018 VI (arXiv:1807.06209), table 2, last column: 147.09 +- 0.26 at these densities
    assert standard == pytest.approx(147.09, abs=0.1)
    # DESI DR2 (arXiv:2503.14738), eq. 2: good to a few 1e-4 near there
    fit = (
        147.05 * (0.02237 / 0.02236) ** -0.13 * ((0.12 + 0.02237) / 0.1432) ** -0.23 * (3.044 / 3.04) ** -0.1
    )
    assert standard == pytest.approx(fit, rel=2e-3)


def test_theory_of_distances_alone() -> None:
    theory = BackgroundTheory(extra=["w", "wa"], horizon="free")
    assert theory.parameters == ("omegam", "hrdrag", "w", "wa")
    point = torch.tensor([[0.3, 100.0, -0.9, -0.5]], dtype=torch.float64)
    table = theory.spectra(point).parameters
    assert (table["H0"] * table["rdrag"] / 100).item() == pytest.approx(100.0)
    with pytest.raises(OutsideBoxError, match="omegam = 1"):
        theory.spectra(torch.tensor([[1.2, 100.0, -1.0, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra": ["tau"]}, "unknown parameter of a list 'tau'"),
        ({"extra": "w"}, "unknown parameter of a list"),
        ({"extra": ["w", "w"]}, "named twice"),
        ({"horizon": "guessed"}, "expected computed or free"),
        ({"horizon": "free", "extra": ["mnu"]}, "early universe"),
    ],
)
def test_options_that_are_none(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BackgroundTheory(**options)
