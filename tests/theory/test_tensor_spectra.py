"""Gravitational waves beside a primordial model of scalars: toy transfer functions, and CAMB's own tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import DataError, ParameterError, SpectrumError
from cmbfit.fit import complete_fit
from cmbfit.fit.build import build_theory
from cmbfit.likelihood import Posterior, Uniform
from cmbfit.likelihood.compiled import compile_if_possible
from cmbfit.theory.camb_code import PRESETS
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial_exact import camb_with_power
from cmbfit.theory.primordial_theory import PrimordialTheory
from cmbfit.theory.tensor_spectra import TensorSpectra
from cmbfit.theory.transfer import TENSORS
from cmbfit.theory.transfer.camb_matrices import TransferSettings
from cmbfit.theory.transfer.expansion import TransferExpansion
from cmbfit.theory.transfer.operator import TransferOperator
from cmbfit.theory.transfer.plan import CENTRE, ExpansionPlan
from cmbfit.theory.transfer.store import write_transfer
from tests.theory.test_primordial_theory import (  # noqa: F401 (fixtures)
    emulator,
    expansion,
    kernels,
    likelihoods,
    points,
)


@pytest.fixture(scope="module")
def operator() -> TransferOperator:
    """Made-up matrices of tensors: those of the toy's scalars up to l = 120."""
    k, ell = np.geomspace(5e-6, 0.6, 300), np.arange(2, 121)
    matrices = {p: kernels(ell, k, p) for p in ("tt", "te", "ee")} | {"bb": kernels(ell, k, "ee")}
    return TransferOperator(k, ell, matrices, {"code": "toy", "background": dict(CENTRE)})


@pytest.fixture(scope="module")
def theory(
    emulator: LinearEmulator,  # noqa: F811
    expansion: TransferExpansion,  # noqa: F811
    operator: TransferOperator,
) -> PrimordialTheory:
    waves = TensorSpectra(get_model("tensor_free"), operator)
    return PrimordialTheory(emulator, get_model("running"), expansion, waves)


def with_waves(theory: PrimordialTheory, n: int, r: float, nt: float = 0.0) -> torch.Tensor:
    bare = PrimordialTheory(theory.emulator, theory.model, theory.expansion)
    extra = torch.tensor([[r, nt]], dtype=torch.float64).repeat(n, 1)
    return torch.cat([points(bare, n), extra], 1)


def test_waves_add_to_the_scalars(theory: PrimordialTheory, operator: TransferOperator) -> None:
    """P_T = r A_s (k/k*)^n_t through the operator, damped by the optical depth, nothing else."""
    assert theory.parameters[-4:] == ("nrun", "nrunrun", "r", "nt")
    assert theory.box["r"] == (1e-6, 0.2)
    theta = with_waves(theory, 3, 0.1, -0.2)
    bare = PrimordialTheory(theory.emulator, theory.model, theory.expansion)
    whole, scalar = theory.spectra(theta).dl, bare.spectra(theta[:, :-2]).dl
    k = operator.k.numpy()
    column = {p: theta[:, i].numpy() for i, p in enumerate(theory.parameters)}
    power = 0.1 * np.exp(column["logA"])[:, None] * 1e-10 * (k / 0.05) ** -0.2
    damping = np.exp(-2 * (column["tau"] - CENTRE["tau"]))[:, None]
    for pair in ("tt", "te", "ee"):
        wanted = power @ operator.matrices[pair].numpy().T * damping
        got = (whole[pair] - scalar[pair]).numpy()
        assert got[:, 2:121] == pytest.approx(wanted, rel=1e-6)  # a difference of spectra 1e3 times as large
        assert not got[:, 121:].any()
    assert theory.imprint(theta)["bb"][0, 80] > 0


def test_folded_equals_unfolded(theory: PrimordialTheory) -> None:
    theta = with_waves(theory, 16, 0.05)
    data = likelihoods(np.random.default_rng(2), _Fiducial(theory))  # type: ignore[arg-type]
    posterior = Posterior(theory, data, {p: Uniform(*theory.box[p]) for p in theory.parameters})
    folded = compile_if_possible(posterior)
    assert folded.not_folded is None
    theta = torch.cat([theta, torch.ones(16, 1, dtype=torch.float64)], 1)
    one, two = theta.clone().requires_grad_(True), theta.clone().requires_grad_(True)
    wanted, got = posterior.log_prob(one), folded.log_prob(two)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=0.02)
    slopes = [torch.autograd.grad(v.sum(), x)[0] for v, x in ((wanted, one), (got, two))]
    r = posterior.parameters.index("r")
    assert slopes[0][:, r].abs().max() > 1  # the data see r
    torch.testing.assert_close(slopes[1][:, r], slopes[0][:, r], rtol=0.02, atol=0.5)
    beyond = theta.clone()
    beyond[:, r] = -0.01
    assert torch.isneginf(folded.log_prob(beyond)).all()


class _Fiducial:
    """The toy data are made from the middle of the model's own parameters, r and n_t with them."""

    def __init__(self, theory: PrimordialTheory) -> None:
        self._theory, self.parameters, self.lmax = theory, theory.parameters[:-2], theory.lmax
        self.model = theory.model

    def spectra(self, theta: torch.Tensor) -> object:
        waves = torch.tensor([[0.05, 0.0]], dtype=torch.float64).repeat(len(theta), 1)
        return self._theory.spectra(torch.cat([theta, waves], 1))


def test_a_configuration_names_its_waves(
    tmp_path: Path,
    expansion: TransferExpansion,  # noqa: F811
    operator: TransferOperator,
) -> None:
    section = {"data": ["planck2018"], "theory": {"primordial": "power_law", "tensors": "tensor_consistency"}}
    fit = complete_fit("mine", section, "lcdm_planck2018", transfer=str(tmp_path), transfer_box={})
    assert fit.priors["r"] == {"uniform": [1e-6, 0.2]}
    assert tuple(fit.priors)[-3:] == ("logA", "ns", "r")
    write_transfer(tmp_path, expansion)
    with pytest.raises(DataError, match="tensors"):
        build_theory(fit)
    write_transfer(tmp_path / TENSORS, operator)
    theory = build_theory(fit)
    assert theory.parameters == ("ombh2", "omch2", "theta_mc", "tau", "logA", "ns", "r")
    assert theory.settings["tensors"]["model"] == "tensor_consistency"


def test_what_cannot_be_waves(
    emulator: LinearEmulator,  # noqa: F811
    expansion: TransferExpansion,  # noqa: F811
    operator: TransferOperator,
) -> None:
    with pytest.raises(ParameterError, match="one of scalars"):
        TensorSpectra(get_model("running"), operator)
    with pytest.raises(SpectrumError, match="those of scalars"):
        TensorSpectra(get_model("tensor_free"), expansion.at_centre())
    waves = TensorSpectra(get_model("tensor_consistency"), operator)
    with pytest.raises(ParameterError, match="ns is nowhere given"):
        PrimordialTheory(emulator, get_model("starobinsky"), expansion, waves)


@pytest.mark.slow
def test_waves_are_camb_s_at_another_cosmology() -> None:
    """Two sigma off the background of the transfer functions: 4% of the tensors, where limits have 20% of r."""
    camb = replace(PRESETS["planck2018"], lmax=900, lens_potential_accuracy=1.0)
    plan = ExpansionPlan(settings=TransferSettings(camb, k_sampling=2.0))
    waves = TensorSpectra(get_model("tensor_consistency"), plan.compute_tensors())
    point = {"ombh2": 0.0226, "omch2": 0.1220, "theta_mc": 1.0413, "tau": 0.045, "logA": 3.05, "ns": 0.97}
    theta = torch.tensor([[point["logA"], point["ns"], 0.1]], dtype=torch.float64)
    k = torch.from_numpy(np.geomspace(1e-6, 20.0, 4000))
    smooth = get_model("power_law")
    power = smooth.power(k, theta[:, :2])[0].numpy()
    tensor = waves.model.power(k, theta)[0].numpy()
    with_r, without = (camb_with_power(camb, point, k.numpy(), power, 3.0, 2.0, x)[0] for x in (tensor, None))
    got = waves.spectra(theta, torch.tensor([point["tau"]], dtype=torch.float64), 700)
    for row, pair in ((0, "tt"), (2, "ee")):
        wanted = (with_r - without)[row, : 700 + 1]
        ell = slice(2, 200) if pair == "tt" else slice(20, 200)  # reionisation's bump follows tau otherwise
        assert got[pair][0, ell].numpy() == pytest.approx(wanted[ell], rel=0.04), pair
