"""Products of several files: those of one moment, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmbfit.errors import ChecksumError, DataError
from cmbfit.figures.style import new_figure, save_figure
from cmbfit.spectra import read_spectra
from cmbfit.spectra.product import COMBINED, Bandpowers, leakage_path, write_combined
from cmbfit.theory.transfer.operator import TransferOperator
from cmbfit.theory.transfer.store import read_transfer, write_transfer
from pipeline.sections import Sections


def bandpowers(scale: float) -> Bandpowers:
    windows = {(name, name): np.eye(3, 12) for name in COMBINED} | {("bb", "ee"): scale * np.ones((3, 12))}
    values = {name: np.full(3, scale) for name in COMBINED}
    return Bandpowers(COMBINED, np.arange(3.0), (2, 3, 4, 5), values, np.eye(18), windows, {"fsky": 1.0})


def test_leakage_windows_of_another_product_are_refused(tmp_path: Path) -> None:
    """What a crash between the two files of a spectrum would leave."""
    first, second = tmp_path / "a.sacc.fits", tmp_path / "b.sacc.fits"
    write_combined(first, bandpowers(1.0))
    write_combined(second, bandpowers(2.0))
    assert read_spectra(first).windows["bb", "ee"][0, 0] == 1
    leakage_path(first).write_bytes(leakage_path(second).read_bytes())
    with pytest.raises(ChecksumError, match="altered"):
        read_spectra(first)


def test_transfer_functions_of_two_runs_are_refused_and_told_apart(tmp_path: Path) -> None:
    """The same settings, other numbers: another theory to a checkpoint; the arrays of one under the other's manifest: none."""
    found = []
    for i in range(2):
        ell, k = np.arange(2, 30), np.geomspace(1e-4, 0.3, 40)
        matrix = np.random.default_rng(i).uniform(1, 2, (28, 40))
        write_transfer(tmp_path / str(i), TransferOperator(k, ell, {"tt": matrix}, {"lmax": 29}))
        found.append(read_transfer(tmp_path / str(i)).settings)
    assert found[0] != found[1]
    assert found[0]["lmax"] == found[1]["lmax"] == 29
    arrays = tmp_path / "1" / "arrays.safetensors"
    arrays.replace(tmp_path / "0" / "arrays.safetensors")
    with pytest.raises(ChecksumError, match="altered"):
        read_transfer(tmp_path / "0")


def test_a_figure_is_published_with_its_numbers_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(value: float) -> None:
        fig = new_figure(3, 2)
        fig.add_subplot().plot([1, 2], [value, value])
        save_figure(fig, tmp_path / "a", {"x": [value]})

    draw(1.0)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert set(before) == {"a.png", "a.pdf", "a.csv"}

    def fails(*_: object, **__: object) -> None:
        raise DataError("interrupted")

    with monkeypatch.context() as broken:
        broken.setattr("cmbfit.figures.style.csv.writer", fails)
        with pytest.raises(DataError, match="interrupted"):
            draw(2.0)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    draw(2.0)
    assert all(p.read_bytes() != before[p.name] for p in tmp_path.iterdir())


def test_a_part_of_the_configuration_that_was_edited_is_written_again(tmp_path: Path) -> None:
    """Its name tells its content: an edited or truncated file would be believed by every stage."""
    sections = Sections(str(tmp_path))
    path = Path(sections.path("fit", {"a": 1}))
    sections.write()
    whole = path.read_bytes()
    for raw in (b"", b'{"a": 2}\n'):
        path.write_bytes(raw)
        sections.write()
        assert path.read_bytes() == whole
