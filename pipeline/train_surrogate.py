from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from cmbfit.theory.primordial.attractor import FORMULA, train
from cmbfit.theory.primordial.surrogate import SurrogateSettings, write_surrogates


def train_surrogate(
    *,
    output: Path,
    n_train: int = 512,
    n_test: int = 64,
    curve: list[int] | None = None,
    seed: int = 20260101,
) -> None:
    """Evolve the modes of alpha-attractors over a design and teach them to the networks that fits use.

    Parameters
    ----------
    output
        Where the networks, the points they were tested on and their records go (NPZ).
    n_train
        Evolved points that they learn from.
    n_test
        Evolved points that they are tested on.
    curve
        Sizes of smaller training sets, for the learning curve.
    seed
        Of the design and the initial weights.
    """
    settings = SurrogateSettings(n_train, n_test)
    trained = train(settings, curve or [32, 64, 128, 256], seed)
    write_surrogates(output, trained, {"potential": FORMULA, "seed": seed, **asdict(settings)})
    for kind, found in trained.items():
        for row in found.curve:
            print(
                f"{kind}s, {row['n_train']} runs: ln P held out, rms {row['rms']:.2g}, largest {row['max']:.2g}"
            )
