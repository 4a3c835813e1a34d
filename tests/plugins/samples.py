"""The text of a user's sampler: importance sampling around the start."""

IMPORTANCE = """
import time
from dataclasses import asdict, dataclass

import numpy as np
import torch

from cmbfit.errors import ConfigError
from cmbfit.inference.chain import Chain

@dataclass(frozen=True)
class Settings:
    draws: int = 20_000
    keep: int = 2000
    width: float = 2.0

    def __post_init__(self):
        if not 0 < self.keep <= self.draws:
            raise ConfigError(f"keep: expected 1 to draws ({self.draws}), found {self.keep}")

class Importance:
    # draws from a normal distribution `width` times as wide as the start, kept in proportion to their weights
    settings = Settings

    def sample(self, posterior, start, settings, seed, folder, identity, *, progress=True):
        begun, rng = time.perf_counter(), np.random.default_rng(seed)
        centre, scale = (np.array([x[p] for p in posterior.parameters]) for x in (start.centre, start.scale))
        z = rng.standard_normal((settings.draws, len(centre)))
        theta = centre + settings.width * scale * z
        with torch.no_grad():
            log_prob = posterior.log_prob(torch.from_numpy(theta)).numpy()
        log_weight = log_prob + 0.5 * (z**2).sum(1)
        weight = np.exp(log_weight - log_weight.max())
        kept = rng.choice(settings.draws, settings.keep, p=weight / weight.sum())
        counts = asdict(posterior.counts)
        return Chain(
            posterior.parameters, theta[kept, None], log_prob[kept, None], np.ones(len(centre)), [],
            float(weight.sum() ** 2 / (weight**2).sum() / settings.draws), True,
            time.perf_counter() - begun, counts.pop("evaluations"), counts, kind="importance", independent=True,
        )

SAMPLER = Importance()
"""
