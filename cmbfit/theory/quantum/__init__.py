"""Gaussian states of light-like modes, simulated classically: squeezing, entropy, purity."""

from cmbfit.theory.quantum.gaussian import GaussianState, squeezing_entropy, two_mode_squeezed
from cmbfit.theory.quantum.hawking_state import hawking_pair

__all__ = ["GaussianState", "hawking_pair", "squeezing_entropy", "two_mode_squeezed"]
