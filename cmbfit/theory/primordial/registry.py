"""All primordial models by name; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import FunctionType

from cmbfit.errors import ParameterError
from cmbfit.registry import Registry
from cmbfit.theory.primordial.model import PrimordialModel
from cmbfit.theory.primordial.plain import from_function

PRIMORDIAL_MODELS: Registry[PrimordialModel] = Registry(
    "primordial model",
    "cmbfit.primordial_models",
    {
        "power_law": "cmbfit.theory.primordial.powerlaw:MODEL",
        "running": "cmbfit.theory.primordial.running:MODEL",
        "cutoff_exponential": "cmbfit.theory.primordial.cutoff_exponential:MODEL",
        "cutoff_kinetic": "cmbfit.theory.primordial.cutoff_kinetic:MODEL",
        "cutoff_radiation": "cmbfit.theory.primordial.cutoff_radiation:MODEL",
        "kink": "cmbfit.theory.primordial.kink:MODEL",
        "oscillation_log": "cmbfit.theory.primordial.oscillation_log:MODEL",
        "oscillation_running": "cmbfit.theory.primordial.oscillation_log:RUNNING",
        "oscillation_linear": "cmbfit.theory.primordial.oscillation_linear:MODEL",
        "alpha_vacuum": "cmbfit.theory.primordial.alpha_vacuum:MODEL",
        "axion_monodromy": "cmbfit.theory.primordial.monodromy:MODEL",
        "excited_state": "cmbfit.theory.primordial.excited:MODEL",
        "bounce_generic": "cmbfit.theory.primordial.bounce_generic:MODEL",
        "bounce_lqc": "cmbfit.theory.primordial.bounce_lqc:MODEL",
        "starobinsky": "cmbfit.theory.primordial.starobinsky:MODEL",
        "attractor": "cmbfit.theory.primordial.attractor:MODEL",
        **{f"knots_{n}": f"cmbfit.theory.primordial.knots:KNOTS_{n}" for n in range(1, 9)},
        **{f"knots_{n}_cubic": f"cmbfit.theory.primordial.knots:CUBIC_{n}" for n in range(3, 9)},
        "lqc_quadratic": "cmbfit.theory.primordial.lqc.model:QUADRATIC",
        "lqc_starobinsky": "cmbfit.theory.primordial.lqc.model:STAROBINSKY",
        "lqc_quadratic_hybrid": "cmbfit.theory.primordial.lqc.model:QUADRATIC_HYBRID",
        "lqc_starobinsky_hybrid": "cmbfit.theory.primordial.lqc.model:STAROBINSKY_HYBRID",
        "tensor_consistency": "cmbfit.theory.primordial.tensors:SINGLE_FIELD",
        "tensor_string_gas": "cmbfit.theory.primordial.tensors:STRING_GAS",
        "tensor_free": "cmbfit.theory.primordial.tensors:FREE",
        "tensor_starobinsky": "cmbfit.theory.primordial.starobinsky:TENSOR",
        "tensor_attractor": "cmbfit.theory.primordial.attractor:TENSOR",
        "tensor_lqc_quadratic": "cmbfit.theory.primordial.lqc.model:TENSOR_QUADRATIC",
        "tensor_lqc_starobinsky": "cmbfit.theory.primordial.lqc.model:TENSOR_STAROBINSKY",
        "tensor_lqc_quadratic_hybrid": "cmbfit.theory.primordial.lqc.model:TENSOR_QUADRATIC_HYBRID",
        "tensor_lqc_starobinsky_hybrid": "cmbfit.theory.primordial.lqc.model:TENSOR_STAROBINSKY_HYBRID",
    },
    attribute="MODEL",
    error=ParameterError,
)


class _Models(Mapping[str, PrimordialModel]):
    """The registered models; iteration imports nothing, a look-up its model's module alone."""

    def __getitem__(self, name: str) -> PrimordialModel:
        if name not in PRIMORDIAL_MODELS:
            raise KeyError(name)
        return get_model(name)

    def __iter__(self) -> Iterator[str]:
        return iter(PRIMORDIAL_MODELS.names())

    def __len__(self) -> int:
        return len(PRIMORDIAL_MODELS.names())

    def __contains__(self, name: object) -> bool:
        return name in PRIMORDIAL_MODELS


MODELS: Mapping[str, PrimordialModel] = _Models()
"""Name to model."""


def get_model(name: str) -> PrimordialModel:
    """Return a model by name, import path ``package.module:NAME`` or Python file (``./mymodel.py``, its `MODEL`).

    A plain function, ``./mine.py:power``, is taken too: :func:`~cmbfit.theory.primordial.plain.from_function`.

    Raises
    ------
    ParameterError
        If there is none, with the names that there are; or if the file or module holds something else.
    CodeNotAllowedError
        If it is the user's own code and nobody allowed it to run.
    """
    model = PRIMORDIAL_MODELS.get(name)
    if isinstance(model, FunctionType):
        return from_function(model)
    if not isinstance(model, PrimordialModel):
        raise ParameterError(
            f"primordial model {name!r}: expected a cmbfit.theory.primordial.PrimordialModel or a function, found "
            f"{type(model).__name__}"
        )
    return model
