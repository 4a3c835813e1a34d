"""Exact spectra of primordial models: CAMB with the model's P(k) as a table, for checks and re-weighting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import camb
import numpy as np
import torch

from cmbfit.checkpoint import Checkpoint, kept
from cmbfit.errors import ParameterError
from cmbfit.theory.camb_code import CAMB_COLUMNS, MAX_ETA_K_TENSOR, CambSettings, camb_parameters
from cmbfit.theory.camb_code import _derived as derived_parameters
from cmbfit.theory.camb_code import _linear_matter as linear_matter
from cmbfit.theory.emulator.trainingset import TrainingSet
from cmbfit.theory.primordial.model import NS, PrimordialModel
from cmbfit.theory.primordial.powerlaw import MODEL as POWER_LAW
from cmbfit.theory.primordial_theory import PrimordialTheory

TABLE = (1e-6, 20.0, 40_000)
"""Smallest and largest k [1/Mpc] of the table, and its length: 2400 points in e, 120 in the shortest log period."""

_SMOOTH = 60.0
"""Resolution up to which a model's spectrum is smooth where multipoles are sampled sparsely."""


def compute_primordial(
    theory: PrimordialTheory,
    theta: np.ndarray,  # shape: (n, n_parameters)
    settings: CambSettings,
    *,
    l_sampling: float | None = None,
    k_sampling: float = 2.0,
    log: Callable[[str], None] = print,
    store: Checkpoint | None = None,
) -> TrainingSet:
    """Run CAMB at points of a primordial model, with P(k) as a table.

    Beyond the wavenumbers of the transfer expansion, which no CMB multipole reaches, P is the power law. What a fit took from a
    network is evolved here (:attr:`~cmbfit.theory.primordial.model.PrimordialModel.exact`).

    Parameters
    ----------
    theory : PrimordialTheory
        Says what the parameters are; its own numbers are not used.
    theta : numpy.ndarray, shape (n, n_parameters)
    settings : CambSettings
    l_sampling, k_sampling : float
        CAMB's lSampleBoost and IntkAccuracyBoost; its own 1 errs by up to 2e-2 for oscillations. Default
        lSampleBoost: :func:`multipole_sampling` of the model.
    log : callable
        Told of each finished point.
    store : Checkpoint, optional
        Where finished points go one by one.

    Returns
    -------
    TrainingSet
        With the theory's parameters as `names`.

    Raises
    ------
    ParameterError
        If CAMB fails, or a point's P(k) is not positive.
    """
    l_sampling = multipole_sampling(theory.model) if l_sampling is None else l_sampling
    points = torch.from_numpy(theta)
    background, own, of_emulator = theory.split(points)
    stretch, nodes = theory.expansion.stretch(background), theory.expansion.k
    low, high, n = TABLE
    k = torch.from_numpy(np.geomspace(low, high, n))
    names = theory.emulator.parameters
    smooth = POWER_LAW.power(k, of_emulator[:, [names.index("logA"), names.index(NS.name)]])
    power = torch.where(k[None] < nodes[-1] * stretch, theory.model.exact.power(k, own), smooth).numpy()
    waves = (
        None
        if theory.tensors is None
        else theory.tensors.model.exact.power(k, theory.of_tensors(points)).numpy()
    )
    dl, unlensed, derived = [], [], []
    for i, row in enumerate(of_emulator.tolist()):
        if not (power[i][theory.sees(k / stretch[i]).numpy()] > 0).all():
            raise ParameterError(f"{theory.model.name}: P(k) is not positive at point {i + 1}")
        power[i].clip(0.0, out=power[i])  # elsewhere a formula may say anything
        point = dict(zip(names, row, strict=True))
        tensor = None if waves is None else waves[i]
        words = (settings, point, k.numpy(), power[i], l_sampling, k_sampling, tensor)
        run = kept(store, f"point_{i}", partial(_run, *words))
        dl.append(run["dl"])
        unlensed.append(run["unlensed"])
        derived.append(run["derived"])
        log(f"point {i + 1}/{len(theta)}")
    record = {
        "camb": {"version": camb.__version__, **asdict(settings)},
        "l_sampling": l_sampling,
        "k_sampling": k_sampling,
        "primordial": theory.model.name,
    }
    return TrainingSet(
        theta,
        np.array(dl),
        np.array(unlensed),
        np.array(derived),
        np.arange(len(theta)),
        [],
        record,
        theory.parameters,
    )


def _run(*words: Any) -> dict[str, Any]:
    return dict(zip(("dl", "unlensed", "derived"), camb_with_power(*words), strict=True))


def multipole_sampling(model: PrimordialModel) -> float:
    """Return the lSampleBoost that a model's features need: 8 for oscillations, 3 for smooth spectra.

    What a cut-off or a bounce leaves in C_l oscillates at l < 100, where CAMB has nearly every multipole at 3.
    """
    log_frequency, linear_frequency = model.resolution
    return 3.0 if log_frequency <= _SMOOTH and linear_frequency <= _SMOOTH else 8.0


def camb_with_power(
    settings: CambSettings,
    point: Mapping[str, float],
    k: np.ndarray,  # shape: (n_k,)
    power: np.ndarray,  # shape: (n_k,)
    l_sampling: float = 8.0,
    k_sampling: float = 2.0,
    tensor_power: np.ndarray | None = None,  # shape: (n_k,)
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Run CAMB at one point with a table of P_R(k).

    Parameters
    ----------
    settings : CambSettings
    point : mapping
        The six LCDM parameters; ln A_s and n_s set the non-linear correction of the potential and sigma8 alone.
    k, power : numpy.ndarray, shape (n_k,)
        Wavenumbers [1/Mpc], from 1e-6 to beyond 10, and P_R.
    l_sampling, k_sampling : float
        CAMB's lSampleBoost and IntkAccuracyBoost.
    tensor_power : numpy.ndarray, shape (n_k,), optional
        P_T at `k`.

    Returns
    -------
    dl : numpy.ndarray, shape (5, lmax + 1)
        Lensed D_l [uK^2] of tt, te, ee, bb, those of tensors added, and [L(L+1)]^2 C_L^pp / 2pi.
    unlensed : numpy.ndarray, shape (3, lmax + 1)
    derived : list of float
    """
    pars = camb_parameters(settings, **point)
    matter = linear_matter(pars)
    pars.set_accuracy(
        AccuracyBoost=settings.accuracy_boost,
        lAccuracyBoost=settings.l_accuracy_boost,
        lSampleBoost=l_sampling,
    )
    pars.Accuracy.IntkAccuracyBoost = k_sampling
    pars.InitPower = camb.initialpower.SplinedInitialPower(ks=k, PK=power)
    pars.InitPower.effective_ns_for_nonlinear = point[NS.name]
    if tensor_power is not None:
        pars.WantTensors = True
        pars.max_eta_k_tensor = MAX_ETA_K_TENSOR
        pars.InitPower.set_tensor_table(k, tensor_power)
    try:
        data = camb.get_results(pars)
        got = data.get_cmb_power_spectra(
            CMB_unit="muK", spectra=["total", "unlensed_scalar", "lens_potential"], lmax=settings.lmax
        )
    except camb.baseconfig.CAMBError as error:
        raise ParameterError(f"CAMB failed at {point}: {error}") from error
    lensed = dict(zip(CAMB_COLUMNS, got["total"].T, strict=True))
    bare = dict(zip(CAMB_COLUMNS, got["unlensed_scalar"].T, strict=True))
    dl = np.array([*(lensed[p] for p in ("tt", "te", "ee", "bb")), got["lens_potential"][:, 0]])
    unlensed = np.array([bare[p] for p in ("tt", "te", "ee")])
    if not (np.isfinite(dl).all() and np.isfinite(unlensed).all()):
        raise ParameterError(f"CAMB gave non-finite spectra at {point}")
    return dl, unlensed, list(derived_parameters(pars, data, matter, point).values())
