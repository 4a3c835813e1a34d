"""The papers that a run owes: those of its data, of its codes and of what it was compared with.

Data name their papers in words (registry, data sets, references of fits) with an arXiv number or
volume and page; codes are known by conditions on the run's summary. Both are looked up in
``references.bib``. What is not there becomes a ``@misc`` entry with the words as a note, so nothing a
user cites is lost.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from cmbfit.errors import DataError
from cmbfit.io import sha256_json

_EPRINT = re.compile(r"(?:arXiv:\s*)(\d{4}\.\d{4,5})|(astro-ph/\d{7})")
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)


@dataclass(frozen=True)
class Reference:
    """One entry of ``references.bib``: its key, its fields and its text."""

    key: str
    fields: Mapping[str, str]
    text: str


@cache
def references() -> dict[str, Reference]:
    """Return the known references by key."""
    text = resources.files("cmbfit.provenance").joinpath("references.bib").read_text(encoding="utf-8")
    out = {}
    for block in re.split(r"^(?=@)", text, flags=re.MULTILINE)[1:]:
        key = block[block.index("{") + 1 : block.index(",")]
        out[key] = Reference(key, dict(_FIELD.findall(block)), block.strip())
    return out


def find_references(words: str) -> list[str]:
    """Return keys of the references that a citation in words names.

    By arXiv numbers; without any, by ``volume, first page``.

    Examples
    --------
    >>> find_references("Planck Collaboration V (2020), A&A 641, A5; arXiv:1907.12875")
    ['planck2018_v']
    """
    eprints = {a or b for a, b in _EPRINT.findall(words)}
    found = [k for k, r in references().items() if r.fields.get("eprint") in eprints]
    if found or eprints:
        return found
    return [
        key
        for key, r in references().items()
        if "volume" in r.fields
        and re.search(rf"\b{r.fields['volume']}, {re.escape(r.fields['pages'])}\b", words)
    ]


def plain_text(latex: str) -> str:
    r"""Return a BibTeX field without its LaTeX: accents become letters, braces go.

    Examples
    --------
    >>> plain_text(r"M{\"o}lder, {CMB} \& A")
    'Mölder, CMB & A'
    """
    for accent, mark in (("'", "\u0301"), ('"', "\u0308")):
        latex = re.sub(rf"\\{accent}(\w)", rf"\1{mark}", latex)
    letters = unicodedata.normalize("NFC", latex)
    return re.sub(r"\\([&%$#_])", r"\1", letters).replace("{", "").replace("}", "")


def _camb(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = summary["provenance"]["emulator"]["settings"]
    return settings.get("trained_on", {}).get("camb", {})


def _samplers(summary: Mapping[str, Any]) -> set[str]:
    return {fit["convergence"].get("sampler", "emcee") for fit in summary["fits"].values()}


def _used(package: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda summary: bool(summary["provenance"]["packages"].get(package))


USED_WHEN: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "cmbfit": lambda _: True,
    # theory: exact spectra of every fit's chain are CAMB's, with the physics of the emulator's training
    "lewis2000": lambda _: True,
    "howlett2012": lambda _: True,
    "seager1999": lambda s: _camb(s).get("recombination") == "Recfast",
    "wong2008": lambda s: _camb(s).get("recombination") == "Recfast",
    "mead2016": lambda s: _camb(s).get("halofit") == "mead2016",
    "mead2021": lambda s: str(_camb(s).get("halofit")).startswith("mead2020"),
    "pisanti2008": lambda s: "PArthENoPE" in str(_camb(s).get("bbn_table")),
    # maps and spectra are part of every run
    "gorski2005": lambda _: True,
    "zonca2019": _used("healpy"),
    "reinecke2023": _used("ducc0"),
    "hivon2002": lambda _: True,
    # posteriors
    "foremanmackey2013": lambda s: "emcee" in _samplers(s),
    "neal2011": lambda s: "hmc" in _samplers(s),
    "lewis2019getdist": lambda _: True,
    "kumar2019": lambda _: True,
    # foundations
    "paszke2019": _used("torch"),
    "harris2020": _used("numpy"),
    "virtanen2020": _used("scipy"),
    "astropy2022": lambda _: True,
    "hunter2007": lambda _: True,
    "molder2021": _used("snakemake"),
}
"""When a run owes a code or method its paper: a condition on the run's summary, by the reference's key."""


@dataclass(frozen=True)
class Cited:
    """One line of a run's list of citations: the reference's key, its BibTeX, and what it was used for."""

    key: str
    bibtex: str
    uses: tuple[str, ...]

    @property
    def words(self) -> str:
        """Return the reference as a line of plain text."""
        fields = {k: plain_text(v) for k, v in _FIELD.findall(self.bibtex)}
        if "title" not in fields:
            return fields["note"]
        authors = fields["author"].replace(" and others", " et al.").replace(" and ", "; ")
        place = ", ".join(fields[k] for k in ("journal", "volume", "pages") if k in fields)
        eprint = f"arXiv:{fields['eprint']}" if "eprint" in fields else ""
        head = f"{authors} ({fields['year']}): {fields['title']}"
        return "; ".join(x for x in (head, place, eprint) if x)


def _as_misc(words: str) -> tuple[str, str]:
    """Return key and entry of a citation that no reference matches."""
    key = f"data_{sha256_json(words)[:8]}"
    note = re.sub(r"([&%$#_])", r"\\\1", words.translate(str.maketrans("", "", "{}\\")))
    return key, f"@misc{{{key},\n  note = {{{note}}},\n}}"


def _named_in(summary: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield (use, citation in words) of data and published values."""
    for entry in summary["provenance"]["data"]:
        for words in entry["citation"]:
            yield f"data {entry['name'].split('/')[0]}", words
    for name, fit in summary["fits"].items():
        for info in fit["data"]:
            if info.get("citation"):
                yield f"data {info['name']}", info["citation"]
        # a simulation's truth is no paper: published values name theirs by arXiv number or volume and page
        if find_references(fit["reference_source"]):
            yield f"values compared with {name}", fit["reference_source"]


def citations(summary: Mapping[str, Any]) -> list[Cited]:
    """Return what a run owes, data first, each reference once.

    Parameters
    ----------
    summary : mapping
        The run's summary.json.

    Raises
    ------
    DataError
        If the summary lacks what a finished run records.
    """
    uses: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    try:
        for use, words in _named_in(summary):
            keys = find_references(words)
            if not keys:
                key, text = _as_misc(words)
                keys, texts[key] = [key], text
            for key in keys:
                if use not in uses.setdefault(key, []):
                    uses[key].append(use)
        for key, condition in USED_WHEN.items():
            if condition(summary):
                uses.setdefault(key, []).append("code or method")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"expected the summary.json of a finished run, found one without {error}; run the workflow again"
        ) from error
    return [Cited(key, texts.get(key) or references()[key].text, tuple(u)) for key, u in uses.items()]


def bibtex(summary: Mapping[str, Any]) -> str:
    """Return a run's citations as a BibTeX file, with the licences' acknowledgements as comments."""
    licences = dict.fromkeys(d["licence"] for d in summary["provenance"]["data"] if d["licence"])
    head = [f"% What the run {summary['provenance']['settings']['run']['name']} used."]
    head += [f"% {licence}" for licence in licences]
    entries = [f"% {'; '.join(c.uses)}\n{c.bibtex}" for c in citations(summary)]
    return "\n".join(head) + "\n\n" + "\n\n".join(entries) + "\n"
