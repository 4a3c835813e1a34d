"""``cmbfit check``: every mistake in one call, nothing imported that the mistake does not need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app

RUN = CliRunner()
BAD = """
run: {name: bad, sead: 3}
likelyhood: 3
spectra: {edges: [2, 9, 5]}
maps: {mask: no_such_mask.fits}
fits:
  a:
    data: [planck2018]
    prior: {ns: {uniform: [0.9, 1.0]}}
  b:
    data: [planck2019, spt3g_2018_lit, {candl: nofile.yaml}]
  c:
    data: [planck2018]
    priors: {ns: {uniform: [0.1, 1.0]}, omega: {uniform: [0, 1]}, tau: {gaussian: [0.05, -1]}}
    start: {ombh2: [0.9, 0.1], hubble: [67, 1]}
    sampler: {walkers: 3}
    show: [ns, nothing]
"""


def check(text: str, tmp_path: Path, *words: str) -> tuple[int, str, str]:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    result = RUN.invoke(app, ["check", str(path), *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_every_mistake_is_said_at_once(tmp_path: Path) -> None:
    code, out, err = check(BAD, tmp_path)
    assert code == 2
    assert not out
    for text in (
        "unknown key 'likelyhood'; did you mean 'likelihood'?",
        "fits.a: unknown key 'prior'; did you mean 'priors'?",
        "run: unknown key 'sead'; did you mean 'seed'?",
        "spectra.edges: expected rising multipoles",
        "fits.b.data[0]: unknown data set 'planck2019'; did you mean 'planck2018'?",
        "fits.b.data[1]: unknown data set 'spt3g_2018_lit'; did you mean 'spt3g_2018_lite'?",
        "fits.b.data[2]: nofile.yaml: no such file",
        "fits.c.priors.ns: [0.1, 1] reaches beyond the emulator's",
        "fits.c.priors: unknown name 'omega'",
        "fits.c.priors.tau: ",
        "fits.c.start.ombh2: expected a centre inside the prior",
        "fits.c.start: unknown name 'hubble'",
        "fits.c.sampler",
        "fits.c.show: unknown name 'nothing'",
    ):
        assert text in err, text


def test_names_that_no_schema_knows_are_found(tmp_path: Path) -> None:
    code, _, err = check(
        "maps: {mask: no_such_mask.fits}\nspectra: {pair: [V, Q]}\nrun: {fits: [lcdm]}\n"
        "comparison: {fixed: {harrison_zeldovich: {fit: none}}}\n",
        tmp_path,
    )
    assert code == 2
    for text in (
        "maps.mask: no_such_mask.fits: not in the data registry",
        "spectra.pair: unknown band 'Q'",
        "run.fits: unknown fit 'lcdm'",
        "comparison.fixed.harrison_zeldovich.fit: unknown fit 'none'",
    ):
        assert text in err, text


def test_the_fields_of_a_survey_are_looked_into(tmp_path: Path) -> None:
    """Names of masks, templates and files; units that brightness needs a frequency for: all at once, by their places."""
    text = """
    maps:
      fields: {V: {mask: kq85, declare: {unit: furlong}}}
      templates: {K: {maps: wmap9/no_such_map.fits}}
      cleaning: {templates: [starlight]}
    """
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    result = RUN.invoke(app, ["check", "wmap9", str(path)])
    assert result.exit_code == 2
    assert "nothing wrong" in RUN.invoke(app, ["check", "wmap9"]).stdout
    for words in ("maps.fields.V.mask: unknown mask 'kq85'", "maps.fields.V.declare.unit: ", "'starlight'"):
        assert words in result.stderr, words
    again = RUN.invoke(app, ["check", "wmap9", "--config", "maps.templates.K.maps=wmap9/no_such_map.fits"])
    assert "maps.templates.K.maps: wmap9/no_such_map.fits: not in the data registry" in again.stderr


def test_a_right_configuration_says_what_it_would_run(tmp_path: Path) -> None:
    text = "fits: {mine: {data: [p_act], priors: {tau: {gaussian: [0.054, 0.007]}, A_act: {gaussian: [1, 0.01]}}}}"
    # a Gaussian tau beside low-l EE is the data's affair, which are not loaded here
    code, out, _ = check(
        text, tmp_path, "--config", "run.name=other", "--config", "theory.emulator.bundle=lcdm_high"
    )
    assert code == 0
    assert "run other: results/other" in out
    assert "planck2018_lowl_ee, act_dr6_cmb_only" in out
    assert "tau 0.054 +- 0.007" in out
    assert "by their data sets' priors P_act" in out
    assert "emulator lcdm_high" in out


def test_users_code_is_named_and_not_imported(tmp_path: Path) -> None:
    code_file = tmp_path / "mine.py"
    code_file.write_text("raise SystemExit('imported')\n")
    fits = f"fits: {{mine: {{data: [planck2018], theory: {{primordial: '{code_file}:model'}}}}}}"
    code, out, err = check(fits, tmp_path)
    assert code == 0, err
    assert f"needs your own code: {code_file}:model" in out
    code, _, err = check(fits.replace("mine.py", "missing.py"), tmp_path)
    assert code == 2
    assert f"fits.mine: {tmp_path / 'missing.py'}: no such file" in err


@pytest.mark.parametrize(
    ("text", "shown"), [("likelyhood: 3\ntheory: 3\n", "likelyhood"), ("run: [", "mine.yaml, line")]
)
def test_the_schema_is_checked_before_anything_heavy_is_imported(
    text: str, shown: str, tmp_path: Path
) -> None:
    """Held to the modules that are loaded when the first line is printed, since times depend on the machine."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    program = (
        "import sys, typer\nfrom cmbfit.cli import check\n"
        f"try:\n    check.check([{str(path)!r}])\nexcept typer.Exit as e:\n    assert e.exit_code == 2\n"
        "print({'torch', 'camb', 'scipy', 'astropy', 'matplotlib', 'numpy'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=False, timeout=120, env=dict(os.environ),
    )  # fmt: skip
    assert run.stdout.strip() == "set()", run.stderr
    assert shown in run.stderr


@pytest.mark.slow
@pytest.mark.workflow
def test_jobs_are_counted_on_request(tmp_path: Path) -> None:
    code, out, err = check("run: {name: mine}", tmp_path, "--jobs", "--config", "run.seed=3")
    assert code == 0, err
    (chains,) = [line.split() for line in out.splitlines() if line.startswith("sample_posterior")]
    assert chains[1] == "2"  # ensembles of the default fit


def test_a_comparison_that_is_taken_out_is_no_mistake(tmp_path: Path) -> None:
    text = "fits: {a: {data: [planck2018]}}\ncomparison: {fixed: {harrison_zeldovich: null}}\n"
    code, out, err = check(text, tmp_path)
    assert code == 0, err
    assert "nothing wrong" in out
