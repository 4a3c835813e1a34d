"""Theories and their parts move wholly: corrections, continuations, primordial spectra, transfer functions, codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmbfit.likelihood import Posterior, Uniform
from cmbfit.likelihood.compiled import compile_posterior
from cmbfit.likelihood.polynomial_rows import PolynomialRows
from cmbfit.likelihood.prior_table import PriorTable
from cmbfit.likelihood.priors import Gaussian, JointGaussian
from cmbfit.theory import camb_code
from cmbfit.theory.camb_code import CambSettings, CambTheory
from cmbfit.theory.cosmopower import CosmoPowerTheory, write_cosmopower
from cmbfit.theory.emulator.correction import CorrectedEmulator, Correction
from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.extrapolation import ExtrapolatedEmulator, ExtrapolatedTheory
from cmbfit.theory.hawking.response import EvaporationTheory, read_responses
from cmbfit.theory.lensing import Lensing
from cmbfit.theory.lensing_response import LensingResponse
from cmbfit.theory.parameters import DERIVED
from cmbfit.theory.primordial_theory import PrimordialTheory
from cmbfit.theory.spectra import Spectra
from cmbfit.theory.tensor_template import TensorTemplate
from cmbfit.theory.transfer.expansion import TransferExpansion
from tests.conftest import PLANCK_POINT
from tests.inference.test_look_elsewhere import GRID, noise, toy_search
from tests.theory.test_cosmopower import BOX as COSMOPOWER_BOX
from tests.theory.test_cosmopower import CARD, network
from tests.theory.test_cosmopower import POINT as COSMOPOWER_POINT
from tests.theory.test_primordial_theory import likelihoods
from tests.theory.test_tensor_spectra import (  # noqa: F401 (fixtures)
    _Fiducial,
    emulator,
    expansion,
    operator,
    theory,
    with_waves,
)

Check = Callable[..., None]

PLANCK = torch.tensor([list(PLANCK_POINT.values())], dtype=torch.float64)


def spectra(thing: Any, x: torch.Tensor) -> Spectra:
    return thing.spectra(x)


def call(thing: Any, x: torch.Tensor) -> Any:
    return thing(x)


@pytest.mark.parametrize("kind", ["network", "polynomials"])
def test_corrected_emulators_move(
    moves: Check,
    emulator: LinearEmulator,  # noqa: F811
    rng: np.random.Generator,
    kind: str,
) -> None:
    box = {**LCDM_BOX, "nnu": (2.0, 4.0)}
    degrees = np.zeros((3, 7), dtype=np.int64)
    degrees[:, 6], degrees[1, 0], degrees[2, 5] = 1, 1, 2
    layers = ((rng.normal(size=(3, 7)), rng.normal(size=3)),) if kind == "network" else ()
    heads = {
        name: 1e-3 * rng.normal(size=(3, len(emulator.blocks[name].coefficients)))
        for name in ("cmb", "lensing")
    }
    correction = Correction(box, {"nnu": (3.044,)}, layers, degrees, heads)
    corrected = CorrectedEmulator(emulator.arrays, correction, {"code": "toy"})
    moves(corrected, spectra, torch.cat([PLANCK, torch.tensor([[3.3]], dtype=torch.float64)], 1))


def test_a_primordial_theory_with_waves_moves(moves: Check, theory: PrimordialTheory) -> None:  # noqa: F811
    """Its lensing, too, which is made on first use: before the move or after it."""
    theta = with_waves(theory, 3, 0.05)
    moves(theory, spectra, theta)
    moves(theory, lambda thing, x: thing.allowed(x).double() + 0 * x[:, 0], theta)
    fresh = PrimordialTheory(theory.emulator, theory.model, theory.expansion, theory.tensors)
    assert "lensing" not in vars(fresh)
    moves(fresh.coarse(), spectra, theta)


def test_a_folded_primordial_posterior_moves(moves: Check, theory: PrimordialTheory) -> None:  # noqa: F811
    data = likelihoods(np.random.default_rng(2), _Fiducial(theory))  # type: ignore[arg-type]
    plain = Posterior(theory, data, {p: Uniform(*theory.box[p]) for p in theory.parameters})
    theta = torch.cat([with_waves(theory, 3, 0.05), torch.ones(3, 1, dtype=torch.float64)], 1)
    moves(compile_posterior(plain), lambda thing, x: thing.log_prob(x), theta)


def test_transfer_functions_move(moves: Check, expansion: TransferExpansion) -> None:  # noqa: F811
    background = torch.from_numpy(expansion.arrays.centre)[None].repeat(2, 1)
    power = torch.ones(2, len(expansion.k), dtype=torch.float64)
    moves(expansion, lambda thing, x: thing.undamped(x, power.to(x.device)), background)
    moves(expansion.at_centre(), lambda thing, x: thing.unlensed(x), power)
    assert expansion.at_centre().to("cpu", torch.float32).matrices["tt"].dtype == torch.float32


def test_lensing_moves(moves: Check) -> None:
    lensing = Lensing(300, 200)
    fiducial = {p: torch.ones(301, dtype=torch.float64) for p in ("tt", "te", "ee")} | {
        "pp": torch.full((301,), 1e-8, dtype=torch.float64)
    }
    x = torch.ones(1, 301, dtype=torch.float64)

    def of(thing: Any, tt: torch.Tensor) -> Any:
        dl = {"tt": tt, "te": 0.1 * tt, "ee": 0.5 * tt, "pp": 1e-8 * tt}
        return thing.lensed(dl) if isinstance(thing, Lensing) else thing(dl)

    # a look at whether the lensing is within what its multipoles stand for saves nearly all of its work
    moves(lensing, of, x, binds="theory/lensing.py")
    moves(LensingResponse(lensing, fiducial), of, x)


def test_templates_networks_and_searches_move(moves: Check, tmp_path: Path, rng: np.random.Generator) -> None:
    dl = torch.linspace(0.0, 1.0, 30, dtype=torch.float64)
    moves(TensorTemplate(dl, dl.square(), {}), spectra, torch.tensor([[0.1]], dtype=torch.float64))
    for pca in (False, True):
        write_cosmopower(tmp_path / "tt.npz", network(rng, pca=pca))
        moves(CosmoPowerTheory({"tt": tmp_path / "tt.npz"}, COSMOPOWER_BOX, CARD), spectra, COSMOPOWER_POINT)
    # a look at whether any amplitude lies beyond the prior saves most of a search's work
    rare = {"gradient": False, "binds": "inference/look_elsewhere.py"}
    moves(toy_search(0.02, GRID), lambda thing, x: thing.fits(x).improvement, noise(rng, 2), **rare)
    moves(toy_search(0.02, GRID), lambda thing, x: thing.log_bayes(x[0]), noise(rng, 1), **rare)


def test_prior_tables_and_polynomials_move(moves: Check, rng: np.random.Generator) -> None:
    joint = JointGaussian(("b", "c"), (0.0, 1.0), ((1.0, 0.2), (0.2, 2.0)))
    priors = {"a": Uniform(-2, 2), "b": Gaussian(0, 1), "c": Gaussian(1, 2**0.5), "d": Gaussian(0, 1)}
    table = PriorTable(list(priors), priors, [joint], {"d": (-1.0, 1.0)})
    x = torch.from_numpy(rng.uniform(-0.9, 0.9, (4, 4)))
    moves(table, lambda thing, x: thing(x)[0], x)
    degrees = np.array([[0, 0], [1, 0], [0, 2], [1, 1]])
    blocks = {
        "one": torch.from_numpy(rng.normal(size=(3, 4))),
        "two": torch.from_numpy(rng.normal(size=(2, 4))),
    }
    moves(PolynomialRows({"a": (-1.0, 1.0), "b": (-1.0, 1.0)}, degrees, blocks), call, x[:, :2])


def test_continued_and_evaporating_universes_move(moves: Check, emulator: LinearEmulator) -> None:  # noqa: F811
    for longer in (ExtrapolatedTheory, ExtrapolatedEmulator):
        moves(longer(emulator, emulator.lmax + 100), spectra, PLANCK)
    mass = next(iter(read_responses()))
    x = torch.cat([PLANCK, torch.tensor([[1e-12]], dtype=torch.float64)], 1)
    moves(EvaporationTheory(emulator, mass), spectra, x)


@pytest.mark.usefixtures("gpu")
def test_a_boltzmann_code_answers_on_the_points_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no arrays: the host computes, wherever the points are. (Here it computes ones.)"""
    shapes = ((1, 5, 61), (1, 4, 61), (1, len(DERIVED)))
    monkeypatch.setattr(camb_code, "_run", lambda *_: tuple(np.ones(shape) for shape in shapes))
    camb = CambTheory(CambSettings(lmax=60, lens_potential_accuracy=1)).to("cuda")
    got = camb.spectra(PLANCK.to("cuda"))
    assert {x.device.type for x in (*got.dl.values(), *got.parameters.values())} == {"cuda"}
