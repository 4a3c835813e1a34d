"""Which rule made a file of the run, and where that rule's log and cost lie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

_WILDCARD = re.compile(r"\{(\w+)(?:,([^{}]*))?\}")


@dataclass(frozen=True)
class Origin:
    """Where a product comes from; paths are relative to the run's folder.

    Attributes
    ----------
    rule : str
        The workflow's rule.
    log : str or None
    benchmark : str or None
    """

    rule: str
    log: str | None
    benchmark: str | None


def _compile(pattern: str, *, any_name: bool = False) -> re.Pattern[str]:
    """Turn Snakemake's ``a/{fit,regex}.json`` into a regular expression; a repeated wildcard must repeat.

    With `any_name` wildcards stand for any part of a name, whatever their constraint.
    """
    out, at, seen = "", 0, set()
    for match in _WILDCARD.finditer(pattern):
        name, constraint = match.group(1), "[^/]+" if any_name else match.group(2) or ".+"
        out += re.escape(pattern[at : match.start()])
        out += f"(?P={name})" if name in seen else f"(?P<{name}>{constraint})"
        seen.add(name)
        at = match.end()
    return re.compile(out + re.escape(pattern[at:]))


def _fill(pattern: str | None, wildcards: Mapping[str, str]) -> str | None:
    return None if pattern is None else _WILDCARD.sub(lambda m: wildcards[m.group(1)], pattern)


class Graph:
    """The workflow's rules as a map from products to their origins.

    Parameters
    ----------
    rules : mapping of str to mapping
        For each rule ``output`` (patterns, Snakemake's notation), ``log`` and ``benchmark`` (a pattern or
        None), relative to the run's folder.

    Examples
    --------
    >>> rules = {"fit": {"output": ["chains/{name}.h5"], "log": "logs/fit/{name}.log", "benchmark": None}}
    >>> Graph(rules).origin("chains/lcdm.h5")
    Origin(rule='fit', log='logs/fit/lcdm.log', benchmark=None)
    """

    def __init__(self, rules: Mapping[str, Mapping[str, Any]]) -> None:
        self._patterns = [
            (_compile(pattern), name, rule["log"], rule["benchmark"])
            for name, rule in rules.items()
            for pattern in rule["output"]
        ]
        self._any = [_compile(p, any_name=True) for rule in rules.values() for p in rule["output"]]

    def origin(self, product: str) -> Origin | None:
        """Return the origin of a product, of a file in a product's folder, or of a file beside it; or None."""
        for candidate in _candidates(product):
            for pattern, rule, log, benchmark in self._patterns:
                if match := pattern.fullmatch(candidate):
                    found = match.groupdict()
                    return Origin(rule, _fill(log, found), _fill(benchmark, found))
        return None

    def left_over(self, product: str) -> bool:
        """Whether a rule makes such products, but not of this name: of a fit, say, that the configuration no longer has."""
        if self.origin(product) is not None:
            return False
        return any(pattern.fullmatch(x) for x in _candidates(product) for pattern in self._any)


def _candidates(product: str) -> list[str]:
    """Return what a rule may name a file by: itself, what it is the record of (x.fits.json, x.record.json), a folder."""
    of_json = product.removesuffix(".record.json") + ".json"
    return [
        product,
        of_json,
        product.removesuffix(".json"),
        *(str(p) for p in PurePosixPath(product).parents),
    ]
