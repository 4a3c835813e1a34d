"""The papers that a run owes: those of its data, models, codes, methods and of what it was compared with.

Data and models name their papers in words (registry, data sets, primordial models, references of fits) with an
arXiv number or volume and page; codes and methods are known by conditions on the run's summary. Both are looked up in
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

from cmbfit.errors import one_line
from cmbfit.io import reading, sha256_json

_EPRINT = re.compile(r"(?:arXiv:\s*)(\d{4}\.\d{4,5})|((?:astro-ph|hep-th|hep-ph|gr-qc)/\d{7})")
_DOI = re.compile(r"\bdoi:(10\.[^\s;,]*[^\s;,.])")
_GREEK = {r"$\Lambda$": "Λ", r"$\tau$": "τ"}
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

    By arXiv numbers or DOIs; without any, by ``volume, first page`` and the first author's name.

    Examples
    --------
    >>> find_references("Planck Collaboration V (2020), A&A 641, A5; arXiv:1907.12875")
    ['planck2018_v']
    """
    eprints = {a or b for a, b in _EPRINT.findall(words)}
    dois = set(_DOI.findall(words))
    found = [
        k for k, r in references().items() if r.fields.get("eprint") in eprints or r.fields.get("doi") in dois
    ]
    if found or eprints or dois:
        return found
    return [
        key
        for key, r in references().items()
        if "volume" in r.fields
        and re.search(rf"\b{r.fields['volume']}, {re.escape(r.fields['pages'])}\b", words)
        and _first_author(r) in _without_accents(words)
    ]


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def _first_author(reference: Reference) -> str:
    """Return the first author's surname, or a collaboration's first word: two numbers alone name no paper."""
    first = plain_text(reference.fields["author"]).split(" and ")[0]
    return _without_accents(first.split(",")[0] if "," in first else first.split()[0])


def plain_text(latex: str) -> str:
    r"""Return a BibTeX field without its LaTeX: accents and Greek names become letters, braces go.

    Examples
    --------
    >>> plain_text(r"M{\"o}lder, {CMB} \& A")
    'Mölder, CMB & A'
    """
    for accent, mark in (("'", "\u0301"), ('"', "\u0308"), ("^", "\u0302")):
        latex = re.sub(rf"\\{re.escape(accent)}(\w)", rf"\1{mark}", latex)
    for name, letter in _GREEK.items():
        latex = latex.replace(name, letter)
    letters = unicodedata.normalize("NFC", latex)
    return re.sub(r"\\([&%$#_])", r"\1", letters).replace("{", "").replace("}", "")


def _camb(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = summary["provenance"]["emulator"]["settings"]
    return settings.get("trained_on", {}).get("camb", {})


def _samplers(summary: Mapping[str, Any]) -> set[str]:
    return {fit["convergence"].get("sampler", "emcee") for fit in summary["fits"].values()}


def _used(package: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda summary: bool(summary["provenance"]["packages"].get(package))


def _shows(product: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda summary: product in summary.get("products", {})


def _theories(summary: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return what stands under ``theory: KIND`` of the run's fits, by fit."""
    settings = summary["provenance"]["settings"].get("fits", {})
    theories = {name: settings.get(name, {}).get("theory", {}) for name in summary["fits"]}
    return {name: theory[kind] for name, theory in theories.items() if kind in theory}


def _evaporates(summary: Mapping[str, Any]) -> bool:
    return bool(_theories(summary, "evaporation"))


def _compared_models(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tables = summary.get("products", {}).get("models", {}).get("tables", ())
    return [model for table in tables for model in table["models"]]


def _nested(summary: Mapping[str, Any]) -> bool:
    """Say whether a fit or a model's evidence comes from nautilus, as :mod:`cmbfit.inference.nested` records it."""
    return "nested" in _samplers(summary) or any(
        "nautilus" in (model["evidence"] or {}).get("method", "") for model in _compared_models(summary)
    )


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
    "consiglio2018": lambda s: "PArthENoPE" in str(_camb(s).get("bbn_table")),
    "blas2011": _evaporates,  # CLASS computed the response to the holes
    "stocker2018": _evaporates,
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
    # comparisons and searches
    "lange2023": _nested,
    "handley2019": _shows("tension"),
    "muir2020": lambda s: "blinding" in s,
    "gross2010": _shows("look_elsewhere"),
    "minami2019": _shows("birefringence"),
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
    key = f"cited_{sha256_json(words)[:8]}"
    plain = one_line(words.translate(str.maketrans("", "", "{}\\")))
    note = re.sub(r"([&%$#_])", r"\\\1", plain.replace("\\", ""))
    return key, f"@misc{{{key},\n  note = {{{note}}},\n}}"


def _named_in(summary: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield (use, citation in words) of data, models and published values."""
    from cmbfit.theory.primordial.registry import MODELS  # noqa: PLC0415 (torch takes seconds)

    for entry in summary["provenance"]["data"]:
        for words in entry["citation"]:
            yield f"data {entry['name'].split('/')[0]}", words
    for fit in summary["fits"].values():
        for info in fit["data"]:
            if info.get("citation"):
                yield f"data {info['name']}", info["citation"]
    for kind in ("primordial", "tensors"):
        for model in _theories(summary, kind).values():
            # a model of the user's own may have left the checkout since
            for words in MODELS[model].citations if model in MODELS else ():
                yield f"model {model}", words
    for use, words in _compared(summary):
        # a simulation's truth is no paper: published values name theirs by arXiv number or volume and page
        if _EPRINT.search(words) or find_references(words):
            yield f"values compared with {use}", words


def _compared(summary: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield (with what, source in words) of values that stand beside the run's own."""
    for name, fit in summary["fits"].items():
        if fit["reference_source"]:
            yield name, fit["reference_source"]
    for model in _compared_models(summary):
        yield model["name"], model.get("published", "")
    for key in ("birefringence", "blackbody"):
        for value in summary.get("products", {}).get(key, {}).get("published", ()):
            yield key, value["source"]


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
    with reading("summary.json", "what a finished run records (run the workflow again)"):
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
    return [Cited(key, texts.get(key) or references()[key].text, tuple(u)) for key, u in uses.items()]


def _comment(text: str) -> str:
    """Return words as a line that no reader of BibTeX takes for an entry: to BibTeX only the @ begins one."""
    return "% " + one_line(str(text)).replace("@", "(at)")


def bibtex(summary: Mapping[str, Any]) -> str:
    """Return a run's citations as a BibTeX file, with the licences' acknowledgements as comments."""
    with reading("summary.json", "what a finished run records (run the workflow again)"):
        licences = dict.fromkeys(d["licence"] for d in summary["provenance"]["data"] if d["licence"])
        head = [_comment(f"What the run {summary['provenance']['settings']['run']['name']} used.")]
        head += [_comment(licence) for licence in licences]
        entries = [f"{_comment('; '.join(c.uses))}\n{c.bibtex}" for c in citations(summary)]
        return "\n".join(head) + "\n\n" + "\n\n".join(entries) + "\n"
