"""A local server, and a cache of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.helpers import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A fresh local server."""
    instance = Server()
    yield instance
    instance.close()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let no test see or touch the developer's data directories or pip's settings."""
    for name in ("CMBFIT_DATA", "CMBFIT_REGISTRY", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setenv("CMBFIT_CACHE", str(folder))
    monkeypatch.setenv("CMBFIT_LOCK", str(tmp_path / "user" / "lock.yaml"))
    return folder
