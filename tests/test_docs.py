"""The documents' own code: their Python and `sh` blocks run as they stand; tests/test_commands.py has single commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(language: str) -> list[tuple[str, str]]:
    """Pages that hold blocks of this language, with the blocks joined in order."""
    texts = {page: _BLOCK.findall(page.read_text(encoding="utf-8")) for page in PAGES}
    joined = {
        page: "\n".join(body for kind, body in blocks if kind == language) for page, blocks in texts.items()
    }
    return [(str(page.relative_to(ROOT)), text) for page, text in joined.items() if text]


@pytest.mark.parametrize(("page", "text"), _blocks("python"), ids=lambda x: x.split("\n")[0][:30])
def test_python_blocks_run(page: str, text: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.mark.parametrize(("page", "text"), _blocks("sh"), ids=lambda x: x.split("\n")[0][:30])
def test_shell_blocks_run_in_order(page: str, text: str, tmp_path: Path) -> None:
    """`sh` blocks run as they stand; blocks without a language (clone, make, clusters) are only read."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert run.returncode == 0, (run.stdout + run.stderr)[-2000:]
