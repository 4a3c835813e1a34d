"""What a change to cmbfit from outside consists of, and how it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from click.testing import Result
from typer.testing import CliRunner

from cmbfit.cli.app import app


class Change:
    """The files that someone writes who changes cmbfit without editing it.

    A run's configuration is none of them: every fit has one, and it names the change.

    Attributes
    ----------
    work : Path
        The folder in which commands run.
    files : list of Path
        Written so far, each once.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self.files: list[Path] = []

    def write(self, name: str, text: str) -> Path:
        """Write a file of the change, or edit it."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path not in self.files:
            self.files.append(path)
        return path

    def configure(self, **sections: Any) -> str:
        """Write the configuration of a run on one core."""
        config = {"run": {"name": "mine", "seed": 7}, "device": "cpu", **sections}
        (self.work / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return "run.yaml"


def cmbfit(*words: str) -> Result:
    """Run the command line."""
    return CliRunner().invoke(app, list(words))
