"""A user's plain function as a primordial model: registered by its file, held to numpy and to the power law."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import CodeNotAllowedError, ParameterError
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.plain import from_function
from cmbfit.theory.primordial_theory import nearest_power_law

FILE = '''
import torch

def dipped(k, height=(2.1, 1.5, 3.0), tilt=(-0.035, -0.1, 0.1), depth=(0.0, -0.5, 0.5)):
    """A power law with a dip at 0.002/Mpc.

    More words.
    """
    bell = torch.exp(-0.5 * (torch.log(k / 0.002) / 0.3) ** 2)
    return 1e-9 * height * (k / 0.05) ** tilt * (1 - depth * bell)
'''


def test_a_function_of_a_file_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.delenv("CMBFIT_ALLOW_CODE", raising=False)
    Path("mine.py").write_text(FILE, encoding="utf-8")
    with pytest.raises(CodeNotAllowedError):
        get_model("./mine.py:dipped")
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    model = get_model("./mine.py:dipped")
    assert model is get_model("./mine.py:dipped")  # folded posteriors know a theory by its model
    assert (model.parameter_names, model.title) == (
        ("height", "tilt", "depth"),
        "A power law with a dip at 0.002/Mpc",
    )
    assert model.priors["depth"].describe() == {"uniform": [-0.5, 0.5]}
    k = np.geomspace(1e-5, 1, 40)
    theta = torch.tensor([[2.0, -0.03, 0.2], [2.2, 0.01, -0.1]], dtype=torch.float64)
    h, t, d = theta.numpy().T[:, :, None]
    wanted = 1e-9 * h * (k / 0.05) ** t * (1 - d * np.exp(-0.5 * (np.log(k / 0.002) / 0.3) ** 2))
    np.testing.assert_allclose(model.power(torch.from_numpy(k), theta).numpy(), wanted, rtol=1e-13)
    assert model.valid(torch.from_numpy(k), theta).tolist() == [True, True]
    # a row of k for each point, as fits ask
    both = model.power(torch.from_numpy(np.stack([k, k])), theta).numpy()
    np.testing.assert_allclose(both, wanted, rtol=1e-13)


def test_without_an_amplitude_it_lends_the_nearest_power_law() -> None:
    """numpy.polyfit of ln P at the same wavenumbers; a power law lends itself."""

    def bent(k, height=(2.1, 1.5, 3.0), bend=(0.0, -0.1, 0.1)):  # type: ignore[no-untyped-def]
        x = torch.log(k / 0.05)
        return 1e-9 * height * torch.exp(-0.035 * x + bend * x**2)

    model = from_function(bent)
    theta = torch.tensor([[2.1, 0.0], [2.3, 0.02]], dtype=torch.float64)
    found = nearest_power_law(model, theta).numpy()
    assert found[0] == pytest.approx([np.log(21.0), 0.965], rel=1e-12)
    x = np.log(np.geomspace(2e-3, 0.2, 24) / 0.05)
    slope, middle = np.polyfit(x, np.log(23.0) - 0.035 * x + 0.02 * x**2, 1)
    assert found[1] == pytest.approx([middle, 1 + slope], rel=1e-10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(k): return k", "then parameters"),
        ("def f(k, a): return k", r"expected a=\(start, low, high\)"),
        ("def f(k, a=1.0): return k", "found 1.0"),
        ("def f(k, a=(2.0, 0.0, 1.0)): return k", "around the start"),
        ("def f(k, a=(0.5, 0.0, float('inf'))): return k", "around the start"),
    ],
)
def test_a_function_without_starts_and_priors_is_refused(text: str, said: str) -> None:
    space: dict[str, object] = {}
    exec(text, space)  # noqa: S102 (the test's own text)
    with pytest.raises(ParameterError, match=said):
        from_function(space["f"])  # type: ignore[arg-type]


def test_a_function_of_the_wrong_type_or_shape_is_refused() -> None:
    def listed(k, a=(0.5, 0.0, 1.0)):  # type: ignore[no-untyped-def]
        return [1.0]

    def short(k, a=(0.5, 0.0, 1.0)):  # type: ignore[no-untyped-def]
        return a + k[:3]

    k = torch.logspace(-4, 0, 5, dtype=torch.float64)
    for function, said in ((listed, "found list"), (short, r"of shape \(1, 5\)")):
        model = from_function(function)
        with pytest.raises(ParameterError, match=said):
            model.power(k, model.defaults())
