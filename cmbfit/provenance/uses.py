"""What one fit uses: the code and the files that, changed, make it another fit.

With the hash of the entry point that runs it (:mod:`cmbfit.provenance.codehash`) this is all that its products depend on.
Nothing of the user's code is run to find it out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cmbfit.errors import BundleError
from cmbfit.inference.samplers import SAMPLERS
from cmbfit.io import sha256_file, sha256_json
from cmbfit.likelihood.datasets.catalog import description, description_file, own_files, registered_sums
from cmbfit.likelihood.datasets.kinds import KINDS
from cmbfit.likelihood.selection import FORMATS, Selection, select
from cmbfit.provenance.codehash import code_hash
from cmbfit.registry import LIKELIHOODS, THEORIES, Registry
from cmbfit.theory.emulator.bundle import bundle_folder
from cmbfit.theory.primordial.registry import PRIMORDIAL_MODELS
from cmbfit.theory.transfer import TENSORS

T = TypeVar("T")
_OWN = "cmbfit.likelihood.sacc_data:read_own_spectra"
_EVAPORATION = "cmbfit.theory.hawking.response:EvaporationTheory"


class UsedFit(Protocol):
    """The parts of a fit that name code and files."""

    @property
    def data(self) -> Iterable[str | Mapping[str, Any]]: ...  # noqa: D102

    @property
    def theory(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def sampler(self) -> Mapping[str, Any]: ...  # noqa: D102


@dataclass(frozen=True)
class Uses:
    """What a fit uses.

    Attributes
    ----------
    modules : tuple of str
        ``module:attribute`` of its readers, its primordial models, its sampler and its theory, sorted.
    files : dict of str to str
        sha256 by path, of shipped files by name: descriptions and files of its data sets, the user's own files and
        code, manifests of its emulator and its transfer functions.
    """

    modules: tuple[str, ...]
    files: dict[str, str]

    def hash(self) -> str:
        """Return one hash of it all: of the modules with all that they import, and of the files."""
        own = [x for x in self.files if x.endswith(".py")]
        everything = [code_hash(*self.modules, files=own), sorted(self.files.items())]
        return hashlib.sha256(sha256_json(everything).encode()).hexdigest()[:16]


def fit_uses(fit: UsedFit, made_in: str | Path | None = None) -> Uses:
    """Return what a fit uses.

    What a run makes itself, an emulator that it trains for example, is left out, whether it is there yet or not: the
    workflow watches it, and a hash that changed when it is made would make everything run twice.

    Parameters
    ----------
    fit : UsedFit
        ``data`` as :func:`~cmbfit.likelihood.selection.select` takes it; ``theory`` with emulator, primordial, tensors,
        transfer, evaporation, class; ``sampler`` with kind.
    made_in : path, optional
        Folder of the run.

    Raises
    ------
    CmbfitError
        If a name is unknown or a file of the user's is missing.
    """
    found = _Found(None if made_in is None else Path(made_in))
    for selection in select(list(fit.data)):
        found.add_data(selection)
    found.add_theory(fit.theory)
    found.add(SAMPLERS, fit.sampler.get("kind", "emcee"))
    return Uses(tuple(sorted(found.modules)), dict(sorted(found.files.items())))


class _Found:
    """Modules and files as they are gathered."""

    def __init__(self, made_in: Path | None) -> None:
        self._made_in = made_in
        self.modules: set[str] = set()
        self.files: dict[str, str] = {}

    def add(self, registry: Registry[T], name: str, folder: str | Path = ".") -> None:
        """Add what a registry's name stands for, a module or a user's file."""
        target = registry.target(name, folder)
        place = target.rpartition(":")[0]
        if place.endswith(".py"):
            self.files[place] = sha256_file(place)
        else:
            self.modules.add(target)

    def add_data(self, selection: Selection) -> None:
        self.files |= selection.user_hashes()
        match selection.kind:
            case "dataset":
                path = description_file(selection.name)
                self.files.setdefault(f"data set {selection.name}", sha256_file(path))
                if selection.path is None:  # of another package; a user's own stand there already
                    self.files |= {
                        f"{selection.name}/{x}": sha256_file(p) for x, p in own_files(selection.name).items()
                    }
                self.files |= {name: x or "not pinned" for name, x in registered_sums(selection.name).items()}
                self.add(KINDS, description(selection.name)["kind"], path.parent)
            case "likelihood":
                self.add(LIKELIHOODS, selection.name)
            case "own":
                self.modules.add(_OWN)
            case kind:
                self.add(FORMATS, kind)

    def add_theory(self, theory: Mapping[str, Any]) -> None:
        for key in ("primordial", "tensors"):
            if theory.get(key):
                self.add(PRIMORDIAL_MODELS, theory[key])
        if theory.get("evaporation"):
            self.modules.add(_EVAPORATION)
        if theory.get("class"):
            self.add(THEORIES, theory["class"])
        if theory.get("emulator"):
            self._add_emulator(str(theory["emulator"]))
        if theory.get("transfer") and not self._made(theory["transfer"]):
            folder = Path(theory["transfer"])
            for manifest in (folder / "manifest.json", folder / TENSORS / "manifest.json"):
                if manifest.is_file():
                    self.files[str(manifest)] = sha256_file(manifest)

    def _made(self, folder: str | Path) -> bool:
        return self._made_in is not None and Path(folder).is_relative_to(self._made_in)

    def _add_emulator(self, name: str) -> None:
        if self._made(name):
            return
        try:
            folder = bundle_folder(name)
        except BundleError:
            if Path(name).name == name:
                raise  # no folder that a run could still make
            return
        # shipped ones by name: a checkout and an installed package are the same
        label = f"emulator {name}" if folder != Path(name) else str(folder / "manifest.json")
        self.files[label] = sha256_file(folder / "manifest.json")
