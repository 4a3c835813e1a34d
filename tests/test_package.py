"""The package as a user gets it: quick and silent to import, and whole as a wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# each costs a tenth of a second or more: nobody should pay for what a command does not use
HEAVY = {
    "astropy", "arviz", "camb", "classy", "emcee", "getdist", "h5py", "healpy", "jax", "jinja2", "latex2mathml",
    "matplotlib", "netCDF4", "numpy", "rocrate", "sacc", "scipy", "snakemake", "torch",
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


def test_the_version_is_that_of_the_installed_package() -> None:
    from importlib import metadata

    import cmbfit

    assert cmbfit.__version__ == metadata.version("cmbfit")
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = cmbfit.nothing_such


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_wheel_is_whole_and_fits(tmp_path: Path) -> None:
    """Build, install into an environment of its own (dependencies from this one), and fit Planck away from the checkout."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("cmbfit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for needed in (
        "cmbfit/_data/registry.yaml",
        "cmbfit/_config/default.yaml",
        "cmbfit/provenance/references.bib",
        "cmbfit/report/templates/page.html.jinja",
        "cmbfit/theory/emulator/bundles/lcdm_planck2018/arrays.safetensors",
        "cmbfit/theory/emulator/bundles/lcdm_high/arrays.safetensors",
        "cmbfit/theory/extrapolation_template.npz",
        "cmbfit/likelihood/datasets/planck2018_lowl_ee/dataset.yaml",
    ):
        assert needed in names, needed
    assert any(n.startswith("cmbfit/_data/embedded/planck2018_plik_lite/") for n in names)
    assert not any(n.startswith(("tests/", "results/", "pipeline/")) for n in names)

    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*/site-packages"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(site), str(wheel)],
        check=True, timeout=300,
    )  # fmt: skip
    # dependencies from the environment of the tests, after the wheel; not its editable cmbfit
    here = next(p for p in sys.path if p.endswith("site-packages"))
    (tmp_path / "mine.yaml").write_text("run: {name: mine}\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = (
        f"import sys; sys.path.append({here!r}); import cmbfit; assert cmbfit.__file__.startswith({str(site)!r})\n"
        "from cmbfit.cli.app import main; sys.argv = ['cmbfit', 'fit', 'mine.yaml', '--quick']; main()"
    )
    run = subprocess.run(
        [str(python), "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert "ombh2" in run.stdout
