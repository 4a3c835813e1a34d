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


def test_every_entry_is_found_by_its_own_journal_reference() -> None:
    """Words without an arXiv number, as a user writes them: surname and place, accents or not."""
    for key, r in references().items():
        if "volume" in r.fields:
            first = plain_text(r.fields["author"]).split(",")[0].split(" and ")[0]
            place = f"{r.fields['journal']} {r.fields['volume']}, {r.fields['pages']}"
            assert find_references(f"{first} ({r.fields['year']}), {place}") == [key]
    assert find_references("Gorski et al. (2005), ApJ 622, 759") == ["gorski2005"]


def test_papers_are_told_apart() -> None:
    assert find_references("Zonca et al. (2019), JOSS 4, 1298") == ["zonca2019"]
    assert find_references("Fixsen & Mather (2002), ApJ 581, 817") == ["fixsen2002"]
    # an unknown arXiv number is not guessed from volumes and pages
    assert find_references("Somebody (2031), ApJ 581, 817; arXiv:3101.00001") == []
    assert find_references("our own maps, in preparation") == []
    # numbers that happen to stand so are no paper: Hunter 2007 is volume 9, page 90
    assert find_references("our own table 9, 90% limits") == []
    assert find_references("Martin & Brandenberger (2001), PRD 63, 123501; hep-th/0005209") == ["martin2001"]
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
    (own,) = (f for k, f in parsed.items() if k.startswith("cited_"))
    assert plain_text(own["note"]) == "A weird paper & 50% _more_; in preparation"


def test_a_run_owes_its_models_and_methods() -> None:
    summary = copy.deepcopy(SUMMARY)
    before = {c.key for c in citations(summary)}
    assert not {"blas2011", "stocker2018", "handley2019", "gross2010", "lange2023", "contaldi2003"} & before
    summary["fits"] |= dict.fromkeys(("kinetic", "holes", "lcdm_of_mine"), summary["fits"]["lcdm"])
    summary["provenance"]["settings"]["fits"] = {
        "lcdm": {},
        "kinetic": {"theory": {"primordial": "cutoff_kinetic", "tensors": "tensor_consistency"}},
        "holes": {"theory": {"evaporation": 1e14}},
        "lcdm_of_mine": {"theory": {"primordial": "a_model_that_is_gone"}},
        "not_run": {"theory": {"primordial": "axion_monodromy"}},
    }
    evidence = {"log_z": -1.0, "log_z_error": 0.1, "method": "nested sampling (nautilus)"}
    published = "no preference (Planck Collaboration X 2020, A&A 641, A10)"
    models = [
        {"name": "lcdm", "evidence": None, "published": "a remark without a paper"},
        {"name": "kinetic", "evidence": evidence, "published": published},
    ]
    summary["products"] = {
        "models": {"tables": [{"models": models}]},
        "tension": {},
        "look_elsewhere": {},
        "blackbody": {"published": [{"source": "Fixsen et al. 1996, astro-ph/9605054"}]},
    }
    cited = {c.key: c for c in citations(summary)}
    new = set(cited) - before
    assert {"blas2011", "stocker2018", "handley2019", "gross2010", "lange2023", "contaldi2003"} <= new
    assert "flauger2010" not in new  # of a fit that the run left out
    assert cited["contaldi2003"].uses == ("model cutoff_kinetic",)
    assert cited["planck2018_x"].uses == ("values compared with kinetic",)
    assert cited["fixsen1996"].uses == ("values compared with blackbody",)
    assert not any("without a paper" in c.words for c in cited.values())
    assert cited["hergt2019"].uses == ("model cutoff_kinetic",)
    # what references.bib does not know keeps the model's own words
    (waves,) = (c for c in cited.values() if c.uses == ("model tensor_consistency",))
    assert waves.words.startswith("Lidsey et al. (1997)")
    evidence["method"] = "importance sampling"
    assert "lange2023" not in {c.key for c in citations(summary)}


def test_words_are_fit_to_read() -> None:
    summary = copy.deepcopy(SUMMARY)
    summary["provenance"]["packages"]["snakemake"] = "9"
    summary["fits"]["lcdm"]["data"][0]["citation"] = "Louis et al. 2025 (arXiv:2503.14452)"
    cited = {c.key: c.words for c in citations(summary)}
    assert cited["molder2021"].startswith("Mölder, Felix; Jablonski, Kim Philipp")
    assert cited["lewis2000"].endswith("ApJ, 538, 473; arXiv:astro-ph/9911177")
    assert "likelihoods and ΛCDM parameters; JCAP, 11, 062" in cited["louis2025"]
    assert not any(set("{}\\$") & set(words) for words in cited.values())
    assert not any(
        set("{}\\$") & set(plain_text(v)) for r in references().values() for v in r.fields.values()
    )


def test_a_summary_of_something_else_is_refused() -> None:
    with pytest.raises(DataError, match="finished run"):
        citations({"fits": {}, "provenance": {}})
