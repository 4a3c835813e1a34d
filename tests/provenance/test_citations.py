"""What a run owes: every registered paper is found, and the BibTeX is what a BibTeX parser reads."""

from __future__ import annotations

import copy
from importlib import resources

import bibtexparser
import pytest
import yaml

from cmbfit.data import load_registry
from cmbfit.errors import DataError
from cmbfit.likelihood.datasets.load import dataset_names
from cmbfit.provenance.citations import USED_WHEN, bibtex, citations, find_references, plain_text, references
from tests.report.example import SUMMARY


def _parse(text: str) -> dict[str, dict[str, str]]:
    library = bibtexparser.parse_string(text)
    assert library.failed_blocks == []
    return {e.key: {f.key: f.value for f in e.fields} for e in library.entries}


def test_the_reference_file_is_bibtex_and_read_as_a_parser_reads_it() -> None:
    text = resources.files("cmbfit.provenance").joinpath("references.bib").read_text(encoding="utf-8")
    parsed = _parse(text)
    assert {k: dict(r.fields) for k, r in references().items()} == parsed
    for key, fields in parsed.items():
        assert {"author", "title", "year"} <= set(fields), key
        assert key == "cmbfit" or "doi" in fields or "eprint" in fields, key
    assert set(USED_WHEN) <= set(parsed)


@pytest.mark.parametrize("name", sorted({w for n in load_registry() for w in load_registry()[n].citation}))
def test_every_paper_of_the_registry_is_known(name: str) -> None:
    assert find_references(name)


def test_every_paper_of_a_data_set_is_known() -> None:
    for name in dataset_names():
        text = resources.files("cmbfit.likelihood.datasets").joinpath(name, "dataset.yaml").read_text("utf-8")
        words = yaml.safe_load(text)["citation"]
        assert find_references(words), words


def test_papers_are_told_apart() -> None:
    assert find_references("Zonca et al. (2019), JOSS 4, 1298") == ["zonca2019"]
    assert find_references("Fixsen & Mather (2002), ApJ 581, 817") == ["fixsen2002"]
    # an unknown arXiv number is not guessed from volumes and pages
    assert find_references("Somebody (2031), ApJ 581, 817; arXiv:3101.00001") == []
    assert find_references("our own maps, in preparation") == []
    two = find_references("Bennett et al. 2013 (arXiv:1212.5225); Page et al. 2007 (astro-ph/0603450)")
    assert two == ["bennett2013", "page2007"]


def test_a_run_owes_what_it_used_and_no_more() -> None:
    summary = copy.deepcopy(SUMMARY)
    summary["provenance"]["data"][0]["citation"] = ["A {weird} paper & 50% _more_; in preparation"]
    summary["fits"]["lcdm"]["data"][0]["citation"] = "Planck Collaboration V 2020 (arXiv:1907.12875)"
    keys = {c.key for c in citations(summary)}
    assert {"planck2018_v", "foremanmackey2013", "mead2016", "harris2020"} <= keys
    # not sampled by HMC, no recent HMcode, torch not among the recorded packages
    assert not {"neal2011", "mead2021", "paszke2019", "louis2025"} & keys
    summary["fits"]["lcdm"]["convergence"]["sampler"] = "hmc"
    assert {"neal2011"} <= {c.key for c in citations(summary)}
    assert "foremanmackey2013" not in {c.key for c in citations(summary)}
    parsed = _parse(bibtex(summary))
    assert set(parsed) == {c.key for c in citations(summary)}
    (own,) = (f for k, f in parsed.items() if k.startswith("data_"))
    assert plain_text(own["note"]) == "A weird paper & 50% _more_; in preparation"


def test_words_are_fit_to_read() -> None:
    summary = copy.deepcopy(SUMMARY)
    summary["provenance"]["packages"]["snakemake"] = "9"
    cited = {c.key: c.words for c in citations(summary)}
    assert cited["molder2021"].startswith("Mölder, Felix; Jablonski, Kim Philipp")
    assert cited["lewis2000"].endswith("ApJ, 538, 473; arXiv:astro-ph/9911177")
    assert not any(set("{}\\") & set(words) for words in cited.values())


def test_a_summary_of_something_else_is_refused() -> None:
    with pytest.raises(DataError, match="finished run"):
        citations({"fits": {}, "provenance": {}})
