"""How to repeat a run, and whether the checkout at hand would: every difference by name."""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import cmbfit
from cmbfit.config.merge import merge
from cmbfit.config.read import read_config_file
from cmbfit.errors import DataError, one_line, shown
from cmbfit.io import provenance as provenance_now
from cmbfit.io import read_json, reading, sha256_file
from cmbfit.provenance.codehash import code_hash
from cmbfit.provenance.crate import METADATA

_RECORD = "the record of a finished run (was a file of it edited?)"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?", re.ASCII)
_DEFAULT = Path("pipeline", "config", "default.yaml")


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was.

    Attributes
    ----------
    what : str
        ``results`` (a product was altered), ``code``, ``configuration``, ``data``, ``emulator`` or ``version``.
    name : str
    then, now : str
        What the run recorded, and what there is.
    """

    what: str
    name: str
    then: str
    now: str

    @property
    def moves_numbers(self) -> bool:
        """Return whether results may differ by more than rounding."""
        return self.what != "version"

    def __str__(self) -> str:
        return one_line(f"{self.what}: {self.name}: {self.then} in the run, {self.now} here")


def checkout_root() -> Path:
    """Return the checkout that this cmbfit runs from.

    Raises
    ------
    DataError
        If cmbfit was installed without its workflow.
    """
    root = Path(cmbfit.__file__).resolve().parent.parent
    if not (root / "Snakefile").is_file():
        raise DataError(
            f"{root}: expected a checkout with a Snakefile, found an installed package; "
            "run this from a clone with `pip install -e .`, or name one with --checkout"
        )
    return root


def _differing(then: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, then, now) of what differs between two configurations."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            yield from _differing(
                then.get(key, "nothing"), now.get(key, "nothing"), f"{path}.{key}" if path else str(key)
            )
    elif then != now:
        yield path, then, now


def _compare_code(folder: Path, root: Path) -> Iterator[Difference]:
    """Compare the code of every stage, and what each fit chose of the registries, with a checkout's."""
    file = folder / "workflow" / "code.json"
    for name, record in read_json(file).items():
        if strange := [x for x in record["modules"] if not _MODULE.fullmatch(x)]:
            raise DataError(f"{file}: {shown(name)}: expected names of modules, found {shown(strange[0])}")
        try:
            here = code_hash(*record["modules"], registered=record["registered"], root=root)
        except FileNotFoundError as error:
            here = str(error)
        if here != record["hash"]:
            yield Difference("code", name, record["hash"], here)


def _compare_configuration(folder: Path, root: Path) -> Iterator[Difference]:
    recorded = read_json(folder / "workflow" / "config.json")
    default = read_config_file(root / _DEFAULT)
    # what is repeated is the recorded configuration on top of this checkout's default
    for key, then, now in _differing(recorded, merge(default, recorded)):
        yield Difference("configuration", key, str(then), str(now))


def _compare_data(summary: Mapping[str, Any], root: Path) -> Iterator[Difference]:
    from cmbfit.data import load_registry  # noqa: PLC0415 (reads a thousand lines of YAML)

    registry = load_registry(root / "data" / "registry.yaml")
    for entry in summary["provenance"]["data"]:
        now = registry[entry["name"]].sha256 if entry["name"] in registry else "not registered"
        if now != entry["sha256"]:
            yield Difference("data", entry["name"], str(entry["sha256"]), str(now))


def _compare_emulator(summary: Mapping[str, Any], root: Path) -> Iterator[Difference]:
    settings = summary["provenance"]["settings"]["theory"]["emulator"]
    name = settings.get("bundle") if "train" not in settings else None
    if name is None:
        return  # trained in the run: its code and configuration are compared
    then = summary["provenance"]["emulator"]["arrays_sha256"]
    folders = (Path(name), root / "cmbfit" / "theory" / "emulator" / "bundles" / name)
    found = next((f for f in (folder / "arrays.safetensors" for folder in folders) if f.is_file()), None)
    now = "missing" if found is None else sha256_file(found)
    if now != then:
        yield Difference("emulator", str(name), then, now)


def _compare_versions(summary: Mapping[str, Any]) -> Iterator[Difference]:
    recorded = summary["provenance"]
    if recorded["python"] != platform.python_version():
        yield Difference("version", "python", recorded["python"], platform.python_version())
    for name, then in recorded["packages"].items():
        try:
            now: str | None = metadata.version(name)
        except metadata.PackageNotFoundError:
            now = None
        if then != now:
            yield Difference("version", name, str(then), str(now))


def _inside(folder: Path, name: str) -> Path:
    """Return a product's path, or raise :class:`DataError`: a crate may name any file of this machine."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{folder / METADATA}: {shown(name)}: expected a file inside the run's folder; what lies elsewhere is not read"
        )
    return path


def altered_products(folder: str | Path) -> Iterator[Difference]:
    """Yield the products of a run that are not what its RO-Crate says."""
    folder = Path(folder)
    for entity in read_json(folder / METADATA)["@graph"]:
        types = entity.get("@type")
        if "sha256" in entity and types == "File":
            path = _inside(folder, entity["@id"])
            now = sha256_file(path) if path.is_file() else "missing"
            if now != entity["sha256"]:
                yield Difference("results", entity["@id"], entity["sha256"], now)


def compare(folder: str | Path, root: str | Path | None = None) -> list[Difference]:
    """Return what stands between a run and its repetition by a checkout.

    Parameters
    ----------
    folder : str or Path
        A finished run: ``results/<name>``.
    root : str or Path, optional
        A checkout; default: the one that this cmbfit runs from.

    Raises
    ------
    DataError
        If the folder is no finished run, its record is not as a run writes it, or there is no checkout.
    """
    folder = Path(folder)
    root = checkout_root() if root is None else Path(root)
    if not (root / _DEFAULT).is_file():
        raise DataError(f"{root}: expected a checkout with {_DEFAULT}, found none")
    if not (folder / METADATA).is_file():
        raise DataError(
            f"{folder}: expected a finished run (ro-crate-metadata.json, summary.json), found none there"
        )
    summary = read_json(folder / "summary.json")
    with reading(folder, _RECORD):
        return [
            *altered_products(folder),
            *_compare_code(folder, root),
            *_compare_configuration(folder, root),
            *_compare_data(summary, root),
            *_compare_emulator(summary, root),
            *_compare_versions(summary),
        ]


def instructions(folder: str | Path, summary: Mapping[str, Any]) -> list[str]:
    """Return the commands that repeat a run, with what it recorded of itself.

    They are to be pasted into a shell, and a record may come from anywhere: it adds comments of one line, and a commit
    that is one.

    Raises
    ------
    DataError
        If the record is not as a run writes it.
    """
    with reading(folder, _RECORD):
        provenance = summary["provenance"]
        run, git = provenance["settings"]["run"], provenance["git"]
        commit, dirty = git["commit"], git["dirty"]
        head = (
            f"# run {run['name']}, seed {run['seed']}, {provenance['created']}, cmbfit {provenance['cmbfit']}, "
            f"Python {provenance['python']}"
        )
    if commit is not None and not (isinstance(commit, str) and _COMMIT.fullmatch(commit)):
        raise DataError(
            f"{folder}: the record's commit: expected 40 hexadecimal digits or null, found {shown(commit)}; "
            "was a file of it edited?"
        )
    now = provenance_now()["git"]["commit"]
    same = "this checkout's commit" if now and now == commit else f"here: {now or 'no git'}"
    changes = (
        "   # with changes that were not committed: their hashes are in workflow/code.json" if dirty else ""
    )
    return [
        one_line(head),
        f"git checkout {commit or 'UNKNOWN'}   # {same}{changes}",
        "make env",
        f".venv/bin/snakemake --cores 8 --configfile {shlex.quote(f'{folder}/workflow/config.json')} --directory ANOTHER_FOLDER",
    ]
