"""YAML and Python of the documents: what each block is, and a folder in which the files that it names lie."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "data/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(
    r"^(?:<!-- not a configuration: (?P<reason>[^\n]+) -->\n\n)?```(?P<kind>yaml|py)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"# ([\w/]+\.(?:py|yaml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes
    ----------
    where : str
        Page and line.
    kind : str
        ``yaml`` or ``py``.
    text : str
    reason : str or None
        Why it is no configuration: the comment before it.
    """

    where: str
    kind: str
    text: str
    reason: str | None

    @property
    def file(self) -> str | None:
        """Name of the file that it is, from a first line ``# NAME``."""
        found = _FILE.match(self.text)
        return found[1] if found else None


def blocks() -> list[Block]:
    """Return the YAML and Python of all pages."""
    out = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            where = f"{page.relative_to(ROOT)}:{line}"
            out.append(Block(where, match["kind"], match["text"], match["reason"]))
    return out


def configurations() -> list[Block]:
    """Return the configurations."""
    return [b for b in blocks() if b.kind == "yaml" and b.reason is None]


def write_files(folder: Path, page: str) -> None:
    """Write the files that a page shows, which its configurations name."""
    for block in blocks():
        if block.file and block.where.rpartition(":")[0] == page:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
