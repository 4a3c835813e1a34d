"""`cmbfit reproduce` and `cite` on records that somebody else wrote: nothing of them is a command, an entry or an escape."""

from __future__ import annotations

import copy
import json
import re
import shlex
from pathlib import Path
from typing import Any

import bibtexparser
import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import DataError, one_line, printable
from cmbfit.io import write_json
from cmbfit.provenance.citations import bibtex, references
from cmbfit.provenance.reproduce import altered_products, compare, instructions
from tests.report.example import SUMMARY

ESCAPE = "\x1b]0;title\x07\x1b[2J\u202e\r"
ENTRY = "free\n@misc{evil,\n  note = {x}\n}\n"


def summary(**changed: Any) -> dict[str, Any]:
    out = copy.deepcopy(SUMMARY)
    out["provenance"] |= {"data": [], **changed}
    return out


@pytest.mark.parametrize(
    "commit",
    [
        "$(touch marker)",
        "main; touch marker",
        "a" * 39,
        "a" * 40 + "\n",
        "--force",
        "A" * 40,
        ["a" * 40],
        3,
        "",
    ],
)
def test_a_commit_that_is_none_is_refused(commit: Any) -> None:
    with pytest.raises(DataError, match=r"the record's commit: expected 40 hexadecimal digits or null"):
        instructions("results/x", summary(git={"commit": commit, "dirty": False}))


def test_what_is_to_be_pasted_has_no_more_lines_and_words_than_it_should() -> None:
    record = summary(
        git={"commit": "a" * 40, "dirty": True}, created=f"now{ESCAPE}\nrm -rf x", python="3\n;ls"
    )
    record["provenance"]["settings"]["run"] |= {"name": "x\ntouch marker"}
    lines = instructions("results/a b $(touch marker)", record)
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    # as a shell reads it: the first line is a comment
    assert shlex.split(lines[0], comments=True) == []
    assert shlex.split(lines[1], comments=True) == ["git", "checkout", "a" * 40]
    assert "results/a b $(touch marker)/workflow/config.json" in shlex.split(lines[3])


def test_a_record_without_its_parts_is_a_typed_error() -> None:
    for value in ({}, {"provenance": None}, {"provenance": {"git": []}}, []):
        with pytest.raises(DataError, match="expected the record of a finished run"):
            instructions("results/x", value)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret", "link", "\0"])
def test_files_outside_the_folder_are_not_read(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    entity = {"@id": name, "@type": "File", "sha256": "0" * 64}
    write_json(folder / "ro-crate-metadata.json", {"@graph": [entity]})
    with pytest.raises((DataError, ValueError), match=r"inside the run's folder|null"):
        list(altered_products(folder))
    write_json(folder / "summary.json", summary())
    with pytest.raises(DataError):
        compare(folder)


def test_modules_of_a_record_are_names(tmp_path: Path) -> None:
    write_json(tmp_path / "ro-crate-metadata.json", {"@graph": []})
    write_json(tmp_path / "summary.json", summary())
    for module in ("pipeline./etc/hostname", "../x", "pipeline..gate", ""):
        record = {"gate": {"modules": [module], "registered": True, "hash": "0" * 16}}
        write_json(tmp_path / "workflow/code.json", record)
        with pytest.raises(DataError, match="expected names of modules"):
            compare(tmp_path)


def test_words_of_a_record_open_no_entry() -> None:
    """By another reader of BibTeX: it takes an @ for an entry even behind a %."""
    entry = {"name": f"g\n@misc{{evil1}}{ESCAPE}", "licence": ENTRY, "citation": [ENTRY, "} @misc{evil2}"]}
    record = summary(data=[entry, {**entry, "licence": "CC @book{evil3, title={x}}"}])
    record["provenance"]["settings"]["run"] |= {"name": ENTRY}
    text = bibtex(record)
    library = bibtexparser.parse_string(text)
    assert library.failed_blocks == []
    assert {e.key for e in library.entries if not e.key.startswith("cited_")} <= set(references())
    assert sum(e.key.startswith("cited_") for e in library.entries) >= 2
    assert printable(text) == text
    assert "evil" in text  # the words are still there


@pytest.mark.parametrize("command", ["reproduce", "cite"])
def test_no_escape_reaches_the_terminal(command: str, tmp_path: Path) -> None:
    record = summary(
        created=ESCAPE, packages={f"numpy{ESCAPE}": ESCAPE}, git={"commit": None, "dirty": False}
    )
    record["provenance"]["data"] = [
        {"name": f"x{ESCAPE}", "sha256": ESCAPE, "licence": ESCAPE, "citation": [ESCAPE]}
    ]
    record["provenance"]["settings"] |= {"theory": {"emulator": {"train": {}}}}
    for fit in record["fits"].values():
        fit["reference_source"] = f"{ESCAPE} arXiv:1234.56789"
    write_json(tmp_path / "summary.json", record)
    write_json(tmp_path / "workflow/config.json", {"run": {f"na{ESCAPE}me": ESCAPE}})
    write_json(
        tmp_path / "workflow/code.json",
        {ESCAPE: {"modules": ["pipeline.gone"], "registered": True, "hash": ESCAPE}},
    )
    write_json(
        tmp_path / "ro-crate-metadata.json",
        {"@graph": [{"@id": f"a{ESCAPE}", "@type": "File", "sha256": ESCAPE}]},
    )
    result = CliRunner().invoke(app, [command, str(tmp_path)])
    said = (
        result.output
        if result.exception is None or isinstance(result.exception, SystemExit)
        else str(result.exception)
    )
    assert len(said.splitlines()) > 3, result.exception
    assert all(line.isprintable() for line in said.split("\n")), json.dumps(said)
    assert "\\x1b" in said


def test_every_command_prints_by_way_of_say() -> None:
    for path in Path("cmbfit/cli").glob("*.py"):
        if path.name not in {"words.py", "app.py"}:
            found = re.findall(r"typer\.(?:s?echo)|click\.|\bprint\(|sys\.std\w+\.write", path.read_text())
            assert not [x for x in found if x != "click."], path


def test_escapes_are_shown_as_such() -> None:
    assert printable("é \x1b[0m\n\x9b\u2066\ud800") == "é \\x1b[0m\n\\x9b\\u2066\\ud800"
    assert one_line(" a\r\nb\x85c\u2028d\x00") == "a b c d\\x00"
