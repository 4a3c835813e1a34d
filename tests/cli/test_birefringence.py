"""cmbfit birefringence: descriptions of channels, and what is wrong with them."""

from __future__ import annotations

import json
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import CmbfitError, ConfigError, SpectrumError

RUN = CliRunner()
DESCRIPTION = """\
maps: {90a: 90, 90b: 90, c150: high}
spectra: "tables/{a}_{b}.txt"
ell: [60, 299]
bin: 20
f_sky: 0.6
alpha_deg: 0.2
"""


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A sky of EE = 10, BB = 0.1 turned by 2 degrees in all maps and 3 more in the last, noise of its own in each."""
    ell, maps = np.arange(2, 320), ["90a", "90b", "c150"]
    e, b = rng.standard_normal((2, len(ell), 800))
    e, b = e * 10**0.5, b * 0.1**0.5
    turned = {}
    for name, degrees in zip(maps, (2.0, 2.0, 5.0), strict=True):
        c, s = np.cos(2 * np.deg2rad(degrees)), np.sin(2 * np.deg2rad(degrees))
        noise = 0.3**0.5 * rng.standard_normal((2, *e.shape))
        turned[name] = (e * c - b * s + noise[0], e * s + b * c + noise[1])
    (tmp_path / "tables").mkdir()
    for one, two in combinations_with_replacement(maps, 2):
        (e1, b1), (e2, b2) = turned[one], turned[two]
        columns = [ell, *((x * y).mean(1) for x, y in ((e1, e2), (b1, b2), (e1, b2), (b1, e2)))]
        np.savetxt(tmp_path / "tables" / f"{two}_{one}.txt", np.array(columns).T, header="ell EE BB BE EB")
    (tmp_path / "channels.yaml").write_text(DESCRIPTION, encoding="utf-8")
    return tmp_path


def test_angles_of_a_description(folder: Path) -> None:
    """Columns are of the file's own order of maps: of `c150_90a` EB is E of c150 times B of 90a."""
    out = RUN.invoke(
        app, ["birefringence", str(folder / "channels.yaml"), "--json", "--figure", str(folder / "angles")]
    )
    assert out.exit_code == 0, out.output
    got = json.loads(out.stdout)
    for channel, angle in (("90", 2.0), ("high", 5.0)):
        found = got["channels"][channel]
        assert found["angle"] == pytest.approx(angle, abs=4 * found["error"])
        assert found["error"] < 0.1
    assert got["common"]["pte"] < 1e-6
    assert got["beta"]["error"] > 0.2
    assert (folder / "angles.csv").read_text(encoding="utf-8").startswith("kind,name,angle_deg,error_deg\n")
    text = RUN.invoke(app, ["birefringence", str(folder / "channels.yaml")]).stdout
    assert "one angle for all" in text
    assert "each angle is that of the detectors plus beta" in text


@pytest.mark.parametrize(
    ("old", "new", "said", "kind"),
    [
        ("bin: 20", "bins: 20", "unknown key 'bins'", ConfigError),
        ("ell: [60, 299]\n", "", "ell: expected", ConfigError),
        ("ell: [60, 299]", "ell: [60, 999]", "within 2 to 319", SpectrumError),
        ("f_sky: 0.6", "f_sky: true", "f_sky: expected a number", ConfigError),
        ("f_sky: 0.6", "f_sky: 0", "0 < f_sky <= 1", CmbfitError),
        ("{a}_{b}", "{a}", "{a} and {b}", ConfigError),
        ("{a}_{b}.txt", "{a}-{b}.txt", "found none", SpectrumError),
        ("maps: {90a: 90, 90b: 90, c150: high}", "maps: []", "a channel for each map", ConfigError),
        ("alpha_deg: 0.2", "alpha_deg: -1", "alpha_deg: expected degrees", ConfigError),
    ],
)
def test_mistakes_are_named(folder: Path, old: str, new: str, said: str, kind: type[CmbfitError]) -> None:
    path = folder / "channels.yaml"
    path.write_text(DESCRIPTION.replace(old, new), encoding="utf-8")
    out = RUN.invoke(app, ["birefringence", str(path)])
    assert isinstance(out.exception, kind)
    assert said in str(out.exception)
