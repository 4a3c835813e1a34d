"""The package as a user gets it: quick and silent to import, and whole as a wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from cmbfit._moved import MOVED

ROOT = Path(__file__).resolve().parent.parent
# each costs a tenth of a second or more: nobody should pay for what a command does not use
HEAVY = {
    "astropy", "arviz", "camb", "classy", "emcee", "getdist", "h5py", "healpy", "jax", "jinja2", "latex2mathml",
    "matplotlib", "numpy", "rocrate", "sacc", "scipy", "snakemake", "torch", "xarray",
}  # fmt: skip


def _python(code: str, *options: str) -> str:
    run = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


@pytest.mark.parametrize(("module", "allowed"), [("cmbfit", set()), ("cmbfit.cli.app", {"numpy"})])
def test_importing_is_light_and_silent(module: str, allowed: set[str]) -> None:
    """Held to the modules that are loaded, since times depend on the machine."""
    names = _python(
        f"import {module}, sys; print(*{{m.split('.')[0] for m in sys.modules}})", "-W", "error"
    ).split()
    assert HEAVY & set(names) <= allowed


def test_help_needs_no_science() -> None:
    code = (
        "import sys\nfrom cmbfit.cli.app import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as e:\n    assert e.code == 0\n"
        "print(*{m.split('.')[0] for m in sys.modules})"
    )
    output = _python(code, "-W", "error")
    assert "reproduce" in output
    assert HEAVY & set(output.splitlines()[-1].split()) <= {"numpy"}


SCIENCE = HEAVY - {"numpy"}
WITHOUT_TORCH = SCIENCE - {"torch"} | {"pandas"}  # one evaluation by an emulator: nothing but tensors
POINT = [
    f"--set={x}"
    for x in ("ombh2=0.0224", "omch2=0.12", "theta_mc=1.041", "tau=0.055", "logA=3.045", "ns=0.965")
]
WORDS = {
    "init": (["init", "--help"], SCIENCE),
    "check": (
        ["check", "bad.yaml"],
        SCIENCE,
    ),  # a key that the schema does not know, and no theory to go on with
    "run": (["run", "bad.yaml"], SCIENCE),
    "trust": (["trust", "--help"], SCIENCE),
    "data list": (["data", "list"], SCIENCE),
    "loglike": (
        ["loglike", "--data", "planck2018_plik_lite_ttteee", *POINT],
        WITHOUT_TORCH,
    ),
    "theory": (["theory", *POINT, "-o", "spectra.txt"], WITHOUT_TORCH),
}


@pytest.mark.parametrize("command", WORDS)
def test_cheap_commands_import_nothing_heavy(command: str, tmp_path: Path) -> None:
    words, forbidden = WORDS[command]
    (tmp_path / "bad.yaml").write_text("likelyhood: 3\ntheory: 3\n")
    program = (
        f"import os, sys; os.chdir({str(tmp_path)!r})\nfrom cmbfit.cli.app import main\n"
        f"sys.argv = {['cmbfit', *words]!r}\ncode = 0\ntry:\n    main()\nexcept SystemExit as stop:\n    code = stop.code\n"
        "print(code, *{m.split('.')[0] for m in sys.modules})"
    )
    code, *modules = _python(program).splitlines()[-1].split()
    # a command that failed early would import little
    assert code == ("2" if "bad.yaml" in words else "0")
    assert not forbidden & set(modules)


@pytest.mark.parametrize(
    "module",
    ["cmbfit.cli_fit", "cmbfit.theory.featured", "cmbfit.likelihood.leaky", "cmbfit.inference.closed_tables"],
)
def test_a_module_that_moved_says_where_it_is(module: str) -> None:
    for statement in (f"import {module}", f"from {module} import anything"):
        with pytest.raises(ImportError, match=f"{module} has moved: import {MOVED[module]}"):
            exec(statement, {})  # noqa: S102 (the statement as a user writes it)
    assert find_spec(MOVED[module])


def test_only_moved_names_are_refused() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"cmbfit\.nothing_such"):
        import_module("cmbfit.nothing_such")
    assert all(find_spec(now) for now in set(MOVED.values()))


def test_the_version_is_that_of_the_installed_package() -> None:
    from importlib import metadata

    import cmbfit

    assert cmbfit.__version__ == metadata.version("cmbfit")
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = cmbfit.nothing_such


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the checkout and unpacked; dependencies come from the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            # hatchling comes from the package index, as for `pip install .`
            *(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)),
        ],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (wheel,) = folder.glob("cmbfit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.network
def test_the_wheel_has_data_and_workflow_and_no_top_level_pipeline(unpacked: Path) -> None:
    for needed in (
        "_data/registry.yaml",
        "_data/embedded/planck2018_plik_lite",
        "_workflow/Snakefile",
        "_workflow/environment.yml",
        "_workflow/pipeline/config/default.yaml",
        "_workflow/pipeline/rules/common.smk",
        "_workflow/pipeline/report/index.rst",
        "_workflow/pipeline/write_summary.py",
        "config/schema.yaml",
        "provenance/references.bib",
        "report/templates/page.html.jinja",
        "theory/emulator/bundles/lcdm_planck2018/arrays.safetensors",
        "theory/emulator/bundles/lcdm_high/arrays.safetensors",
        "theory/extrapolation_template.npz",
        "likelihood/datasets/planck2018_lowl_ee/dataset.yaml",
    ):
        assert (unpacked / "cmbfit" / needed).exists(), needed
    assert not (unpacked / "cmbfit/_config").exists()
    assert [p.name for p in unpacked.iterdir() if p.suffix != ".dist-info"] == ["cmbfit"]


def _away(unpacked: Path, folder: Path, *words: str) -> str:
    """Run the command line of the unpacked wheel in a folder far from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    code = (
        f"import sys, cmbfit; assert cmbfit.__file__.startswith({str(unpacked)!r})\n"
        f"from cmbfit.cli.app import main; sys.argv = {['cmbfit', *words]!r}; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.workflow
def test_the_wheel_plans_and_fits_away_from_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    assert "wrote mine.yaml" in _away(unpacked, tmp_path, "init", "mine")
    assert "nothing wrong" in _away(unpacked, tmp_path, "check", "mine.yaml")
    assert "ombh2" in _away(unpacked, tmp_path, "fit", "mine.yaml", "--quick")


@pytest.mark.slow
@pytest.mark.workflow
def test_the_wheel_knows_every_job_of_a_run(unpacked: Path, tmp_path: Path) -> None:
    planned = _away(unpacked, tmp_path, "run", "tiny", "-n")
    for job in ("compute_theory", "train_emulator", "sample_posterior", "write_report", "gate"):
        assert job in planned
    assert "dry-run" in planned
