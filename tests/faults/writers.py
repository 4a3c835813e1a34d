"""Every function that publishes a file, with a product of its own as large as real ones are, or at least two pages."""

from __future__ import annotations

import ast
import io
import tarfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch

import cmbfit
from cmbfit.data import store
from cmbfit.data.archive import extract_member
from cmbfit.data.model import EmbeddedSource
from cmbfit.figures.style import new_figure, save_figure
from cmbfit.inference import exports, products
from cmbfit.inference.chain_store import Block, ChainStore
from cmbfit.io import copy_file, publish_record, write_bytes, write_json, write_text
from cmbfit.likelihood.lite import Lite
from cmbfit.likelihood.lite_files import write_lite
from cmbfit.sky import fits as sky_fits
from cmbfit.sky import standins
from cmbfit.sky.beams import Beam
from cmbfit.sky.car import Car
from cmbfit.sky.maps import StokesMap
from cmbfit.spectra import text
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.product import COMBINED, Bandpowers, write_combined
from cmbfit.spectra.transforms import FieldAlms
from cmbfit.survey.fields import write_beam_table
from cmbfit.survey.products import PairSpectra, write_alms, write_pairs
from cmbfit.theory.cosmopower import write_cosmopower
from cmbfit.theory.emulator.accuracy import measure
from cmbfit.theory.emulator.bundle import write_bundle
from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import fit_emulator
from cmbfit.theory.emulator.trainingset import write_chunk
from cmbfit.theory.hawking.injection_runs import InjectionRuns, write_runs
from cmbfit.theory.hawking.response import Response, write_responses
from cmbfit.theory.primordial.attractor import learned
from cmbfit.theory.primordial.surrogate import write_surrogates
from cmbfit.theory.spectra import Spectra
from cmbfit.theory.textfile import write_spectrum
from cmbfit.theory.transfer.store import write_arrays
from pipeline import fetch_data, ship_emulator
from tests.data.helpers import registry_of
from tests.inference.test_products import make_chain
from tests.theory.synthetic import SETTINGS, Universe
from tests.theory.test_cosmopower import network

Write = Callable[[Path], object]
RNG = np.random.default_rng(14)
NOISE = RNG.bytes(30_000)  # what no compression makes smaller
ROOT = Path(cmbfit.__file__).parents[1]
PRIMITIVES = {"atomic_path", "atomic_file", "atomic_buffer", "atomic_hdf5", "write_bytes", "copy_file"}
"""What of cmbfit.io takes bytes; text, JSON and records are built on it there."""


@cache
def _samples() -> products.Samples:
    x = RNG.normal(size=(1500, 3))
    return products.Samples(("a", "b", "H0"), [x, x + 1], [x[:, 0], x[:, 1]], 2, {"a": (0.0, None)})


def _stokes() -> StokesMap:
    return StokesMap(*RNG.normal(size=(3, 768)), coord="G", name="V", history=({"step": "simulated"},))


def _car() -> StokesMap:
    grid = Car(circle=72, rows=9, columns=20, top=4, left=0)
    values = RNG.normal(size=(3, grid.npix))
    return StokesMap(*values, coord="C", name="p", history=({"step": "simulated"},), pixelisation=grid)


def _content() -> standins.Content:
    return standins.Content(RNG.normal(size=(3, 768)), np.ones(768), 1.0, 1.0)


def _combined() -> Bandpowers:
    bins, size = 20, 300
    windows = {(s, s): RNG.random((bins, size)) for s in COMBINED} | {("ee", "bb"): RNG.random((bins, size))}
    n = len(COMBINED) * bins
    return Bandpowers(
        COMBINED, np.arange(bins) + 5.0, tuple(range(bins + 1)), {s: RNG.normal(size=bins) for s in COMBINED},
        np.diag(1 + RNG.random(n)), windows, {"fsky": 0.5},
    )  # fmt: skip


@cache
def _lite() -> Lite:
    n = 60
    windows = {"tt": RNG.random((n, 300))}
    data = RNG.normal(size=n)
    return Lite(("tt",) * n, data, np.diag(1 + RNG.random(n)), windows, data, ("Tcal",), np.eye(1), {}, 1)


def _pairs() -> PairSpectra:
    values = RNG.normal(size=(4, 20))
    entries = tuple(("tt", a, b) for a, b in ("VV", "VW", "WV", "WW"))
    return PairSpectra(
        entries, tuple(range(21)), values, values, values > 0, RNG.normal(size=(80, 80)), {"n": 1.0}
    )


def _recorded(folder: Path) -> None:
    product = folder / "x"
    if not product.exists():
        product.symlink_to(_aside("product", b"x"))  # takes no room
    publish_record(product, settings={"a": NOISE.hex()})


def _figure(folder: Path) -> None:
    fig = new_figure(3, 2)
    fig.subplots().plot(list(NOISE[:300]))
    save_figure(fig, folder / "x", {"x": np.frombuffer(NOISE[:8000], dtype="f8")})


def _archived(folder: Path) -> None:
    source = io.BytesIO()
    with tarfile.open(fileobj=source, mode="w") as tar:
        info = tarfile.TarInfo("a/b.dat")
        info.size = len(NOISE)
        tar.addfile(info, io.BytesIO(NOISE))
    archive = _aside("x.tar", source.getvalue())
    extract_member(archive, "a/b.dat", folder / "b.dat")


@cache
def elsewhere() -> Path:
    """A folder on a disk that has room; the tests remove it."""
    return Path(mkdtemp(prefix="cmbfit-writers-"))


def _aside(name: str, content: bytes = NOISE) -> Path:
    """A file on a disk that has room, written when the whole product is."""
    path = elsewhere() / name
    if not path.exists():
        path.write_bytes(content)
    return path


def _cached(folder: Path) -> None:
    registry = registry_of(NOISE, EmbeddedSource("x.xz"))
    original, store.read_embedded = store.read_embedded, lambda *_: NOISE
    try:
        store._from_source(
            registry, registry["g/file.bin"], EmbeddedSource("x.xz"), folder, offline=True, progress=False,
            allow_insecure_loopback=False,
        )  # fmt: skip
    finally:
        store.read_embedded = original


def _fetched(folder: Path) -> None:
    source, original = _aside("cached"), fetch_data.fetch
    fetch_data.fetch = lambda *_, **__: source
    try:
        fetch_data.fetch_data(name="x", output=folder / "x.dat")
    finally:
        fetch_data.fetch = original


def _shipped(folder: Path) -> None:
    """The last step alone: what a bundle is worth was measured before."""
    emulator = _aside("arrays.safetensors").parent
    stage = ship_emulator
    names = ("load_emulator", "read_arrays", "read_training_set", "split_by_background")
    before = {name: getattr(stage, name) for name in names}
    answers = (None, ({"accuracy": {}}, {}), None, (None, None))
    try:
        for name, answer in zip(names, answers, strict=True):
            setattr(stage, name, lambda *_, answer=answer, **__: answer)
        stage.ship_emulator(emulator=emulator, chunks=[], held_out=0.1, data=[], output=folder)
    finally:
        for name, function in before.items():
            setattr(stage, name, function)


@cache
def _emulator() -> tuple[LinearEmulator, object]:
    universe = Universe(np.random.default_rng(6))
    settings = {"code": "synthetic"}
    emulator = LinearEmulator(fit_emulator(universe.training_set(60), SETTINGS, LCDM_BOX), settings)
    theta = universe.theta(5)
    return emulator, measure(emulator, theta, *universe.spectra(theta))


def _bundle(folder: Path) -> None:
    emulator, errors = _emulator()
    write_bundle(folder, emulator.arrays, emulator.settings, errors)


def _runs() -> InjectionRuns:
    n, lmax = 4, 300
    effect = RNG.normal(size=(n, 4, lmax + 1))
    return InjectionRuns(
        RNG.random((n, 6)),
        np.full(n, 1e15),
        RNG.random(n),
        effect,
        RNG.random(n),
        np.arange(n),
        {"design": 1},
    )


def _responses() -> list[Response]:
    return [
        Response(1e15, {"tau": (0, 1)}, RNG.normal(size=(2, 4, 901)).astype("f4"), RNG.random((7, 3)), {})
    ]


def _block() -> Block:
    x = RNG.normal(size=(100, 8, 3))
    return Block(x, x[..., 0], np.ones(8, dtype=int), {"position": x[-1]})


def _spectra() -> Spectra:
    return Spectra({p: torch.from_numpy(RNG.normal(size=(1, 501))) for p in ("tt", "te", "ee")})


def _bin_text(folder: Path) -> None:
    bins = Bins(np.arange(2, 102, 2))
    values = {s: RNG.normal(size=bins.n) for s in ("tt", "te", "ee", "bb")}
    windows = {(s, s): RNG.random((bins.n, 101)) for s in values}
    text.write_text(folder / "x.txt", bins, values, windows, values)


WRITERS: dict[str, Write] = {
    "cmbfit.io:write_bytes": lambda d: write_bytes(d / "x.dat", NOISE),
    "cmbfit.io:copy_file": lambda d: copy_file(_aside("source"), d / "x.dat"),
    "cmbfit.io:write_text": lambda d: write_text(d / "x.yaml", NOISE.hex()),
    "cmbfit.io:write_json": lambda d: write_json(d / "x.json", {"a": NOISE.hex()}),
    "cmbfit.io:publish_record": _recorded,
    "cmbfit.likelihood.lite_files:_write_sacc": lambda d: write_lite(d / "x", _lite(), "x", "x"),
    "cmbfit.spectra.product:_write": lambda d: write_combined(d / "x.sacc.fits", _combined()),
    "cmbfit.sky.standins:_publish": lambda d: standins.write_wmap_map(d / "x.fits", _content()),
    "cmbfit.sky.standins:write_wmap_beam": lambda d: standins.write_wmap_beam(d / "x.txt", "V", 600),
    "cmbfit.sky.standins:write_beam_archive": lambda d: standins.write_beam_archive(
        d / "x.tar.gz", {"a": "100", "b": "143"}, 600
    ),
    "cmbfit.sky.fits:_write": lambda d: sky_fits.write_product(d / "x.fits", _stokes()),
    "cmbfit.sky.car_fits:write_car": lambda d: sky_fits.write_product(d / "x.fits", _car()),
    "cmbfit.figures.style:save_figure": _figure,
    "cmbfit.inference.products:write_chain": lambda d: products.write_chain(
        d / "x.h5", make_chain(np.random.default_rng(5)), {"seed": 1}
    ),
    "cmbfit.inference.products:write_samples": lambda d: products.write_samples(d / "x.h5", _samples()),
    "cmbfit.inference.exports:write_getdist": lambda d: exports.write_getdist(d / "x", _samples()),
    "cmbfit.inference.exports:write_arviz": lambda d: exports.write_arviz(d / "x.nc", _samples()),
    "cmbfit.checkpoint:Checkpoint.put": lambda d: ChainStore(d, {"a": 1}).append(0, _block()),
    "cmbfit.survey.products:write_alms": lambda d: write_alms(
        d / "x.h5", FieldAlms(*(RNG.normal(size=(3, 861)) + 1j), 40), "0" * 64
    ),
    "cmbfit.survey.products:write_pairs": lambda d: write_pairs(d / "x.h5", _pairs()),
    "cmbfit.survey.fields:write_beam_table": lambda d: write_beam_table(
        d / "x.txt", Beam.gaussian(600, 30.0)
    ),
    "cmbfit.spectra.text:write_text": _bin_text,
    "cmbfit.data.store:_from_source": _cached,
    "cmbfit.data.archive:extract_member": _archived,
    "cmbfit.theory.cosmopower:write_cosmopower": lambda d: write_cosmopower(d / "x.npz", network(RNG, 900)),
    "cmbfit.theory.textfile:write_spectrum": lambda d: write_spectrum(d / "x.txt", _spectra()),
    "cmbfit.theory.emulator.trainingset:write_chunk": lambda d: write_chunk(
        d / "x.npz", Universe(RNG).training_set(8)
    ),
    "cmbfit.theory.emulator.bundle:write_bundle": _bundle,
    "cmbfit.theory.hawking.injection_runs:write_runs": lambda d: write_runs(d / "x.npz", _runs()),
    "cmbfit.theory.hawking.response:write_responses": lambda d: write_responses(
        d / "x.npz", _responses(), {}
    ),
    "cmbfit.theory.primordial.surrogate:write_surrogates": lambda d: write_surrogates(
        d / "x.npz", {"scalar": learned("scalar"), "tensor": learned("tensor")}, {}
    ),
    "cmbfit.theory.transfer.store:write_arrays": lambda d: write_arrays(
        d / "x.safetensors", {"a": RNG.random((60, 60)).T}
    ),
    "pipeline.fetch_data:fetch_data": _fetched,
    "pipeline.ship_emulator:ship_emulator": _shipped,
}
"""Module and function to what makes it write into a folder."""

_BY_METHOD = {
    "write_text", "write_bytes", "writeto", "savefig", "savez", "savez_compressed", "savetxt", "save", "to_netcdf",
    "save_fits", "save_file", "tofile", "to_csv", "dump", "copyfile", "copy", "copy2", "copyfileobj", "move",
    "NamedTemporaryFile", "mkstemp",
}  # fmt: skip
_FROM_IO = PRIMITIVES | {"write_text", "write_json"}
_MEMORY = {"BytesIO", "StringIO", "atomic_path", "atomic_file", "atomic_buffer", "atomic_hdf5"}


@cache
def sources() -> dict[str, ast.Module]:
    """Modules of the package and the workflow, parsed."""
    out = {}
    for folder in ("cmbfit", "pipeline"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            out[name] = ast.parse(path.read_text(encoding="utf-8"))
    return out


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Functions of a module by qualified name; those inside of functions belong to the outer one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")


def _called(node: ast.Call) -> str:
    f = node.func
    return f.id if isinstance(f, ast.Name) else f.attr if isinstance(f, ast.Attribute) else ""


def writing_functions() -> set[str]:
    """Functions that hand bytes to cmbfit.io, wherever they are."""
    return {
        f"{module}:{name}"
        for module, tree in sources().items()
        if module != "cmbfit.io"
        for name, node in functions(tree)
        if any(
            isinstance(c, ast.Call) and isinstance(c.func, ast.Name) and c.func.id in PRIMITIVES
            for c in ast.walk(node)
        )
    }


def _for_writing(call: ast.Call) -> bool:
    """Whether a call may write a file: by its name, or by a mode among its arguments."""
    name = _called(call)
    if name in _BY_METHOD:
        return True
    words = [a.value for a in [*call.args, *(k.value for k in call.keywords)] if isinstance(a, ast.Constant)]
    modes = [
        w for w in words if isinstance(w, str) and w.rstrip("bt+").partition(":")[0] in {"w", "a", "x", "r+"}
    ]
    plus = [w for w in words if isinstance(w, str) and w in {"r+", "rb+", "r+b"}]
    return bool(
        name in {"open", "File", "ZipFile", "fdopen", "Dataset", "TarFile", "GzipFile"} and (modes or plus)
    )


def stray_writes(tree: ast.Module) -> list[tuple[str, int]]:
    """Calls that may write a file and do not go to memory or to a file of cmbfit.io: function and line."""
    out = []
    for name, node in functions(tree):
        safe = {
            item.optional_vars.id
            for w in ast.walk(node) if isinstance(w, ast.With)
            for item in w.items
            if isinstance(item.optional_vars, ast.Name) and isinstance(item.context_expr, ast.Call)
            and _called(item.context_expr) in _MEMORY
        } | {
            target.id
            for a in ast.walk(node) if isinstance(a, ast.Assign) and isinstance(a.value, ast.Call)
            and _called(a.value) in _MEMORY
            for target in a.targets if isinstance(target, ast.Name)
        }  # fmt: skip
        for call in ast.walk(node):
            if not isinstance(call, ast.Call) or not _for_writing(call):
                continue
            if isinstance(call.func, ast.Name) and call.func.id in _FROM_IO:
                continue
            given = {n.id for a in [*call.args, *(k.value for k in call.keywords)] for n in ast.walk(a) if isinstance(n, ast.Name)}  # fmt: skip
            if not given & safe and not _in_memory_by_nature(call):
                out.append((name, call.lineno))
    return out


def _in_memory_by_nature(call: ast.Call) -> bool:
    """`copy()` of arrays and mappings, `copy.copy(x)`, `ast.dump(tree)`, and `save(arrays)` of safetensors."""
    name, of = _called(call), call.func.value if isinstance(call.func, ast.Attribute) else None
    module = of.id if isinstance(of, ast.Name) else ""
    return (
        (name == "copy" and module != "shutil")
        or (name == "dump" and module == "ast")
        or (name == "save" and of is None)
    )
