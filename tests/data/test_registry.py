"""The registry: strict reading, cmbfit's own entries, the user's overlay."""

from __future__ import annotations

import hashlib
import lzma
import re
from pathlib import Path

import pytest

from cmbfit.data import Entry, load_registry, read_bytes
from cmbfit.data.model import EmbeddedSource, HttpsSource, PackageSource
from cmbfit.data.registry import data_root
from cmbfit.errors import DataError

GOOD = """\
version: 1
groups:
  g:
    description: "a group"
    licence: "public domain"
    citation: ["Somebody (2020)"]
    sources:
      - embedded: embedded/g/{file}.xz
      - package: {name: some-package, version: "1.0", kind: wheel, member: "some/{file}"}
      - https: "https://example.org/base/{file}"
    files:
      a.dat:
        sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        bytes: 12
        description: "a file"
      sub/b.dat:
        sha256: null
        md5: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        bytes: null
        description: "an unpinned file"
        path: other/name.dat
        licence: "another"
        sources:
          - https: "https://example.org/base/{file}"
"""
# as published with the releases: the first 16 hex digits of the originals' sha256
PRINTED = {
    "planck2018_plik_lite/c_matrix_plik_v22.dat": "ad90378c50bd6784",
    "planck2018_plik_lite/cl_cmb_plik_v22.dat": "dac0d9d493213e77",
    "planck2018_plik_lite/blmin.dat": "325b351cbf8f6945",
    "planck2018_plik_lite/blmax.dat": "c28ade0fa5270c7e",
    "planck2018_plik_lite/bweight.dat": "8afcbd8bad769e2d",
    "planck2018_low_ell/CTT_bin_low_ell_2018.dat": "5d8220fc16b9f9fa",
    "planck2018_low_ell/blmin_low_ell.dat": "526718b75ee8689e",
    "planck2018_low_ell/blmax_low_ell.dat": "e4449d2230545c8d",
    "planck2018_low_ell/bweight_low_ell.dat": "5973300301bfedad",
    "planck2018_lowE/prob_table.txt": "7efa150e762313f7",
    "wmap7/wmap_band_iqumap_r9_7yr_V_v4_udgraded32.fits": "554a7b96c3ada58d",
    "wmap7/wmap_band_iqumap_r9_7yr_W_v4_udgraded32.fits": "6a048d351b78064e",
    "wmap7/wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits": "dc36243f3942cb45",
}
UNPINNED = (
    "wmap9",
    "planck_pr3",
    "planck_pr4_lollipop",
    "spt3g_d1_lite",
    "des_sn5yr",
)
EMBEDDED = [e for e in load_registry(overlay="").values() if e.embedded]


def written(tmp_path: Path, text: str, name: str = "registry.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_templates_are_filled_in(tmp_path: Path) -> None:
    registry = load_registry(written(tmp_path, GOOD))
    assert list(registry) == ["g/a.dat", "g/sub/b.dat"]
    a, b = registry.values()
    assert a.sources == (
        EmbeddedSource("embedded/g/a.dat.xz"),
        PackageSource("some-package", "1.0", "wheel", "some/a.dat"),
        HttpsSource("https://example.org/base/a.dat"),
    )
    assert (a.licence, a.citation, a.size) == ("public domain", ("Somebody (2020)",), 12)
    assert (b.group, b.file, b.basename) == ("g", "sub/b.dat", "b.dat")
    assert b.sources == (HttpsSource("https://example.org/base/other/name.dat"),)
    assert (b.licence, b.sha256, b.size) == ("another", None, None)
    assert set(registry.select("g")) == {"a.dat", "sub/b.dat"}
    assert set(registry.select("g/sub/")) == {"b.dat"}
    assert set(registry.select("g/a.dat")) == {"a.dat"}
    assert "g/a.dat" in registry
    assert "g/c.dat" not in registry


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1\n", "version: 2\n", "version: expected 1, found 2"),
        ("version: 1\n", "version: 1\nextra: 1\n", "registry.extra: unknown key"),
        ('licence: "public', 'license: "public', "groups.g.license: unknown key .did you mean 'licence'"),
        (
            "        bytes: 12",
            "        byte: 12",
            "groups.g.files.a.dat.byte: unknown key .did you mean 'bytes'",
        ),
        ("kind: wheel", "type: wheel", r"sources\[1\].package.type: unknown key"),
        ("kind: wheel", "kind: egg", "kind: expected wheel or sdist, found 'egg'"),
        ('version: "1.0"', "version: 1.0", "package.version: expected text, found 1.0"),
        ("- embedded: e", "- local: e", r"sources\[0\].local: unknown key"),
        ("bytes: 12", "bytes: -1", "bytes: expected a positive integer"),
        ("bytes: 12", "bytes: null", "a file with a sha256 needs its size"),
        ("bytes: 12", "bytes: 12\n        bytes: 13", "line 15: the key 'bytes' is given twice"),
        ("sha256: aaaa", "sha256: aaa", "sha256: expected 64 lower-case hex"),
        ("sha256: " + "a" * 64, "sha256: null", "only files with https sources alone may be unpinned"),
        ("md5: aaaa", "md5: aaxa", "md5: expected 32 lower-case hex"),
        ('https: "https:', 'https: "http:', "expected an https address"),
        ("https://example.org/", "https://user@example.org/", "expected an https address"),
        ("some/{file}", "../{file}", "member: expected a relative path"),
        ("some/{file}", "/some/{file}", "member: expected a relative path"),
        ("embedded/g", "embedded/../..", "expected a relative path"),
        ("sub/b.dat:", "sub/../../b.dat:", "expected a relative path"),
        ("path: other/", "path: ../", "path: expected a relative path"),
        ('citation: ["Somebody (2020)"]', "citation: Somebody", "citation: expected a list"),
        ('description: "a file"', "description:", "description: expected text, found None"),
        ("    files:", "    filez:", "unknown key"),
        ("groups:", "groups: [", "expected a YAML registry"),
        (GOOD, "- a\n", "expected a mapping, found list"),
        (GOOD, "", "expected a mapping, found NoneType"),
        (GOOD, "version: 1\n", "groups: expected a mapping"),
        (GOOD, "version: 1\ngroups: {a b: {}}\n", "expected a group name"),
        (GOOD, "version: 1\npins: {}\ngroups: {}\n", "registry.pins: unknown key"),
        (GOOD, "!!python/object/apply:os.system ['true']\n", "expected a YAML registry"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(DataError, match=message) as caught:
        load_registry(written(tmp_path, GOOD.replace(old, new, 1)))
    assert "registry.yaml" in str(caught.value)


def test_missing_registry_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such registry file"):
        load_registry(tmp_path / "none.yaml")


def test_unknown_names_come_with_a_hint() -> None:
    registry = load_registry()
    with pytest.raises(DataError, match=r"did you mean firas/firas_monopole_spec_v1.txt"):
        registry["firas/firas_monopole_spec.txt"]
    with pytest.raises(DataError, match=r"no such group .* firas"):
        registry.select("fira")


def test_edited_registry_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert load_registry(path)["g/a.dat"].size == 12
    path.write_text(GOOD.replace("bytes: 12", "bytes: 13"))
    assert load_registry(path)["g/a.dat"].size == 13


# The user's overlay


def overlaid(tmp_path: Path, text: str) -> dict[str, Entry]:
    return dict(load_registry(written(tmp_path, GOOD), overlay=written(tmp_path, text, "mine.yaml")))


def test_overlay_pins_and_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"version: 1\npins:\n  g/sub/b.dat: {{sha256: {'b' * 64}, bytes: 7}}\n"
    more = GOOD[GOOD.index("groups:") : GOOD.index("      sub/b.dat")].replace("  g:", "  mine:")
    more = "\n".join(line for line in more.splitlines() if "embedded:" not in line) + "\n"
    entries = overlaid(tmp_path, text + more)
    assert (entries["g/sub/b.dat"].sha256, entries["g/sub/b.dat"].size) == ("b" * 64, 7)
    assert entries["mine/a.dat"].size == 12
    monkeypatch.setenv("CMBFIT_REGISTRY", str(tmp_path / "mine.yaml"))
    assert load_registry(tmp_path / "registry.yaml")["g/sub/b.dat"].size == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"pins: {{g/a.dat: {{sha256: {'b' * 64}, bytes: 12}}}}", "already names another sha256"),
        (f"pins: {{g/a.dat: {{sha256: {'a' * 64}, bytes: 13}}}}", "names 12 bytes, the pin 13"),
        (f"pins: {{g/none.dat: {{sha256: {'a' * 64}, bytes: 13}}}}", "not in the data registry"),
        ("pins: {g/sub/b.dat: {bytes: 13}}", "expected sha256 and bytes"),
        ("pins: {g/sub/b.dat: {sha: 13}}", "unknown key"),
        ("pins: 3", "pins: expected a mapping"),
        (GOOD[GOOD.index("groups:") :], "g/a.dat is already registered"),
        (GOOD[GOOD.index("groups:") :].replace("  g:", "  h:"), "an overlay cannot name embedded files"),
    ],
)
def test_overlay_mistakes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        overlaid(tmp_path, f"version: 1\n{text}\n")


# What comes with cmbfit


def test_every_entry_can_be_had_or_says_why_not() -> None:
    for entry in load_registry().values():
        assert entry.licence
        assert entry.citation
        assert entry.description
        if entry.sha256 is None:
            assert entry.group in UNPINNED
        else:
            assert entry.size is not None


def test_every_https_host_is_a_data_site() -> None:
    """Package files are named by package and version: the index is the user's own choice."""
    hosts = {
        re.match(r"https://([^/]+)/", s.url)[1]  # type: ignore[index]
        for e in load_registry().values()
        for s in e.sources
        if isinstance(s, HttpsSource)
    }
    assert hosts == {
        "bicepkeck.org",
        "irsa.ipac.caltech.edu",
        "lambda.gsfc.nasa.gov",
        "nasa-lambda.s3.amazonaws.com",
        "portal.nersc.gov",
        "raw.githubusercontent.com",
    }


@pytest.mark.parametrize("entry", EMBEDDED, ids=lambda e: e.name)
def test_embedded_files_are_the_originals_byte_for_byte(entry: Entry) -> None:
    packed = data_root() / entry.embedded.path  # type: ignore[union-attr]
    data = lzma.decompress(packed.read_bytes())
    assert len(data) == entry.size
    assert hashlib.sha256(data).hexdigest() == entry.sha256
    assert read_bytes(entry.name) == data
    # Whoever doubts the copy can have the original: from the package index, or from one commit of its repository.
    commit = r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/"
    assert any(
        isinstance(s, PackageSource) or (isinstance(s, HttpsSource) and re.match(commit, s.url))
        for s in entry.sources
    )


def test_embedded_sums_are_the_ones_of_the_specification() -> None:
    registry = load_registry()
    assert {n: registry[n].sha256[:16] for n in PRINTED} == PRINTED  # type: ignore[index]


def test_embedded_directory_holds_the_registered_files_and_is_small() -> None:
    folder = data_root() / "embedded"
    there = {str(p.relative_to(folder.parent)) for p in folder.rglob("*.xz")}
    assert there == {e.embedded.path for e in EMBEDDED}  # type: ignore[union-attr]
    assert sum(p.stat().st_size for p in folder.rglob("*")) < 3_500_000


def test_firas_table_has_its_43_rows() -> None:
    rows = [
        r.split() for r in read_bytes("firas/firas_monopole_spec_v1.txt").decode().splitlines() if r[0] != "#"
    ]
    assert len(rows) == 43
    assert rows[3] == ["3.63", "327.770", "4", "23", "-1"]
    assert rows[-1] == ["21.33", "4.523", "-432", "282", "573"]
