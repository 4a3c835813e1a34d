"""``cmbfit data``: list, fetch, verify and pin the registered data files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmbfit import data
from cmbfit.data.download import digest_mismatch
from cmbfit.errors import ChecksumError, ConfigError, DataError
from cmbfit.io import sha256_file

app = typer.Typer(help="List, fetch and verify data files.", no_args_is_help=True)


def _state(entry: data.Entry, user: Path | None) -> str:
    """Say where a file is, by looking for it only (`verify` reads the bytes)."""
    if entry.sha256 is None:
        return "unpinned"
    if data.cached_path(entry).is_file():
        return "cached"
    if user and any((user / name).is_file() for name in (entry.name, entry.basename)):
        return "CMBFIT_DATA"
    return "embedded" if entry.embedded else "remote"


@app.command("list")
def list_files(
    group: Annotated[str | None, typer.Option(help="Only this group or folder.")] = None,
) -> None:
    """List the registered files: name, bytes, where they are, what they are."""
    registry = data.load_registry()
    entries = list(registry.values() if group is None else registry.select(group).values())
    user = data.user_dir()
    rows = [(e.name, str(e.size or "?"), _state(e, user), e.description) for e in entries]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    current = ""
    for entry, (name, size, state, description) in zip(entries, rows, strict=True):
        if entry.group != current:
            current = entry.group
            typer.echo(f"# {current}: {registry.descriptions.get(current, '')}")
        typer.echo(f"{name:{widths[0]}}  {size:>{widths[1]}}  {state:{widths[2]}}  {description}")


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Names, folders or groups.")] = None,
    all_embedded: Annotated[bool, typer.Option(help="Unpack every embedded file into the cache.")] = False,
    offline: Annotated[bool, typer.Option(help="Use this machine's files only.")] = False,
) -> None:
    """Bring files into the cache, checked, and print their paths."""
    registry = data.load_registry()
    wanted = [e.name for n in names or [] for e in registry.select(n).values()]
    if all_embedded:
        wanted += [e.name for e in registry.values() if e.embedded]
    if not wanted:
        raise ConfigError("cmbfit data fetch: expected names or --all-embedded (see `cmbfit data list`)")
    for name in dict.fromkeys(wanted):
        typer.echo(data.fetch(name, offline=offline))


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names, folders or groups; all by default.")
    ] = None,
) -> None:
    """Check size and sha256 of the files on this machine; exit code 1 when one is bad or absent."""
    results = data.verify(names)
    bad = [r for r in results if r.state != "ok"]
    for result in bad:
        typer.echo(f"{result.state:8}  {result.place:11}  {result.name}  {result.message}")
    typer.echo(f"{len(results) - len(bad)} of {len(results)} copies are right")
    if bad:
        raise typer.Exit(1)


@app.command()
def pin(
    name: Annotated[str, typer.Argument(help="An unpinned entry.")],
    file: Annotated[Path, typer.Argument(help="The file that you downloaded and trust.")],
) -> None:
    """Print the lines that pin an entry to a file's bytes, for a file named in CMBFIT_REGISTRY."""
    entry = data.load_registry()[name]
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    wrong = digest_mismatch(file, sha256=entry.sha256, size=entry.size, md5=entry.md5)
    if wrong:
        raise ChecksumError(f"{file}: is not {name}: {wrong}")
    typer.echo("version: 1\npins:")
    typer.echo(f"  {name}: {{sha256: {sha256_file(file)}, bytes: {file.stat().st_size}}}")
