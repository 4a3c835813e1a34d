"""``cmbfit data``: the data sets; list, fetch, verify and pin the registered data files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cmbfit import data
from cmbfit.cli.words import say
from cmbfit.data.download import digest_mismatch
from cmbfit.errors import ChecksumError, ConfigError, DataError
from cmbfit.io import sha256_file

app = typer.Typer(help="List, fetch and verify data files.", no_args_is_help=True)


def _state(entry: data.Entry, user: Path | None) -> str:
    """Say where a file is, by looking for it only (`verify` reads the bytes)."""
    if entry.sha256 is None:
        return "unpinned"
    if data.is_file(data.cached_path(entry)):
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
            say(f"# {current}: {registry.descriptions.get(current, '')}")
        say(f"{name:{widths[0]}}  {size:>{widths[1]}}  {state:{widths[2]}}  {description}")


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Names, folders or groups.")] = None,
    all_embedded: Annotated[bool, typer.Option(help="Unpack every embedded file into the cache.")] = False,
    offline: Annotated[bool, typer.Option(help="Use this machine's files only.")] = False,
    trust_first: Annotated[
        bool,
        typer.Option(
            "--trust-first",
            help="Download files without a published sha256 too, and pin them to what comes now.",
        ),
    ] = False,
) -> None:
    """Bring files into the cache, checked, and print their paths.

    With --trust-first, files for which nobody publishes a sha256 come over https, are checked as far as can be
    (size, published md5, whole FITS), and are pinned in your lock file: checked like any other from then on.

    Example: cmbfit data fetch --trust-first wmap9 planck_pr3
    """
    registry = data.load_registry()
    wanted = [e.name for n in names or [] for e in registry.select(n).values()]
    if all_embedded:
        wanted += [e.name for e in registry.values() if e.embedded]
    if not wanted:
        raise ConfigError("cmbfit data fetch: expected names or --all-embedded (see `cmbfit data list`)")
    names_once = list(dict.fromkeys(wanted))
    if trust_first:
        if offline:
            raise ConfigError("cmbfit data fetch: --trust-first downloads, --offline does not: give one")
        _say_trust([registry[n] for n in names_once])
        for name in names_once:
            say(data.trust_first(name, registry=registry, say=lambda line: say(line, err=True)))
        return
    for name in names_once:
        say(data.fetch(name, offline=offline))


def _say_trust(entries: list[data.Entry]) -> None:
    unpinned = [e for e in entries if e.sha256 is None]
    if unpinned:
        say(
            f"{len(unpinned)} of {len(entries)} files have no published sha256: what their publishers' sites send now over "
            f"https is trusted and pinned in {data.lock_file()}",
            err=True,
        )


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
        say(f"{result.state:8}  {result.place:11}  {result.name}  {result.message}")
    say(f"{len(results) - len(bad)} of {len(results)} copies are right")
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
    say("version: 1\npins:")
    say(f"  {name}: {{sha256: {sha256_file(file)}, bytes: {file.stat().st_size}}}")


@app.command()
def sets(
    name: Annotated[
        str | None, typer.Argument(help="A data set or combination: everything that is known of it.")
    ] = None,
) -> None:
    """List the data sets that fits take, with multipoles, number of values, nuisance parameters; or describe one.

    Example: cmbfit data sets planck2018_plik_lite_ttteee
    """
    from cmbfit.likelihood.datasets.load import dataset_names, description  # noqa: PLC0415 (not for --help)
    from cmbfit.likelihood.selection import combinations, select  # noqa: PLC0415

    if name is None:
        names = dataset_names()
        width = max(map(len, names))
        for one in names:
            spec = description(one)
            say(f"{one:{width}}  {_ranges(spec)}  {_count(spec)}  {_nuisances(spec)}")
        for combination, parts in combinations().items():
            say(f"{combination:{width}}  = {' + '.join(s.name for s in select(parts['data']))}")
        return
    chosen = select([name])  # an unknown name is refused with those of both sorts
    if name in combinations():
        say(f"{name}: {combinations()[name]['title']}")
        for selection in chosen:
            options = f"  {dict(selection.options)}" if selection.options else ""
            say(f"  {selection.name}{options}")
        return
    spec = description(name)
    rows = {
        "redshifts" if spec.get("redshifts") else "multipoles": _ranges(spec),
        "values": _count(spec, name),
        "nuisances": _nuisances(spec),
    }
    rows |= {key: str(spec[key]) for key in ("citation", "approximation") if spec.get(key)}
    say(f"{name}: {spec['title']}")
    for key, text in rows.items():
        say(f"  {key:13}  {text}")


def _ranges(spec: Mapping[str, Any]) -> str:
    """Return the multipoles of each pair, or redshifts; what else sees the same stands behind the first, its own."""
    if spec.get("redshifts"):
        ((sample, (low, high)), *_) = spec["redshifts"].items()
        return f"{sample} z {low:g}-{high:g}"
    ((_, pairs), *_) = spec["sky"].items()
    return ", ".join(f"{pair} {low}-{high}" for pair, (low, high) in pairs.items())


def _count(spec: Mapping[str, Any], name: str | None = None) -> str:
    """Return how many numbers a data set has: as its description says, or by reading it if its files are here."""
    if (said := spec.get("n_data", spec.get("n_bins"))) is not None:
        return f"{said} values"
    if name is None:
        return "-"
    if (group := spec.get("files")) and not _all_here(str(group)):
        return f"not known before its files are here: cmbfit data fetch {group}"
    from cmbfit.likelihood.datasets.load import load_likelihood  # noqa: PLC0415 (reads the data)

    found = load_likelihood(name).info.n_data
    return f"{found} values" if found else "no Gaussian bandpowers: maps, or tables of a probability"


def _all_here(group: str) -> bool:
    user = data.user_dir()
    states = (_state(entry, user) for entry in data.load_registry().select(group).values())
    return all(state in ("cached", "CMBFIT_DATA", "embedded") for state in states)


def _nuisances(spec: Mapping[str, Any]) -> str:
    out = []
    for parameter, prior in spec["nuisance"].items():
        ((kind, (a, b)),) = prior.items()
        out.append(f"{parameter} {a:g} to {b:g}" if kind == "uniform" else f"{parameter} {a:g} +- {b:g}")
    out += [f"{' and '.join(row['names'])} together" for row in spec.get("joint_priors", ())]
    return ", ".join(out) or "no nuisances"
