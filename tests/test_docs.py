"""The documents' own code: what they show runs, and what they name exists."""

from __future__ import annotations

import os
import re
import shlex
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


def test_every_cmbfit_command_named_exists() -> None:
    """Subcommands and long options of `cmbfit ...` lines are those of the program."""
    from typer.main import get_command

    from cmbfit.cli import app

    top = get_command(app)
    seen = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        lines = re.findall(r"^(?:\$ )?cmbfit (.+)$", text, re.MULTILINE) + re.findall(
            r"`cmbfit ([^`]+)`", text
        )
        for line in lines:
            command, words = top, shlex.split(line.split(" #")[0], posix=True)
            while words and hasattr(command, "commands") and words[0] in command.commands:
                command = command.commands[words.pop(0)]
            assert command is not top, f"{page.name}: cmbfit {line}"
            options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
            for word in words:
                if word.startswith("--") and word != "--":
                    assert word.split("=")[0] in options, f"{page.name}: cmbfit {line}: {word}"
            seen += 1
    assert seen > 5


_COMMANDS = ("cmbfit", "snakemake", "make", "python", "pytest", "pip", "git", "conda")


def _documented_commands() -> list[tuple[str, str]]:
    """(page, command line) of every fenced block and every `...` that begins with a program's name."""
    out = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        fences = re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        lines = [line.removeprefix("$ ") for block in fences for line in block.splitlines()]
        lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
        out += [(page.name, line.split(" #")[0].strip()) for line in lines if line.split(" ")[0] in _COMMANDS]
    return [(page, line) for page, line in dict.fromkeys(out) if " " in line]


def test_every_command_names_things_that_exist() -> None:
    """Targets of make, configurations, benchmarks and tests; `mine.yaml` and capitals stand for the reader's own."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = _documented_commands()
    for page, line in commands:
        program, *words = line.split()
        if program == "make":
            named = [w for w in words if re.fullmatch(r"[a-z-]+", w)]
            assert set(named) <= targets, f"{page}: {line}"
        for word in words:
            path = word.split("::")[0].strip("`.,;:)(\"'")
            if (
                path.startswith(("pipeline/", "benchmarks/", "tests/", "docs/", "cmbfit/"))
                and "{" not in path
            ):
                assert (ROOT / path).exists(), f"{page}: {line}: {path}"
    assert len(commands) > 60
