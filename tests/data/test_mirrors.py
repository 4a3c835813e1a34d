"""Mirrors of an overlay: other addresses, the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cmbfit.data import fetch, load_registry
from cmbfit.errors import DataError, DownloadError
from tests.data.helpers import Page, Server, sha256

NAME = "wmap9/beams/wmap_ampl_bl_V1_9yr_v5p1.txt"
SITE = "https://lambda.gsfc.nasa.gov/"
PATH = "/l/data/map/dr5/ancillary/beams/wmap_ampl_bl_V1_9yr_v5p1.txt"


def overlay(folder: Path, data: bytes, mirrors: dict) -> Path:
    path = folder / "overlay.yaml"
    pins = {NAME: {"sha256": sha256(data), "bytes": len(data)}}
    path.write_text(yaml.safe_dump({"version": 1, "pins": pins, "mirrors": mirrors}))
    return path


def test_a_file_comes_from_the_mirror(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    data = b"# beam\n0 1.0 0.0\n"
    server.pages[PATH] = Page(data)
    monkeypatch.setenv("CMBFIT_REGISTRY", str(overlay(tmp_path, data, {SITE: f"{server.base}/l/"})))
    assert fetch(NAME).read_bytes() == data
    sources = [str(s) for s in load_registry()[NAME].sources]
    assert sources[0] == server.base + PATH
    assert sources[1].startswith(SITE)  # the site itself stays, after its mirror


def test_a_mirror_cannot_change_the_bytes(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pages[PATH] = Page(b"other bytes")
    registry = load_registry(overlay=overlay(tmp_path, b"right bytes", {SITE: f"{server.base}/l/"}))
    entry = registry[NAME]
    one = type(registry)({NAME: type(entry)(**{**vars(entry), "sources": entry.sources[:1]})}, registry.root)
    with pytest.raises(DownloadError, match="sha256"):
        fetch(NAME, registry=one)


@pytest.mark.parametrize(
    ("site", "target"),
    [
        (SITE, "http://example.org/"),
        (SITE, "http://127.0.0.1.example.org/"),
        (SITE, "file:///etc/"),
        (SITE, "http://127.0.0.1:80@example.org/"),
        ("http://lambda.gsfc.nasa.gov/", "https://example.org/"),
        (SITE, 3),
    ],
)
def test_only_https_or_this_machine(tmp_path: Path, site: str, target: object) -> None:
    with pytest.raises(DataError, match="mirrors"):
        load_registry(overlay=overlay(tmp_path, b"x", {site: target}))
