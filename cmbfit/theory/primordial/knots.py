"""Free-form P(k): N knots in (ln k, ln P), those between the ends at free places (Vazquez et al. 2012; Handley et al. 2019).

    ln P(k) is linear in ln k (or a monotone cubic) between knots (k_i, P_i), k_1 = k_min < k_2 < ... < k_N = k_max,

and constant beyond the two ends. One knot is a flat spectrum (Harrison & Zel'dovich), two are a power law. Knots that may
change places are one point of N! equal ones, so places are ordered: the n = N - 2 free ones are order statistics of n
uniform numbers in ln k, uniform over all ordered places. Samplers see n independent uniform u_i in [0, 1] instead, by

    t_i = 1 - prod_{j <= i} (1 - u_j)^(1/(n - j + 1)),   ln k_{i+1} = ln k_min + t_i ln(k_max/k_min)

(Rényi 1953; "forced identifiability" of Handley et al. 2015, arXiv:1506.00171, appendix A2): differentiable, and the prior is normalised as it
stands, whatever the sampler.
"""

from __future__ import annotations

import functools
import math

import torch

from cmbfit.errors import ParameterError
from cmbfit.theory.primordial.model import LOG_A, NS, PIVOT, Flat, Parameter, PrimordialModel, Values

RANGE = (1e-4, 10**-0.3)
"""k_min and k_max [1/Mpc]: multipoles of 1.4 to 7000, beyond what the CMB sees on both sides."""

HEIGHTS = (-1.0, 1.0)
"""Range of ln(P_i/P_0(k_i)), P_0 the power law of the defaults of A_s and n_s: as wide as the 2 < ln(10^10 P) < 4 of Planck 2018 X (table 9),
and tilted with the data. A height alone, of which the likeliest value is another wherever its knot stands, is a bent ridge to samplers."""

MOST = 8
"""Knots of the largest model in the registry; :func:`knots` makes any."""

CITATIONS = (
    "Handley, Lasenby, Peiris & Hobson (2019), PRD 100, 103511; arXiv:1908.00906",
    "Planck Collaboration X (2020), A&A 641, A10, section 6.2.1; arXiv:1807.06211",
    "Vazquez, Bridges, Hobson & Lasenby (2012), JCAP 06, 006; arXiv:1203.1252",
)

_THINNEST = 1e-12
"""Of a distance between knots in ln k, where it divides."""

_EDGE = 1e-12
"""Of 1 - u: at u = 1 the places are where they should be, but their slope is infinite."""


def ordered(
    u: torch.Tensor,  # shape: (batch, n), in [0, 1]
) -> torch.Tensor:  # shape: (batch, n)
    """Return n ordered places in [0, 1]: of independent uniform `u`, the order statistics of n uniform numbers."""
    n = u.shape[1]
    left = torch.log1p(-u.clamp_max(1 - _EDGE)) / torch.arange(n, 0, -1, dtype=u.dtype, device=u.device)
    return -torch.expm1(left.cumsum(1))


def unordered(
    t: torch.Tensor,  # shape: (batch, n), ascending in [0, 1)
) -> torch.Tensor:  # shape: (batch, n)
    """Return the `u` of ordered places: the inverse of :func:`ordered`."""
    n = t.shape[1]
    left = torch.log1p(-t)
    steps = torch.diff(left, dim=1, prepend=torch.zeros_like(left[:, :1]))
    return -torch.expm1(steps * torch.arange(n, 0, -1, dtype=t.dtype, device=t.device))


def linear(
    x: torch.Tensor,  # shape: (n,) or (batch, n)
    knots: torch.Tensor,  # shape: (batch, N), ascending
    heights: torch.Tensor,  # shape: (batch, N)
) -> torch.Tensor:  # shape: (batch, n)
    """Return the broken line through knots, constant beyond their ends; differentiable in both."""
    out = heights[:, :1] + torch.zeros_like(x)
    slopes = torch.diff(heights, dim=1) / torch.diff(knots, dim=1).clamp_min(_THINNEST)
    for j in range(slopes.shape[1]):
        left, right = knots[:, j : j + 1], knots[:, j + 1 : j + 2]
        out = torch.addcmul(out, slopes[:, j : j + 1], torch.clamp(x, left, right) - left)
    return out


def cubic(
    x: torch.Tensor,  # shape: (n,) or (batch, n)
    knots: torch.Tensor,  # shape: (batch, N), ascending
    heights: torch.Tensor,  # shape: (batch, N)
) -> torch.Tensor:  # shape: (batch, n)
    """Return the monotone cubic through knots (Fritsch & Butland 1984, as scipy's PCHIP), constant beyond their ends."""
    h = torch.diff(knots, dim=1).clamp_min(_THINNEST)
    rise = torch.diff(heights, dim=1)
    d = _slopes(h, rise / h)
    out = heights[:, :1] + torch.zeros_like(x)
    for j in range(h.shape[1]):
        one = slice(j, j + 1)
        t = ((x - knots[:, one]) / h[:, one]).clamp(0.0, 1.0)
        back = 1 - t
        out = out + rise[:, one] * t * t * (3 - 2 * t)
        out = out + h[:, one] * t * back * (d[:, one] * back - d[:, j + 1 : j + 2] * t)
    return out


def _slopes(h: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:  # shape: (batch, N)
    """Return the derivatives at the knots from the intervals' lengths and slopes, (batch, N - 1) each."""
    if h.shape[1] == 1:
        return slope.expand(-1, 2)
    left, right, a, b = h[:, :-1], h[:, 1:], slope[:, :-1], slope[:, 1:]
    w, v = 2 * right + left, right + 2 * left
    same = a * b > 0
    one = torch.ones_like(a)
    mean = (w + v) / (w / torch.where(same, a, one) + v / torch.where(same, b, one))
    inner = torch.where(same, mean, torch.zeros_like(a))
    first = _end(h[:, :1], h[:, 1:2], slope[:, :1], slope[:, 1:2])
    last = _end(h[:, -1:], h[:, -2:-1], slope[:, -1:], slope[:, -2:-1])
    return torch.cat([first, inner, last], 1)


def _end(h: torch.Tensor, other: torch.Tensor, slope: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """Return the derivative at an end: of the parabola through three knots, kept monotone."""
    d = ((2 * h + other) * slope - h * inner) / (h + other)
    d = torch.where(d * slope <= 0, torch.zeros_like(d), d)
    return torch.where((slope * inner < 0) & (d.abs() > 3 * slope.abs()), 3 * slope, d)


def _power(
    k: torch.Tensor,
    values: Values,
    *,
    n: int,
    between: tuple[float, float],
    smooth: bool,
) -> torch.Tensor:
    places = knot_places(values, n, between)
    shape = (cubic if smooth else linear)(torch.log(k), places, knot_heights(values, places))
    return 1e-10 * torch.exp(shape)


def knot_heights(
    values: Values,
    places: torch.Tensor,  # shape: (batch, N)
) -> torch.Tensor:  # shape: (batch, N)
    """Return ln(10^10 P) at the knots, whose ln k are `places`; a single one is that of k*."""
    n = places.shape[1]
    above = torch.cat([values[f"d{i}"] for i in range(1, n + 1)], 1)
    tilt = 0.0 if n == 1 else (NS.default - 1) * (places - math.log(PIVOT))
    return LOG_A.default + tilt + above


def knot_places(
    values: Values, n: int, between: tuple[float, float] = RANGE
) -> torch.Tensor:  # shape: (batch, N)
    """Return ln k [1/Mpc] of all knots of a model of `n`, ascending."""
    low, high = map(math.log, between)
    nothing = torch.zeros_like(values["d1"])
    ends = torch.cat([nothing + low, nothing + high], 1)  # no list that would have to be copied to a device
    if n < 3:
        return ends[:, :n]
    t = ordered(torch.cat([values[f"u{i}"] for i in range(2, n)], 1))
    return torch.cat([ends[:, :1], low + (high - low) * t, ends[:, 1:]], 1)


def knots(
    n: int,
    *,
    smooth: bool = False,
    between: tuple[float, float] = RANGE,
    heights: tuple[float, float] = HEIGHTS,
) -> PrimordialModel:
    """Return the model of `n` knots.

    Parameters
    ----------
    n : int
        1 is a flat spectrum, 2 a power law; each further knot adds a height and a place.
    smooth : bool
        Monotone cubics in place of straight lines.
    between : (float, float)
        k_min and k_max [1/Mpc], the places of the first and the last knot.
    heights : (float, float)
        Ends of the flat prior of each ln(P_i/P_0).

    Raises
    ------
    ParameterError
        For fewer than one knot, or ranges that are none.

    Examples
    --------
    >>> knots(4).parameter_names
    ('d1', 'd2', 'd3', 'd4', 'u2', 'u3')
    """
    if n < 1 or not 0 < between[0] < between[1] or not heights[0] < heights[1]:
        raise ParameterError(
            f"knots: expected at least one, 0 < k_min < k_max and heights in a range, found {n}, {between}, {heights}"
        )
    places = torch.tensor([[i / max(n - 1, 1) for i in range(1, n - 1)]], dtype=torch.float64)
    u = unordered(places)[0].tolist() if n > 2 else []
    own = [
        Parameter(
            f"d{i}", min(max(0.0, heights[0]), heights[1]), Flat(*heights), "", f"ln(P/P_0) at knot {i}"
        )
        for i in range(1, n + 1)
    ] + [
        Parameter(
            f"u{i}", x, Flat(0.0, 1.0), "", f"place of knot {i} among those that the knots before leave"
        )
        for i, x in enumerate(u, 2)
    ]
    shape = "a monotone cubic" if smooth else "linear"
    what = {1: "flat spectrum", 2: "power law by two knots"}.get(n, f"{n} knots{', cubic' if smooth else ''}")
    return PrimordialModel(
        name=f"knots_{n}{'_cubic' if smooth else ''}",
        title=f"free-form P(k): {what}" if n > 2 else what,
        formula=f"ln P {shape} in ln k between {n} knots ({between[0]:g} to {between[1]:.3g} /Mpc), constant beyond; "
        f"places ordered, uniform in ln k; d_i = ln(P_i/P_0), P_0 of ln(10^10 A_s) = {LOG_A.default}, n_s = {NS.default}",
        parameters=tuple(own),
        citations=CITATIONS,
        function=functools.partial(_power, n=n, between=between, smooth=smooth),
        note="what is beyond N = 2 has no place where it is nothing: compare evidences, which follow the priors of heights",
        resolution=(20.0, 5.0) if n < 3 else (60.0, 5.0),
        positive=True,
    )


def is_freeform(model: PrimordialModel) -> bool:
    """Return whether a model is one of :func:`knots`: its prior says something of P(k) wherever data do not."""
    made = model.function
    return isinstance(made, functools.partial) and made.func is _power


def number_of_knots(name: str | None) -> int | None:
    """Return N of a registered model of knots joined by lines, None for any other.

    Examples
    --------
    >>> number_of_knots("knots_4"), number_of_knots("power_law")
    (4, None)
    """
    n = (name or "").removeprefix("knots_")
    return int(n) if name == f"knots_{n}" and n.isdigit() and 1 <= int(n) <= MOST else None


for _n in range(1, MOST + 1):
    globals()[f"KNOTS_{_n}"] = knots(_n)
    if _n > 2:
        globals()[f"CUBIC_{_n}"] = knots(_n, smooth=True)
