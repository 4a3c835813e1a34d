"""Parts of a configuration as files: rules hand stages a path, and Snakemake sees in it when the content changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cmbfit.errors import ConfigError
from cmbfit.io import json_text, sha256_json, write_text
from cmbfit.report.figures import CAPTIONS


class Sections:
    """The JSON files of one run's configuration.

    Parameters
    ----------
    folder : str
        Where they lie, ``results/<run>/config``.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._values: dict[str, Any] = {}

    def path(self, name: str, value: Any) -> str:
        """Remember a JSON-able value; return the path of its file, which changes with the content.

        Raises
        ------
        ConfigError
            If the name is no file name that any shell and file system takes.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise ConfigError(f"{name!r}: expected a name of letters, digits, dots, dashes and underscores")
        return self._remember(name, value, "json")

    def caption(self, kind: str) -> str:
        """Remember the caption of a kind of figure for Snakemake's own report; return the path of its file (rst)."""
        # what would be markup there
        text = re.sub(r"([\\*`|_])", r"\\\1", CAPTIONS[kind])
        return self._remember(f"caption.{kind}", text, "rst")

    def _remember(self, name: str, value: Any, suffix: str) -> str:
        path = f"{self.folder}/{name}.{sha256_json(value)[:12]}.{suffix}"
        self._values[path] = value
        return path

    def write(self) -> None:
        """Write what is missing or altered, and remove the files of an earlier configuration."""
        for path, value in self._values.items():
            text = value if path.endswith(".rst") else json_text(value)
            # a file is known by its name, which names the content: one that was edited by hand would be believed
            if not Path(path).is_file() or Path(path).read_bytes() != text.encode():
                write_text(path, text)
        for suffix in ("json", "rst"):
            for file in Path(self.folder).glob(f"*.{suffix}"):
                if str(file) not in self._values:
                    file.unlink()
