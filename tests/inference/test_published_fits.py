"""ACT DR6, P-ACT and SPT-3G 2018 lead to the parameters that their papers publish."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmbfit.fit import build_posterior, load_run, start_point
from cmbfit.inference.maximum import find_maximum, laplace_factor
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.linear import LinearEmulator

GROUND = load_run(["ground"]).fits


@pytest.fixture(scope="module")
def high() -> LinearEmulator:
    return load_emulator("lcdm_high")


def _normal(name: str, emulator: LinearEmulator) -> dict[str, tuple[float, float]]:
    """Maximum of the posterior and the widths of the normal around it."""
    fit = GROUND[name]
    posterior = build_posterior(fit)
    assert posterior.fold_difference < 1e-6
    centre, scale = start_point(fit, posterior)
    best = find_maximum(posterior, centre, scale)
    factor = laplace_factor(posterior, best.point, scale)
    sigma = dict(zip(posterior.parameters, np.sqrt(np.diag(factor @ factor.T)), strict=True))
    out = {p: (best.point[p], float(s)) for p, s in sigma.items()}
    theta = torch.tensor([[best.point[p] for p in emulator.parameters]], dtype=torch.float64)
    return out | {p: (x.item(), np.nan) for p, x in emulator.derived(theta).items() if p not in out}


@pytest.mark.parametrize("name", ["lcdm_act_dr6", "lcdm_p_act"])
def test_act_alone_and_with_planck(name: str, high: LinearEmulator) -> None:
    """Half a published sigma: their tau comes from SRoll2's low-l EE, and P-ACT's low-l TT from Commander.

    sigma8 of P-ACT goes with tau, by 0.8 for each: SRoll2 gives it 0.005 more, two thirds of a sigma of sigma8.
    """
    got = _normal(name, high)
    for parameter, (mean, sigma) in GROUND[name].reference.parameters.items():
        assert abs(got[parameter][0] - mean) < (0.75 if parameter == "sigma8" else 0.5) * sigma, parameter
        if parameter in high.parameters:
            # errors are quoted to two digits, and the normal is the posterior to a few percent
            assert got[parameter][1] == pytest.approx(sigma, rel=0.12), parameter


def test_spt_3g_2018(high: LinearEmulator) -> None:
    """H0 and S8 of Balkenhol et al. 2023's abstract, with another tau prior than theirs: half a sigma."""
    got = _normal("lcdm_spt3g_2018", high)
    for parameter, (mean, sigma) in GROUND["lcdm_spt3g_2018"].reference.parameters.items():
        assert abs(got[parameter][0] - mean) < 0.5 * sigma, parameter
