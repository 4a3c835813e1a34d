"""ln (L prior) of one chunk of points, of which some may be outside; how many they were, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from cmbfit.device import OnDevice
from cmbfit.theory.base import allowed_by

if TYPE_CHECKING:
    from cmbfit.likelihood.posterior import Posterior


@dataclass
class EvaluationCounts:
    """How many points were evaluated and why some had probability zero.

    `outside_box` counts points outside the theory's box and those that the theory's `allowed` refuses.
    """

    evaluations: int = 0
    outside_prior: int = 0
    outside_box: int = 0
    not_a_number: int = 0

    def __add__(self, other: Counts) -> EvaluationCounts:
        other = other.read()
        return EvaluationCounts(
            self.evaluations + other.evaluations,
            self.outside_prior + other.outside_prior,
            self.outside_box + other.outside_box,
            self.not_a_number + other.not_a_number,
        )

    def read(self) -> EvaluationCounts:
        """Return the counts themselves."""
        return self


@dataclass
class UnreadCounts(OnDevice):
    """The same where a look would wait: on a GPU.

    Attributes
    ----------
    evaluations : int
    sums : torch.Tensor, shape (3,)
        How many points the priors allow, how many of these the theory, and how many of these are no number.
    """

    evaluations: int
    sums: torch.Tensor

    def __add__(self, other: Counts) -> Counts:
        if not isinstance(other, UnreadCounts):
            return self.read() + other
        return UnreadCounts(self.evaluations + other.evaluations, self.sums + other.sums)

    def read(self) -> EvaluationCounts:
        """Wait for the device, and return plain numbers."""
        allowed, used, bad = self.sums.tolist()
        return EvaluationCounts(self.evaluations, self.evaluations - allowed, allowed - used, bad)


Counts = EvaluationCounts | UnreadCounts


class Evaluation(NamedTuple):
    """ln (L prior) of a batch, and why points among it had probability zero.

    Attributes
    ----------
    log_prob : torch.Tensor, shape (batch,)
    counts : EvaluationCounts
    """

    log_prob: torch.Tensor
    counts: EvaluationCounts


def evaluate_chosen(
    posterior: Posterior,
    theta: torch.Tensor,
    prior: torch.Tensor,
    allowed: torch.Tensor,
    inside: torch.Tensor,
) -> tuple[tuple[torch.Tensor], EvaluationCounts]:
    """Compute the points that are inside, and those alone: on a CPU a look at numbers costs nothing."""
    use = allowed if inside is allowed else allowed & inside
    if hasattr(posterior.theory, "allowed") and bool(use.any()):
        # a domain that is no box: primordial spectra that are not positive, bounds of a model
        inside = inside.clone()
        inside[use] = posterior.theory.allowed(theta[use][:, : len(posterior.theory.parameters)])
        use = allowed & inside
    counts = EvaluationCounts(len(theta))
    if bool(use.all()):
        value = prior + posterior.log_like(theta)
    else:
        # -inf, not NaN * 0, for rows that are skipped: the gradient of the rest stays clean
        value = torch.full_like(prior, -torch.inf)
        if bool(use.any()):
            value = value.masked_scatter(use, prior[use] + posterior.log_like(theta[use]))
        counts.outside_prior = int((~allowed).sum())
        counts.outside_box = int((allowed & ~inside).sum())
    # written so that NaN is bad, and +inf, which comes from overflow as NaN does; the sum shows either
    if not float(value.detach().sum()) < torch.inf:
        bad = ~(value < torch.inf)
        counts.not_a_number = int(bad.sum())
        value = torch.where(bad, -torch.inf, value)
    return (value,), counts


def evaluate_masked(
    posterior: Posterior,
    theta: torch.Tensor,
    prior: torch.Tensor,
    allowed: torch.Tensor,
    inside: torch.Tensor,
) -> tuple[tuple[torch.Tensor], UnreadCounts]:
    """Compute every row, those outside at a point inside, and mask them: the host never waits for a GPU."""
    use = allowed if inside is allowed else allowed & inside
    middle = posterior.prior_table.middle
    safe = torch.where(use[:, None], theta, middle)
    if hasattr(posterior.theory, "allowed"):
        use = use & allowed_by(posterior.theory, safe[:, : len(posterior.theory.parameters)])
        safe = torch.where(use[:, None], theta, middle)
    found = torch.where(use, prior + posterior.log_like(safe), -torch.inf)
    # NaN is bad, and +inf, as on a CPU
    value = found.nan_to_num(-torch.inf, -torch.inf, -torch.inf)
    return (value,), UnreadCounts(len(theta), torch.stack([allowed, use, value != found]).sum(1))


def out_of_memory(error: BaseException) -> bool:
    """Tell torch's and Python's ways to say that memory ran out from other failures."""
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in text for words in ("out of memory", "can't allocate memory", "not enough memory")
    )
