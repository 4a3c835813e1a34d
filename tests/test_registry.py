"""Names find code in cmbfit, in other packages and in the user's files; the user's runs only when it is allowed."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cmbfit import registry, trust
from cmbfit.errors import CodeNotAllowedError, ConfigError, DataError, ParameterError
from cmbfit.registry import Registry, module_place
from cmbfit.theory.primordial import MODELS, get_model

MODEL = """from dataclasses import replace
from cmbfit.theory.primordial.powerlaw import MODEL as LAW
MODEL = replace(LAW, name="mine", function=lambda k, values: 2 * LAW.function(k, values))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a list of trusted files, who allows nothing."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("CMBFIT_ALLOW_CODE", raising=False)
    return tmp_path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    registry.entry_points.cache_clear()
    yield folder
    registry.entry_points.cache_clear()


def install(site: Path, package: str, module: str, text: str, points: dict[str, dict[str, str]]) -> None:
    """Write a package as an installer leaves it: a module, and metadata with entry points."""
    (site / f"{module}.py").write_text(text)
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in x.items()) for group, x in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    registry.entry_points.cache_clear()


def test_names_are_known_and_found_without_importing_them() -> None:
    numbers = Registry[float]("number", "cmbfit.tests", {"pi": "math:pi", "bad": "no.such.module:x"})
    assert numbers.names() == ("pi", "bad")
    assert numbers.where("bad") == "no.such.module"
    assert numbers.get("pi") == pytest.approx(3.141592653589793)
    with pytest.raises(ConfigError, match="there is no module no"):
        numbers.get("bad")
    with pytest.raises(ConfigError, match=r"unknown number 'ip'.*known: pi, bad.*\./FILE\.py:NAME"):
        numbers.get("ip")


def test_the_table_of_primordial_models_names_each_as_it_names_itself() -> None:
    assert len(MODELS) == 43
    assert all(MODELS[name].name == name for name in MODELS)
    with pytest.raises(ParameterError, match="did you mean 'kink'"):
        get_model("kinkk")


def test_a_package_adds_a_model_by_an_entry_point(site: Path) -> None:
    install(site, "bumps", "bumps", MODEL, {"cmbfit.primordial_models": {"bump": "bumps:MODEL"}})
    assert module_place("bumps")
    assert "bumps" not in sys.modules
    assert get_model("bump").name == "mine"
    assert "bump" in MODELS
    # its import path is registered too, so that it needs no leave
    assert get_model("bumps:MODEL") is get_model("bump")
    sys.modules.pop("bumps")


def test_a_name_that_two_packages_use_is_refused(site: Path) -> None:
    install(site, "bumps", "bumps2", MODEL, {"cmbfit.primordial_models": {"kink": "bumps2:MODEL"}})
    with pytest.raises(ConfigError, match=r"'kink'.*found cmbfit and bumps; uninstall one"):
        get_model("kink")
    with pytest.raises(ConfigError, match="'kink'"):
        list(MODELS)
    assert get_model("running").name == "running"


def test_a_file_runs_when_the_environment_allows_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "mymodel.py"
    path.write_text(MODEL)
    monkeypatch.chdir(home)
    sha256 = hashlib.sha256(MODEL.encode()).hexdigest()
    with pytest.raises(CodeNotAllowedError, match=rf"mymodel\.py: .*{sha256}.*cmbfit trust .*--allow-code"):
        get_model("./mymodel.py")
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    model, law = get_model("./mymodel.py"), get_model("power_law")
    k = torch.tensor([0.05], dtype=torch.float64)
    # 2 A_s at the pivot, with ln(10^10 A_s) = 3.044
    assert model.power(k, model.defaults()).item() == pytest.approx(2 * 20.98899e-10, rel=1e-5)
    assert model.parameters == law.parameters
    with pytest.raises(ParameterError, match=r"replace: changes: expected changes=\(start, low, high\)"):
        get_model("./mymodel.py:replace")  # a function is a model if its parameters have priors
    with pytest.raises(ParameterError, match="defines no OTHER"):
        get_model("./mymodel.py:OTHER")
    with pytest.raises(ParameterError, match="no such file"):
        get_model("./none.py")
    path.write_text("1/0")
    with pytest.raises(ConfigError, match="failed when it was run: ZeroDivisionError"):
        get_model("./mymodel.py")


def test_a_trusted_file_runs_and_an_edited_one_does_not(home: Path) -> None:
    path = home / "mymodel.py"
    path.write_text(MODEL)
    trust.trust(path)
    assert get_model(str(path)).name == "mine"
    path.write_text(MODEL + "# edited\n")
    with pytest.raises(CodeNotAllowedError):
        get_model(str(path))
    other = home / "other.py"
    other.write_text("x = 1\n")
    trust.trust(other)
    assert set(trust.trusted()) == {str(path.resolve()), str(other.resolve())}
    assert trust.trust_file().stat().st_mode & 0o777 == 0o600


def test_the_bytes_that_were_checked_are_the_ones_that_run(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is exchanged between the check and the run changes nothing."""
    path = home / "mymodel.py"
    path.write_text(MODEL + "# a file that has not run yet\n")
    trust.trust(path)
    checked = registry.require_allowed

    def exchanging(name: str | Path) -> bytes:
        raw = checked(name)
        path.write_text("raise SystemExit('hostile')")
        return raw

    monkeypatch.setattr(registry, "require_allowed", exchanging)
    assert get_model(str(path)).name == "mine"


def test_a_list_of_trusted_files_that_others_may_write_is_refused(home: Path) -> None:
    path = home / "mymodel.py"
    path.write_text(MODEL)
    trust.trust(path)
    trust.trust_file().chmod(0o666)
    for use in (lambda: get_model(str(path)), lambda: trust.trust(path)):
        with pytest.raises(DataError, match=r"others may write it \(mode 666.*chmod 600"):
            use()
    trust.trust_file().chmod(0o600)
    trust.trust_file().write_text(json.dumps([1]))
    with pytest.raises(DataError, match="expected a list of trusted files"):
        trust.trusted()


def test_an_import_path_needs_leave_even_for_cmbfit_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a configuration could call cmbfit.trust:trust on a file of its own."""
    for name in ("os.path:join", "cmbfit.trust:trust", "cmbfit.theory.primordial.kink:MODEL"):
        with pytest.raises(CodeNotAllowedError, match="expected a name that an installed package registers"):
            get_model(name)
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    assert get_model("cmbfit.theory.primordial.kink:MODEL") is get_model("kink")
    with pytest.raises(ParameterError, match=r"join: p: expected p=\(start, low, high\)"):
        get_model("os.path:join")


def test_code_is_found_without_being_run(site: Path) -> None:
    (site / "loud").mkdir()
    for name in ("__init__", "inner"):
        (site / "loud" / f"{name}.py").write_text("raise SystemExit('ran')\n")
    place = module_place("loud.inner")
    assert place is not None
    assert place.origin == str(site / "loud" / "inner.py")
    assert module_place("loud.none") is None
    assert module_place("none.at.all") is None
