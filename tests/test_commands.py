"""Every command that the documents show is run: here, by the test that is named, or not, for the reason that is given."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from cmbfit.cli.app import app
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_PROGRAMS = ("cmbfit", "snakemake", "make", "python", "pytest", "pip", "git", "conda")
_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Documented words to what is run: capitals stand for the reader's own, brackets for what may be left out.
FAST = {
    "cmbfit data list": "cmbfit data list",
    "cmbfit data sets": "cmbfit data sets",
    "cmbfit emulator info NAME": "cmbfit emulator info lcdm_planck2018",
    "cmbfit firas": "cmbfit firas",
    "cmbfit loglike --data NAME --spectrum FILE --self-check": (
        "cmbfit loglike --data planck2018_lowl_ee --spectrum spectra.txt --self-check"
    ),
    "cmbfit primordial learned attractor -o learned": "cmbfit primordial learned attractor -o learned",
    "cmbfit primordial list": "cmbfit primordial list",
    'cmbfit primordial solve "m**2 * phi**2 / 2" --phi 0.1 25 --set m=6e-6': (
        'cmbfit primordial solve "m**2 * phi**2 / 2" --phi 0.1 25 --set m=6e-6'
    ),
    "cmbfit spectra --help": "cmbfit spectra --help",
}
_KINETIC = (
    "cmbfit theory --primordial cutoff_kinetic --set ln_kc=-7 --set ombh2=0.02237 --set omch2=0.12 --set H0=67.4 "
    "--set tau=0.054 --figure kinetic -o kinetic.txt"
)
SLOW = {
    _KINETIC: _KINETIC,
    "cmbfit bench likelihood -o bench.json": "cmbfit bench likelihood -o bench.json",
    "python benchmarks/pixel.py": "python benchmarks/pixel.py --batch 1 --nside 4 --seconds 0.1 --output x.json",
    "make bench": "python benchmarks/posterior.py --batch 2 --rounds 1 --seconds 0.1 --output x.json",
}
# the same words, or the same function by the same words, in a test of its own
ELSEWHERE = {
    "cmbfit cite results/NAME > paper.bib": "tests/workflow/test_products.py::test_the_run_is_recorded_and_would_repeat",
    "cmbfit cite results/mine > paper.bib": "tests/workflow/test_products.py::test_the_run_is_recorded_and_would_repeat",
    "cmbfit lite": "tests/likelihood/test_lite.py::test_the_command_writes_the_published_lite_set",
    "cmbfit lite --data spt3g_2018_ttteee --hold Tcal150 --hold Ecal150 -o lite": (
        "tests/likelihood/test_lite.py::test_the_command_writes_the_published_lite_set"
    ),
    "cmbfit subsets subsets": "tests/inference/test_subsets.py::test_halves_of_plancks_temperature_are_the_published_ones",
    "cmbfit report": "tests/provenance/test_unblind.py::test_runs_that_are_not_blinded_alike_are_not_compared",
    'cmbfit unblind results/mine --reason "all tests passed"': (
        "tests/provenance/test_unblind.py::test_an_opened_run_is_what_a_plain_one_is_bit_for_bit"
    ),
    "cmbfit reproduce results/NAME": "tests/workflow/test_products.py::test_the_run_is_recorded_and_would_repeat",
    "cmbfit reproduce results/mine": "tests/workflow/test_products.py::test_the_run_is_recorded_and_would_repeat",
    "cmbfit init mine --data p_act": "tests/cli/test_init.py::test_what_it_writes_passes_the_check",
    "cmbfit init mine --extension mnu": "tests/cli/test_init.py::test_what_it_writes_passes_the_check",
    "cmbfit check mine.yaml": "tests/cli/test_init.py::test_what_it_writes_passes_the_check",
    "cmbfit report results/default fits/mine -o compared": "tests/cli/test_report.py::test_a_cut_run_against_the_whole",
    "cmbfit profile ns": "tests/cli/test_profile.py::test_the_tilt_of_the_default_fit",
    "cmbfit profile PARAMETER": "tests/cli/test_profile.py::test_the_tilt_of_the_default_fit",
    "cmbfit forecast CONFIG": "tests/cli/test_forecast.py::test_two_surveys_in_one_table",
    "cmbfit forecast forecast": "tests/cli/test_forecast.py::test_two_surveys_in_one_table",
    "cmbfit forecast forecast --fit so_lat": "tests/cli/test_forecast.py::test_two_surveys_in_one_table",
    "cmbfit forecast forecast --fit litebird_rotation --fix tau": "tests/cli/test_forecast.py::test_two_surveys_in_one_table",
    "cmbfit check": "tests/docs/test_configurations.py::test_check_finds_nothing_wrong",
    "cmbfit watch results/default": "tests/report/test_live.py::test_the_page_fills_and_gives_way_to_the_report",
    "cmbfit init": "tests/cli/test_init.py::test_what_it_writes_passes_the_check",
    "cmbfit run mine.yaml": "tests/cli/test_run.py::test_snakemake_gets_our_files_and_the_users_words",
    "cmbfit run mine.yaml --cores 8": "tests/cli/test_run.py::test_snakemake_gets_our_files_and_the_users_words",
    "cmbfit compare": "tests/cli/test_compare.py::test_harrison_zeldovich_against_lcdm",
    "cmbfit fit mine.yaml --allow-code --quick": "tests/cli/test_fit.py::test_quick_fit_of_planck_is_the_published_one",
    "cmbfit reproduce": "tests/workflow/test_products.py::test_the_run_is_recorded_and_would_repeat",
    "cmbfit theory": "tests/cli/test_app.py::test_camb_and_emulator_write_the_same_spectra",
    "cmbfit trust ./step.py": "tests/docs/test_extending.py::test_a_trusted_model_is_its_formula",
    "cmbfit trust FILE": "tests/docs/test_extending.py::test_a_trusted_model_is_its_formula",
    "snakemake --configfile": "tests/docs/test_configurations.py::test_snakemake_plans_the_largest",
    "cmbfit run": "tests/test_package.py::test_the_wheel_knows_every_job_of_a_run",
    "cmbfit compare CONFIG": "tests/cli/test_compare.py::test_harrison_zeldovich_against_lcdm",
    "cmbfit compare pipeline/config/default.yaml -o comparison": (
        "tests/cli/test_compare.py::test_harrison_zeldovich_against_lcdm"
    ),
    "cmbfit emulator finetune": "tests/cli/test_emulator.py::test_finetune_extends_it",
    "cmbfit fit": "tests/cli/test_fit.py::test_a_whole_fit_gives_the_products_of_the_workflow",
    "cmbfit fit -o DIR": "tests/cli/test_fit_folder.py::test_a_smaller_fit_leaves_nothing_of_a_larger_one",
    "cmbfit cite": "tests/provenance/test_citations.py::test_a_run_owes_what_it_used_and_no_more",
    "cmbfit spectra": "tests/cli/test_spectra.py::test_text_with_errors",
    "cmbfit spectra split0.fits split1.fits --mask mask.fits --beam beam.txt --lmax 3000 --bin-width 50 --polcconv IAU --unit uK -o spectra.txt": (
        "tests/spectra/test_car_spectra.py::test_command_line"
    ),
    "cmbfit fit CONFIG --quick": "tests/cli/test_fit.py::test_quick_fit_of_planck_is_the_published_one",
    "cmbfit fit CONFIG [--fit NAME] [--sampler hmc]": (
        "tests/cli/test_fit.py::test_a_whole_fit_gives_the_products_of_the_workflow"
    ),
    "cmbfit birefringence FILE": "tests/cli/test_birefringence.py::test_angles_of_a_description",
    "cmbfit birefringence channels.yaml": "tests/cli/test_birefringence.py::test_angles_of_a_description",
    "cmbfit hawking --mass-g 5e14": "tests/cli/test_early.py::test_hawking",
    "cmbfit loglike --data": "tests/cli/test_app.py::test_a_written_spectrum_gives_the_same_likelihood_as_its_parameters",
    "cmbfit spectra MAP [MAP2] --mask MASK [--mask-p MASK] ... -o OUT": "tests/cli/test_spectra.py::test_text_with_errors",
    "make faults": "tests/faults/test_harness.py::test_random_sequences_end_as_in_a_clean_folder",
    "make faults N=500": "tests/faults/test_harness.py::test_random_sequences_end_as_in_a_clean_folder",
    "make fuzz": "tests/fuzz/test_sky_files.py::test_fits",
    "make fuzz N=10000": "tests/fuzz/test_sky_files.py::test_fits",
    "make fuzz N=2500": "tests/fuzz/test_sky_files.py::test_fits",
    "make slurm": "tests/slurm/test_slurm.py::test_losses_on_a_cluster_end_like_the_local_run",
    "make unlock": "tests/workflow/test_resume.py::test_a_killed_fit_resumes_to_the_same_chain",
    "make unlock run": "tests/workflow/test_resume.py::test_a_killed_fit_resumes_to_the_same_chain",
    "pip install .": "tests/test_package.py::test_the_wheel_has_data_and_workflow_and_no_top_level_pipeline",
    "python -m http.server --bind 127.0.0.1 --directory served 8765 &": "tests/workflow/standins.py::run_on_standins",
    "python -m pipeline compute_theory": "tests/workflow/conftest.py::tiny_run",
    "python -m pipeline make_standins --config pipeline/config/default.yaml pipeline/config/wmap9.yaml "
    "--theory FIDUCIAL.txt --folder served --overlay overlay.yaml": "tests/workflow/standins.py::run_on_standins",
    "python -m pipeline ship_emulator": "tests/theory/test_family.py::test_shipping_records_what_the_errors_do_to_chi2",
    "python -m pipeline prepare_lowl": "tests/workflow/conftest.py::tiny_run",
    "snakemake --cores 8": "tests/workflow/conftest.py::tiny_run",
    "snakemake --cores 8 --configfile mine.yaml": "tests/workflow/test_features.py::test_sections_add_their_rules",
    "snakemake --configfile mine.yaml --workflow-profile pipeline/profiles/slurm": (
        "tests/slurm/test_slurm.py::test_losses_on_a_cluster_end_like_the_local_run"
    ),
    "snakemake --unlock": "tests/workflow/test_resume.py::test_a_killed_fit_resumes_to_the_same_chain",
    "CMBFIT_REGISTRY=overlay.yaml CMBFIT_CACHE=cache snakemake --cores 2 --configfile pipeline/config/wmap9.yaml": (
        "tests/workflow/standins.py::run_on_standins"
    ),
    "snakemake training": "tests/workflow/test_dag.py::test_training_and_extensions_are_targets",
    "snakemake extensions": "tests/workflow/test_dag.py::test_training_and_extensions_are_targets",
}
CI = {"make run", "make test", "make docs", "make build", "make check"}
_INDEX = "needs a package index"
NOT_RUN = {
    "cmbfit compare mine.yaml --model lcdm --model running --evidence nested": "needs early_universe's transfer functions",
    "cmbfit data fetch act_dr6_cmb_only": "needs the archive's server",
    "cmbfit data fetch so_noise": "needs the archive's server",
    "cmbfit data fetch --trust-first wmap9 planck_pr3": "gigabytes of the archives' servers",
    "cmbfit fit pipeline/config/ground.yaml --fit lcdm_p_act --quick": "needs files of ACT's and SPT's servers",
    "conda env create -f environment.yml": "needs conda and its index",
    "git clone <the repository> && cd cmbfit": "needs the repository's address",
    "make emulator": "80 minutes; its parts are rules of the tiny configuration",
    "make test-slow": "hours: the slow tests themselves",
    'pip install "cmbfit[cobaya]"': _INDEX,
    'pip install "cmbfit[nested]"': _INDEX,
    'pip install -c constraints.txt -e ".[bench]"': _INDEX,
    'pip install -c constraints.txt -e ".[cluster]"': _INDEX,
    'pip install -c constraints.txt -e ".[workflow]"': _INDEX,
    "pip install snakemake-executor-plugin-kubernetes": _INDEX,
    "python benchmarks/latency.py": "minutes, of a machine with nothing else to do",
    "python benchmarks/couplings.py": "minutes, of a machine with nothing else to do",
    "python benchmarks/look_elsewhere.py --transfer FOLDER": "needs early_universe's transfer functions",
    "python -m benchmarks.low_redshift": "minutes, and two wheels of data",
    "python benchmarks/sampling.py": "minutes, of a machine with nothing else to do",
    "python benchmarks/spectra.py": "half an hour",
    "python benchmarks/transfer.py": "half an hour",
    "python benchmarks/transfer_validity.py": "hours of exact spectra",
}
# whole kinds: a graph of each configuration is made, and the tiny one runs; a cluster of another kind is not at hand
GRAPH = re.compile(r"snakemake(?: --cores \d)? --configfile pipeline/config/(\w+)\.yaml")
OTHER_CLUSTER = re.compile(r"snakemake --executor (?:kubernetes|cluster-generic) .*")


def documented() -> dict[str, list[str]]:
    """Command lines to their pages: of fenced blocks, and each `...` that begins with a program's name."""
    out: dict[str, list[str]] = {}
    for page in PAGES:
        text = re.sub(r"\s*\\\n\s*", " ", page.read_text(encoding="utf-8"))
        lines = [
            line.removeprefix("$ ")
            for language, block in _FENCE.findall(text)
            if language in ("", "sh")
            for line in block.splitlines()
        ]
        lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
        for line in lines:
            command = line.split(" #")[0].strip()
            if re.match(rf"(?:[A-Z_]+=\S+ )*(?:{'|'.join(_PROGRAMS)}) ", command):
                out.setdefault(command, []).append(page.name)
    return out


def in_blocks_that_run() -> set[str]:
    """Lines of `sh` blocks: tests/test_docs.py runs these as they stand."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {line.split(" #")[0].strip() for block in blocks for line in block.splitlines()}


def kind(command: str) -> str:
    """Say how a command is run, "unknown" where nobody has said it."""
    if command in in_blocks_that_run():
        return "in a block that runs"
    for name, commands in (
        ("here", FAST), ("here, slow", SLOW), ("by a test of its own", ELSEWHERE), ("in CI", CI), ("not run", NOT_RUN),
    ):  # fmt: skip
        if command in commands:
            return name
    if command.startswith("pytest "):
        return "a part of the suite"
    if GRAPH.fullmatch(command):
        return "as a graph"
    if OTHER_CLUSTER.fullmatch(command):
        return "not run"
    return "unknown"


def test_every_command_is_run_or_has_a_reason() -> None:
    commands = documented()
    kinds = Counter(kind(c) for c in commands)
    assert not [c for c in commands if kind(c) == "unknown"], "add them to one of the lists above"
    assert len(commands) > 60
    assert kinds["not run"] < 0.25 * len(commands), kinds
    for known in (FAST, SLOW, ELSEWHERE, NOT_RUN):
        assert set(known) <= set(commands), "no longer documented"


def test_what_is_said_to_run_them_exists() -> None:
    for where in set(ELSEWHERE.values()):
        path, name = where.split("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {x.name for x in ast.walk(tree) if isinstance(x, ast.FunctionDef)}, where
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    lines = " ".join(s.get("run", "") for job in steps.values() for s in job["steps"])
    assert all(command in lines for command in CI)
    graphs = (ROOT / "tests/workflow/test_dag.py").read_text(encoding="utf-8")
    for command in documented():
        if match := GRAPH.fullmatch(command):
            assert f'"{match[1]}"' in graphs or f"config/{match[1]}.yaml" in graphs, command
        if command.startswith("pytest "):
            slow = "-m slow" in command
            for path in shlex.split(command)[3 if slow else 1 :]:
                files = [ROOT / path] if path.endswith(".py") else list((ROOT / path).glob("test_*.py"))
                assert files, command
                assert not slow or all("mark.slow" in f.read_text(encoding="utf-8") for f in files), command


def _as_documented(written: str) -> re.Pattern[str]:
    """What a documented command may look like when it is run."""
    return re.compile(
        " ".join(r"\S+" if re.fullmatch(r"[A-Z]+", w) else re.escape(w) for w in written.split())
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the spectrum of the tutorial."""
    folder = tmp_path_factory.mktemp("home")
    text = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^cmbfit (theory .*spectra\.txt)$", text, re.MULTILINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert CliRunner().invoke(app, shlex.split(line)).exit_code == 0
    return folder


@pytest.mark.parametrize("written", sorted(FAST))
def test_it_runs(written: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _as_documented(written).fullmatch(FAST[written])
    monkeypatch.chdir(home)
    result = CliRunner().invoke(app, shlex.split(FAST[written])[1:])
    assert result.exit_code == 0, result.output
    assert len(result.output) > 50


@pytest.mark.slow
@pytest.mark.parametrize("written", sorted(SLOW))
def test_it_runs_slowly(written: str, tmp_path: Path) -> None:
    """The benchmarks in their smallest size, whose figures mean nothing."""
    program, *words = shlex.split(SLOW[written])
    if program == "cmbfit":
        start = [sys.executable, "-c", "from cmbfit.cli.app import main; main()"]
    else:
        start, words[0] = [sys.executable], str(ROOT / words[0])
    run = subprocess.run(
        [*start, *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=580
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-2000:]
    assert list(tmp_path.iterdir())


def test_every_make_command_has_its_recipe() -> None:
    for command in documented():
        if command.startswith("make "):
            run = subprocess.run(
                [*shlex.split(command), "--dry-run", "--old-file", ".venv/.stamp"],
                cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert run.returncode == 0, f"{command}: {run.stderr}"
            assert ".venv/bin" in run.stdout, command


def test_every_cmbfit_command_has_its_options() -> None:
    """Subcommands and long options are those of the program, whether it is run or not."""
    top = get_command(app)
    seen = 0
    for line in documented():
        program, *words = shlex.split(line)
        if program != "cmbfit":
            continue
        command = top
        while words and hasattr(command, "list_commands") and words[0] in command.list_commands(None):
            command = command.get_command(None, words.pop(0))
        assert command is not top, line
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        for word in words:
            if word.lstrip("[").startswith("--"):
                assert word.strip("[]").split("=")[0] in options, f"{line}: {word}"
        seen += 1
    assert seen > 15


def test_every_file_of_the_repository_that_a_command_names_is_there() -> None:
    """`mine.yaml` and capitals stand for the reader's own."""
    for line in documented():
        for word in line.split():
            path = word.split("::")[0].strip("`.,;:)(\"'")
            if (
                path.startswith(("pipeline/", "benchmarks/", "tests/", "docs/", "cmbfit/"))
                and "{" not in path
            ):
                assert (ROOT / path).exists(), f"{line}: {path}"


def test_every_test_that_the_documents_name_is_there() -> None:
    text = "\n".join(
        page.read_text(encoding="utf-8") for page in [*PAGES, *(ROOT / "benchmarks").glob("*.md")]
    )
    files = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)", files, re.MULTILINE))
    named = set(re.findall(r"(?:::|`)(test_\w+)(?![\w.])", text))
    assert len(named) > 10
    assert named <= defined
    for path in set(re.findall(r"`(tests/[\w/.]+)", text)):
        assert (ROOT / path).exists(), path
