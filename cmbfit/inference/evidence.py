"""Evidence methods: what one is, which there are, and the runs of one joined.

``comparison: {evidence: {method: importance, ...}}`` takes a method by name with its own settings; other packages and
the user's files add methods as they add samplers (:mod:`cmbfit.inference.samplers`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cmbfit.checkpoint import own_folder
from cmbfit.errors import ConfigError, SamplerError, at
from cmbfit.inference.samplers import Start
from cmbfit.inference.settings import read_settings
from cmbfit.io import sha256_file
from cmbfit.registry import Registry

if TYPE_CHECKING:
    from cmbfit.inference.products import Samples
    from cmbfit.likelihood.posterior import Posterior


@dataclass(frozen=True)
class EvidenceTask:
    """A posterior whose evidence is wanted.

    Attributes
    ----------
    posterior : Posterior
    start : Start
        For a search of the maximum.
    seed : int
    samples : Samples or None
        The fit's own, if there are any.
    fixed : mapping of str to float
        Parameters of the fit that this posterior holds fixed; its samples are then those of the larger model.
    folder : Path or None
        For checkpoints; :func:`measure_evidence` gives a method a folder of its own within it, of these inputs alone.
    code : str
        Hash or version of the code, part of a checkpoint's identity.
    """

    posterior: Posterior
    start: Start
    seed: int
    samples: Samples | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    folder: Path | None = None
    code: str = ""


@dataclass(frozen=True)
class EvidenceResult:
    """What a method found.

    Attributes
    ----------
    method : str
        In words.
    log_z, log_z_error : float or None
        ln Z under the prior as :meth:`Posterior.log_prior` has it, normalised where the theory is valid, and its
        statistical error; None where the method failed.
    why_not : str
        Why it failed.
    diagnosis : mapping
        JSON-able: what says whether to believe it, and what it cost.
    samples : Samples or None
        Of the same posterior, where the method draws them.
    """

    method: str
    log_z: float | None
    log_z_error: float | None
    why_not: str = ""
    diagnosis: Mapping[str, Any] = field(default_factory=dict)
    samples: Samples | None = None

    def record(self) -> dict[str, Any]:
        """Return the product, JSON-able, without the samples."""
        out = {"method": self.method, "log_z": self.log_z, "log_z_error": self.log_z_error}
        return {**out, **({"why_not": self.why_not} if self.why_not else {}), **self.diagnosis}


class EvidenceMethod(Protocol):
    """A way to compute evidences.

    Attributes
    ----------
    settings : type
        Frozen dataclass of int, float, str and bool with defaults.
    """

    @property
    def settings(self) -> type: ...  # noqa: D102

    def compute(self, task: EvidenceTask, settings: Any) -> EvidenceResult:
        """Compute an evidence; :class:`SamplerError` says why it cannot be had."""
        ...


EVIDENCE: Registry[EvidenceMethod] = Registry(
    "evidence method",
    "cmbfit.evidence_methods",
    {
        "importance": "cmbfit.inference.importance:METHOD",
        "chain": "cmbfit.inference.kernel_evidence:METHOD",
        "nested": "cmbfit.inference.nested:METHOD",
        "tempered": "cmbfit.inference.tempered:METHOD",
    },
    attribute="METHOD",
)
"""Evidence methods by name; ``comparison.evidence.method``."""


def check_evidence(section: Mapping[str, Any] | None, where: str = "comparison.evidence") -> Any:
    """Return the settings of a configuration's section on evidences; None where none are wanted.

    Raises
    ------
    ConfigError
        For an unknown method or setting, a value of another type or out of range, by its place.
    """
    if section is None:
        return None
    if "method" not in section:
        raise ConfigError(f"{where}.method: expected one of {', '.join(EVIDENCE.names())}, found nothing")
    name = section["method"]
    given = {k: v for k, v in section.items() if k != "method"}
    with at(f"{where}.method"):
        method = EVIDENCE.get(name)
    return read_settings(method.settings, given, where, f"the evidence method {name}")


def measure_evidence(task: EvidenceTask, section: Mapping[str, Any]) -> EvidenceResult:
    """Compute an evidence as a configuration's section on evidences asks; the prior mass's error is added to the method's.

    Raises
    ------
    ConfigError
        See :func:`check_evidence`.
    """
    settings = check_evidence(section)
    if task.folder is not None:
        task = replace(task, folder=own_folder(task.folder, _identity(task, section["method"], settings)))
    try:
        found = EVIDENCE.get(section["method"]).compute(task, settings)
    except (SamplerError, np.linalg.LinAlgError) as error:
        return EvidenceResult(section["method"], None, None, str(error))
    if found.log_z_error is None:
        return found
    mass = task.posterior.prior_mass
    diagnosis = {**found.diagnosis, "prior_mass": {"log": mass.log_mass, "error": mass.error}}
    return replace(found, log_z_error=math.hypot(found.log_z_error, mass.error), diagnosis=diagnosis)


def _identity(task: EvidenceTask, method: str, settings: Any) -> dict[str, Any]:
    """Return everything that an evidence is made of, JSON-able."""
    values = [] if task.samples is None else [*task.samples.values, *task.samples.log_prob]
    out = {
        "posterior": task.posterior.settings(),
        "start": [dict(task.start.centre), dict(task.start.scale)],
        "fixed": dict(task.fixed),
        "samples": [hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest() for x in values],
        "seed": task.seed,
        "code": task.code,
        "method": [method, asdict(settings)],
    }
    if (place := EVIDENCE.where(method)).endswith(".py"):  # the user's own method
        out["method_code"] = sha256_file(place)
    return out


@dataclass(frozen=True)
class JoinedRuns:
    """ln Z of independent runs.

    Attributes
    ----------
    log_z : float
        Of the mean Z, weighted by the runs' inverse variances.
    log_z_error : float
        Of that mean; never less than what the runs' scatter says.
    scatter : float or None
        Root of chi2 of the runs' ln Z about their mean over its degrees of freedom: about 1; None for one run.
    """

    log_z: float
    log_z_error: float
    scatter: float | None


def join_runs(runs: Sequence[tuple[float, float]]) -> JoinedRuns:
    """Join independent measurements (ln Z, error); the error is the larger one of what they state and what they scatter by.

    Examples
    --------
    >>> joined = join_runs([(-10.0, 0.02), (-10.1, 0.02)])
    >>> round(joined.log_z, 3), round(joined.log_z_error, 3), round(joined.scatter, 2)
    (-10.049, 0.05, 3.54)
    """
    log_z, error = np.array(runs).T
    weights = error**-2 / (error**-2).sum()
    top = log_z.max()
    mean = float(top + math.log((weights * np.exp(log_z - top)).sum()))
    stated = float((error**-2).sum() ** -0.5)
    if len(runs) == 1:
        return JoinedRuns(mean, stated, None)
    scatter = math.sqrt(float((((log_z - mean) / error) ** 2).sum() / (len(runs) - 1)))
    return JoinedRuns(mean, stated * max(1.0, scatter), scatter)


def of_runs(method: str, samples: Samples, costs: Sequence[Mapping[str, Any]], **more: Any) -> EvidenceResult:
    """Return the result of independent runs that measured ln Z each and drew samples.

    Parameters
    ----------
    method : str
        In words.
    samples : Samples
        One ensemble for each run, with its ln Z.
    costs : sequence of mapping
        ``evaluations``, ``seconds`` and what else there is to say of each run.
    **more
        What else the diagnosis holds.
    """
    joined = join_runs(samples.log_z)
    runs = [{"log_z": z, "log_z_error": e, **c} for (z, e), c in zip(samples.log_z, costs, strict=True)]
    moments = {
        name: {"mean": float(column.mean()), "std": float(column.std(ddof=1))}
        for name, column in zip(samples.names, samples.joined.T, strict=True)
    }
    total = {k: sum(c.get(k, 0) for c in costs) for k in ("evaluations", "seconds")}
    diagnosis = {"scatter": joined.scatter, **more, "runs": runs, **total, "parameters": moments}
    return EvidenceResult(method, joined.log_z, joined.log_z_error, diagnosis=diagnosis, samples=samples)
