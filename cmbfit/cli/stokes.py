"""``cmbfit stokes``: what Q and U of one direction say."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import typer

from cmbfit.cli.words import JsonOption, say


def stokes(
    q: Annotated[float, typer.Option("--q", metavar="Q", help="Stokes Q; P has its unit.")],
    u: Annotated[float, typer.Option("--u", metavar="U", help="Stokes U.")],
    sigma_q: Annotated[float | None, typer.Option(help="Error of Q.")] = None,
    sigma_u: Annotated[float | None, typer.Option(help="Error of U; that of Q unless given.")] = None,
    i: Annotated[
        float | None, typer.Option("--i", help="Stokes I, the whole intensity: not a CMB map's.")
    ] = None,
    polcconv: Annotated[str, typer.Option(help="Sign of U: COSMO (HEALPix) or IAU.")] = "COSMO",
    rotate: Annotated[
        float, typer.Option(metavar="DEG", help="Turn the plane of polarisation by so many degrees.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Print polarised intensity, angle and their errors for Q and U, and both after a rotation.

    Neither V nor I follows from Q and U, nor does a temperature. The debiased P is for plots; likelihoods use Q and U.

    Example: cmbfit stokes --q 3.84 --u 0 --sigma-q 0.5 --rotate 0.342
    """
    import numpy as np  # noqa: PLC0415

    from cmbfit.errors import ParameterError, unknown_name  # noqa: PLC0415
    from cmbfit.theory import stokes as light  # noqa: PLC0415 (numpy)

    if polcconv not in ("COSMO", "IAU"):
        raise ParameterError(f"--polcconv: {unknown_name('convention', polcconv, ('COSMO', 'IAU'))}")
    given = {"--q": q, "--u": u, "--i": i, "--rotate": rotate, "--sigma-q": sigma_q, "--sigma-u": sigma_u}
    if bad := [name for name, x in given.items() if x is not None and not math.isfinite(x)]:
        raise ParameterError(f"{bad[0]}: expected a finite number")
    if sigma_q is None and sigma_u is not None:
        raise ParameterError("--sigma-u: expected --sigma-q beside it")
    if bad := [name for name in ("--sigma-q", "--sigma-u") if (given[name] or 0.0) < 0]:
        raise ParameterError(f"{bad[0]}: expected an error, at least 0, found {given[bad[0]]:g}")
    if i is not None:
        light.require_physical(*map(np.asarray, (i, q, u, 0.0)))
    sign = 1.0 if polcconv == "COSMO" else -1.0  # a rotation has the sign of HEALPix's maps
    turned = light.rotate_polarisation(np.asarray(q), np.asarray(sign * u), math.radians(rotate))
    out: dict[str, Any] = {
        "q": q,
        "u": u,
        "polcconv": polcconv,
        "p": math.hypot(q, u),
        "angle_deg": math.degrees(light.polarisation_angle(np.asarray(q), np.asarray(u))),
        "fraction": None if i is None else math.hypot(q, u) / i,
        "rotated": {"angle_deg": rotate, "q": float(turned[0]), "u": sign * float(turned[1])},
    }
    if sigma_q is not None:
        out |= light.errors_of(q, u, sigma_q, sigma_q if sigma_u is None else sigma_u)
    say(json.dumps(out, indent=2) if as_json else _in_words(out))


def _in_words(out: dict[str, Any]) -> str:
    known = out.get("sigma_p") is not None
    lines = [
        f"P      {out['p']:.6g}" + (f" +- {out['sigma_p']:.3g}, debiased {out['p_debiased']:.6g}" if known else ""),
        f"angle  {out['angle_deg']:.6g} deg" + (f" +- {out['sigma_angle_deg']:.3g}" if known else "")
        + f" ({out['polcconv']})",
    ]  # fmt: skip
    if out["fraction"] is not None:
        lines.append(f"P/I    {out['fraction']:.6g}")
    if out.get("low_signal"):
        lines.append(
            "P is below four of its errors: neither P nor the angle is Gaussian, and their errors are no intervals"
        )
    if turned := out["rotated"]["angle_deg"]:
        lines.append(f"turned by {turned:g} deg: Q {out['rotated']['q']:.7g}, U {out['rotated']['u']:.7g}")
    lines.append("V is not known from Q and U")
    return "\n".join(lines)
