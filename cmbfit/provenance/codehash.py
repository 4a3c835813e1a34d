"""A content hash of the code that makes a product: modules, all that they import at any depth, and what these read.

Snakemake watches a rule's text and its ``script:`` file, but not the library behind a shell command, so that rules and
chains carry this hash. Comments, docstrings and formatting do not count, since the syntax tree is hashed. A file that is
shipped in a package (a table, a template, YAML) counts for the modules that hold its name as text.

Registries do not count as a whole: their tables are left out, and what a fit takes from them is named by
:func:`cmbfit.provenance.uses.fit_uses`. A new primordial model therefore leaves the hashes of all other fits alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from cmbfit.provenance.source import read_source
from cmbfit.registry import module_place

_PACKAGES = ("cmbfit", "pipeline")
_CODE = (".py", ".pyc", ".so")
_BY_FIT = (
    "likelihood/datasets/*/dataset.yaml",
    "likelihood/datasets/combinations.yaml",
    "theory/emulator/bundles/*/*",
)
"""Files of cmbfit that no module claims: a fit hashes those that it uses itself."""
_NOT_COUNTED = ("shipped.json", "py.typed")
"""Files of cmbfit that say nothing new: the sha256 of files that count themselves."""


@cache
def _folder(package: str, root: Path | None) -> Path | None:
    """Return the folder of a top package: below a given root, or where Python would import it from."""
    if root is not None:
        return root / package if (root / package).is_dir() else None
    place = module_place(package)
    return Path(place.origin).parent if place and place.origin and place.submodule_search_locations else None


@cache
def _module_file(module: str, root: Path | None) -> Path | None:
    top, *rest = module.split(".")
    folder = _folder(top, root)
    if folder is None:
        place = module_place(module) if root is None else None  # a module of one file
        return Path(place.origin) if place and place.origin and place.origin.endswith(".py") else None
    base = folder.joinpath(*rest)
    candidates = (base / "__init__.py", *([base.with_suffix(".py")] if rest else []))
    return next((path for path in candidates if path.is_file()), None)


@cache
def _lazy(module: str, root: Path | None) -> frozenset[str]:
    """Return the modules behind a name of a package that imports its names when they are asked for."""
    package = module.rpartition(".")[0]
    path = _module_file(package, root) if package else None
    if path is None or path.name != "__init__.py" or _module_file(module, root) is not None:
        return frozenset()
    source = read_source(path)
    if not source.lazy:
        return frozenset()
    return frozenset(x for x in source.texts if "." in x and " " not in x and _module_file(x, root))


@cache
def _followed(module: str, packages: frozenset[str], root: Path | None) -> dict[str, Path]:
    """Return the files that run when a module is imported: importing a.b.c runs a, a.b and a.b.c."""
    parts = module.split(".")
    if parts[0] not in packages:
        return {}
    chain = {".".join(parts[: i + 1]): None for i in range(len(parts))}
    found = {name: _module_file(name, root) for name in chain}
    return {name: path for name, path in found.items() if path is not None}


def code_files(
    *modules: str, files: Iterable[str | Path] = (), registered: bool = False, root: str | Path | None = None
) -> dict[str, Path]:
    """Return every Python file that modules may run, by the module's name.

    Parameters
    ----------
    *modules : str
        ``package.module``, or ``package.module:attribute`` as registries write it.
    files : iterable of path, optional
        The user's own Python files, which stand under their path.
    registered : bool
        Follow the tables of registries too: all models and readers, not those of one fit.
    root : path, optional
        Folder that holds the packages; default: where Python imports them from.

    Raises
    ------
    FileNotFoundError
        If there is no such module.
    """
    root = None if root is None else Path(root)
    starts = [module.partition(":")[0] for module in modules]
    packages = frozenset({*_PACKAGES, *(module.partition(".")[0] for module in starts)})
    seen = {str(path): Path(path) for path in files if str(path).endswith(".py")}
    todo = {name for path in seen.values() for name in read_source(path).imports(())}
    for module in starts:
        if _module_file(module, root) is None:
            raise FileNotFoundError(f"no module {module} ({module.replace('.', '/')}.py)")
        todo.add(module)
    while todo:
        module = todo.pop()
        todo |= _lazy(module, root) - seen.keys()
        for name, path in _followed(module, packages, root).items():
            if name in seen:
                continue
            seen[name] = path
            own = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
            source = read_source(path)
            todo |= source.imports(tuple(own)) | (source.registered if registered else set())
    return dict(sorted(seen.items()))


@cache
def resources_of(package: Path) -> frozenset[Path]:
    """Return the files of a package that are no code, and that count."""
    return frozenset(
        path
        for path in package.rglob("*")
        if path.is_file()
        and path.suffix not in _CODE
        and "__pycache__" not in path.parts
        and path.relative_to(package).as_posix() not in _NOT_COUNTED
    )


@cache
def chosen_by_fits(package: Path) -> frozenset[Path]:
    """Return the files of a package that count for the fits that use them, and for no module."""
    return frozenset(
        p for p in resources_of(package) if any(p.relative_to(package).match(pattern) for pattern in _BY_FIT)
    )


@cache
def _resources_by_place(package: Path) -> dict[str, frozenset[Path]]:
    """Return what lies at a place of a package: a resource file, or all of a folder that is no package."""
    found: dict[str, set[Path]] = {}
    for resource in resources_of(package) - chosen_by_fits(package):
        for place in (resource, *resource.relative_to(package).parents[:-1]):
            whole = package / place
            if not (whole / "__init__.py").is_file():
                found.setdefault(str(whole), set()).add(resource)
    return {place: frozenset(files) for place, files in found.items()}


@cache
def claimed(path: Path, package: Path) -> tuple[Path, ...]:
    """Return the resource files that a module names, sorted.

    By a text that is the file's path, or that of a folder above it which is no package, from the module's own folder or
    from the package's top.
    """
    places = _resources_by_place(package)
    named = (f"{base}/{text}" for base in (path.parent, package) for text in read_source(path).texts)
    return tuple(sorted(frozenset().union(*(places.get(name, ()) for name in named))))


@cache
def _digest(path: Path) -> str:
    if path.suffix == ".py":
        return read_source(path).digest
    return hashlib.sha256(path.read_bytes()).hexdigest()


def code_hash(
    *modules: str, files: Iterable[str | Path] = (), registered: bool = False, root: str | Path | None = None
) -> str:
    """Return the hash of modules, of all they import and of the shipped files that these name.

    Parameters
    ----------
    *modules, files, registered, root
        As for :func:`code_files`; files that are no Python count by their bytes.

    Examples
    --------
    >>> len(code_hash("cmbfit.theory.spectra"))
    16
    """
    root = None if root is None else Path(root)
    files = list(files)
    found = code_files(*modules, files=files, registered=registered, root=root)
    lines = {name: _digest(path) for name, path in found.items()}
    lines |= {str(path): _digest(Path(path)) for path in files}
    lines |= {f"starts with {module}": "" for module in modules}
    resources: dict[Path, Path] = {}
    for name, path in found.items():
        package = _folder(name.partition(".")[0], root)
        if package is not None and path.is_relative_to(package):
            resources |= dict.fromkeys(claimed(path, package), package)
            if registered:
                resources |= dict.fromkeys(chosen_by_fits(package), package)
    lines |= {
        f"{folder.name}/{p.relative_to(folder).as_posix()}": _digest(p) for p, folder in resources.items()
    }
    text = "".join(f"{name} {digest}\n" for name, digest in sorted(lines.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def forget() -> None:
    """Read all files anew: for a process that outlives an edit of them."""
    for function in (
        _folder,
        _module_file,
        _followed,
        _lazy,
        read_source,
        resources_of,
        chosen_by_fits,
        _resources_by_place,
        claimed,
        _digest,
    ):
        function.cache_clear()
