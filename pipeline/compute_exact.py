from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import camb
import numpy as np

from cmbfit.checkpoint import own_checkpoint, require_made_of
from cmbfit.errors import ConfigError, DataError
from cmbfit.fit import Fit, build_theory
from cmbfit.inference.products import Samples, read_samples
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.bundle import read_arrays
from cmbfit.theory.emulator.manifest import bundle_folder
from cmbfit.theory.emulator.trainingset import TrainingSet, compute_points, read_training_set, write_chunk
from cmbfit.theory.hawking.exact import with_holes
from cmbfit.theory.hawking.response import EvaporationTheory
from cmbfit.theory.parameters import LCDM
from cmbfit.theory.primordial_exact import compute_primordial
from cmbfit.theory.primordial_theory import PrimordialTheory


def chosen_rows(samples: Samples, draws: int, seed: list[int]) -> np.ndarray:
    """Return which rows of a chain get exact spectra: the same ones whenever the seed is the same."""
    if draws > len(samples.joined):
        raise ConfigError(
            f"theory.emulator.check.draws is {draws}, but the chain has {len(samples.joined)} samples: lower it"
        )
    return np.random.default_rng(seed).choice(len(samples.joined), draws, replace=False)


def settings_of(fit: Fit) -> CambSettings:
    """Return what exact spectra of a fit are computed with: as its emulator's were."""
    manifest, _ = read_arrays(bundle_folder(fit.theory["emulator"]))
    trained = dict(manifest["settings"]["trained_on"]["camb"])
    trained.pop("version")
    return CambSettings(**trained)


def read_exact(
    parts: Sequence[Path], samples: Samples, fit: Fit, parameters: Sequence[str], draws: int, seed: list[int]
) -> tuple[TrainingSet, np.ndarray]:
    """Read the parts of compute_exact, in order; return them and the rows of the chain that they are of.

    Raises
    ------
    DataError, ResumeError
        If they are of other points than this chain's, or made with other settings: an orphan of a killed driver may
        publish its own, of an earlier configuration, over those that were made since.
    """
    computed = read_training_set(parts)
    rows = chosen_rows(samples, draws, seed)
    rows = np.concatenate([rows[i :: len(parts)] for i in range(len(parts))])
    columns = [samples.names.index(name) for name in parameters]
    if not np.array_equal(computed.theta, samples.joined[rows][:, columns]):
        raise DataError(f"{parts[0]}: exact spectra of other points than this chain's; compute them again")
    camb_settings = {"version": camb.__version__, **asdict(settings_of(fit))}
    require_made_of(parts[0], computed.settings, {"camb": camb_settings})
    return computed, rows


def compute_exact(
    *,
    samples: Path,
    fit: Path,
    draws: int,
    part: tuple[int, int],
    seed: list[int],
    code: str,
    checkpoint: Path,
    output: Path,
) -> None:
    """Compute exact CAMB spectra at draws from a fit's posterior, to judge the emulator and re-weight the chain.

    It resumes from its checkpoint.

    Parameters
    ----------
    samples
        The fit's chain (publish_chains).
    fit
        JSON: the fit, complete.
    draws
        Points in all parts together.
    part
        This part and the number of parts.
    seed
        Of the random numbers.
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the checkpoints; check_emulator removes it.
    output
        Where the spectra go (NPZ).
    """
    chain = read_samples(samples)
    described = Fit.read(fit)
    theory = build_theory(described)
    rows = chosen_rows(chain, draws, seed)
    number, parts = part
    columns = [chain.names.index(name) for name in theory.parameters]
    theta = chain.joined[rows[number::parts]][:, columns]
    settings = settings_of(described)

    def log(text: str) -> None:
        print(text, flush=True)

    identity = {
        "theta": hashlib.sha256(np.ascontiguousarray(theta).tobytes()).hexdigest(),
        "theory": theory.settings,
        "camb": {"version": camb.__version__, **asdict(settings)},
        "code": code,
    }
    store = own_checkpoint(checkpoint, identity)
    if isinstance(theory, PrimordialTheory):
        exact = compute_primordial(theory, theta, settings, log=log, store=store)
    elif isinstance(theory, EvaporationTheory):
        exact = with_holes(compute_points(theta[:, : len(LCDM)], settings, log, store), theory, theta)
    else:
        exact = compute_points(theta, settings, log, store)
    write_chunk(output, exact)
