"""The first screen of the page: what was fitted to what, what came out, and how well it fits; computed from the summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from cmbfit.inference.goodness import goodness
from cmbfit.report.symbols import show, significant, symbol
from cmbfit.theory.parameters import LCDM

UNITS = {"H0": "km/s/Mpc", "age": "Gyr", "rdrag": "Mpc", "mnu": "eV"}
_HEADLINE = ("H0", "ns", "sigma8")


def spans(info: Mapping[str, Any]) -> str:
    """Return which multipoles of which spectra a data set counts.

    Examples
    --------
    >>> spans({"sky": {"planck": {"tt": [30, 2508], "te": [30, 1996], "ee": [30, 1996]}}})
    'TT ℓ 30–2508, TE EE ℓ 30–1996'
    """
    ranges: dict[tuple[int, int], list[str]] = {}
    for pairs in info.get("sky", {}).values():
        for pair, (low, high) in pairs.items():
            names = ranges.setdefault((low, high), [])
            if pair.upper() not in names:
                names.append(pair.upper())
    return ", ".join(f"{' '.join(names)} ℓ {low}–{high}" for (low, high), names in ranges.items())


def prior_words(prior: Mapping[str, Any]) -> str:
    """Return a prior in words.

    Examples
    --------
    >>> prior_words({"uniform": [0.019, 0.026]}), prior_words({"gaussian": [1.0, 0.0025]})
    ('[0.019, 0.026]', 'N(1.0, 0.0025)')
    """
    out = []
    for kind, limits in prior.items():
        several = isinstance(limits, list | tuple)
        text = ", ".join(map(str, limits)) if several else str(limits)
        left, right = ("(", ")") if kind == "gaussian" else ("[", "]") if several else ("", "")
        out.append({"uniform": "", "gaussian": "N"}.get(kind, f"{kind} ") + left + text + right)
    return " ".join(out)


def run_title(fits: Mapping[str, Any], name: str) -> str:
    """Return a title in words: the fit's own, or how many models of which data; a run without fits has its name alone."""
    titles = [fit["title"] for fit in fits.values()]
    if len(titles) < 2:
        return titles[0] if titles else name
    sets = list(dict.fromkeys(tuple(d["title"] for d in fit["data"]) for fit in fits.values()))
    return f"{titles[0]}, and {len(titles) - 1} other " + (
        "model of the same data" if len(titles) == 2 and len(sets) == 1
        else "models of the same data" if len(sets) == 1
        else "fit" if len(titles) == 2 else "fits"
    )  # fmt: skip


def value(name: str, entry: Mapping[str, Any]) -> Markup:
    """Return ``symbol = mean ± sigma unit``."""
    number = f"{significant(entry['mean'], entry['std'])} ± {significant(entry['std'], entry['std'])}"
    return Markup("{} = {}{}").format(symbol(name), number, f" {UNITS[name]}" if name in UNITS else "")


def shown(fit: Mapping[str, Any]) -> list[str]:
    """Return the parameters of the first screen: those of the fit's corner plot, else all that were compared or sampled."""
    names = [p for p in fit.get("show", ()) if p in fit["parameters"]]
    return names or [p for p, e in fit["parameters"].items() if e["pull"] is not None or p in fit["priors"]]


def farthest(fit: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return the parameter that lies farthest from its published value, and by how many sigma."""
    pulls = {p: e["pull"] for p, e in fit["parameters"].items() if e["pull"] is not None}
    return max(pulls.items(), key=lambda x: abs(x[1])) if pulls else None


def finding(run: Any) -> Markup:
    """Return what was found, in a sentence or two of the run's own numbers."""
    return Markup(" ").join(_sentences(run))


def _sentences(run: Any) -> Iterator[Markup]:
    fit = next(iter(run.fits.values()), None)
    if fit is None:
        yield Markup("No fit belongs to this run.")
        return
    parameters = fit["parameters"]
    own = [p for p in fit["priors"] if p in parameters and p not in LCDM and p not in fit.get("nuisance", ())]
    names = [p for p in (*_HEADLINE, *own[:2]) if p in parameters] or shown(fit)[:3]
    values = Markup(", ").join(value(p, parameters[p]) for p in names)
    yield Markup("<b>{}</b>: {}{}.").format(fit["title"], values, _fits_well(fit))
    if (far := farthest(fit)) is not None:
        n = sum(e["pull"] is not None for e in parameters.values())
        words = (
            "The published value lies {1} σ away" if n == 1
            else "All {0} published values are met within {1} σ" if abs(far[1]) < 1
            else "Of {0} published values the farthest lies {1} σ away"
        )  # fmt: skip
        yield Markup("{} ({} by {} σ).").format(
            words.format(n, f"{abs(far[1]):.2f}"), symbol(far[0]), show("%+.2f", far[1])
        )
    yield from _models(run.products.get("models"))


def _fits_well(fit: Mapping[str, Any]) -> str:
    good = goodness(fit)
    if good is None:
        return ""
    return f"; the best fit has χ² = {good['chi2']:.1f} for {good['n']} bandpowers (PTE {good['pte']:.2f})"


def _models(product: Mapping[str, Any] | None) -> Iterator[Markup]:
    """Say how the other models of the same data compare: by ln B where it was measured, else by AIC."""
    for table in (product or {}).get("tables", ()):
        others = [m for m in table["models"] if m["name"] != table["reference"]]
        rated = [(m["evidence"]["ln_b"], m) for m in others if m["evidence"] and "ln_b" in m["evidence"]]
        if not rated:
            continue
        ln_b, model = max(rated, key=lambda x: x[0])
        verdict = (
            "favoured over" if ln_b > 1 else "not distinguished from" if ln_b > -1 else "disfavoured against"
        )
        which = "" if len(rated) == 1 else f"Of {len(rated)} other models the most probable, "
        yield Markup("{}{}, is {} {}: ln B = {}, Δχ² = {}, with the priors named below.").format(
            which, model["title"], verdict, table["models"][0]["title"],
            show("%+.1f", ln_b), show("%+.1f", model["delta_chi2"]["total"]),
        )  # fmt: skip
