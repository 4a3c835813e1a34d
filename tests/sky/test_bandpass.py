"""Units through a bandpass, against astropy's own conversions and Planck's published ones."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from cmbfit.errors import MapError
from cmbfit.sky.bandpass import read_bandpass, read_frequency
from cmbfit.sky.units import Bandpass, factor_to_uk_cmb

TOP_HAT = np.linspace(119.0, 167.0, 400)  # HFI's 143 GHz band: cut-on and cut-off 119 and 167 GHz, 33 % wide


@pytest.mark.parametrize("ghz", [22.8, 143.0, 545.0, 857.0])
def test_one_frequency_against_astropy(ghz) -> None:
    """K_RJ and MJy/sr to K_CMB by astropy's equivalencies, at T_CMB of ours."""
    cmb = u.thermodynamic_temperature(ghz * u.GHz, T_cmb=2.7255 * u.K)
    jansky = (1 * u.K).to(u.MJy / u.sr, equivalencies=u.brightness_temperature(ghz * u.GHz))
    assert factor_to_uk_cmb("K_RJ", ghz) == pytest.approx(jansky.to(u.uK, equivalencies=cmb).value, rel=1e-6)
    assert factor_to_uk_cmb("MJy/sr", ghz) == pytest.approx(
        (1 * u.MJy / u.sr).to(u.uK, equivalencies=cmb).value, rel=1e-6
    )


@pytest.mark.parametrize("unit", ["K_RJ", "MJy/sr"])
def test_a_narrow_band_is_a_frequency(unit) -> None:
    band = Bandpass(np.linspace(142.9, 143.1, 21), np.ones(21), 143.0)
    assert factor_to_uk_cmb(unit, band) == pytest.approx(factor_to_uk_cmb(unit, 143.0), rel=1e-5)


@pytest.mark.parametrize(
    ("band", "reference", "published"),
    [((84.4, 117.4), 100.0, 244.1), ((119.9, 165.8), 143.0, 371.74), ((189.0, 253.0), 217.0, 483.69),
     ((305.0, 408.0), 353.0, 287.45), ((469.0, 638.0), 545.0, 58.04)],
)  # fmt: skip
def test_bands_of_hfi_against_planck(band, reference, published) -> None:
    """MJy/sr per K_CMB of Planck 2013 IX, table 6, within 4 %: its bands are no top hats between half-power points."""
    ghz = np.linspace(*band, 400)
    assert 1e6 / factor_to_uk_cmb("MJy/sr", Bandpass(ghz, np.ones(400), reference)) == pytest.approx(
        published, rel=0.04
    )


def test_files(tmp_path) -> None:
    """One band in GHz, Hz and wave numbers, text and FITS."""
    tau = np.exp(-(((TOP_HAT - 143) / 15) ** 2))
    expected = Bandpass(TOP_HAT, tau, 143.0).k_cmb("MJy/sr")
    for name, unit, scale in (("a", "GHz", 1.0), ("b", "Hz", 1e9), ("c", "cm^-1", 1 / 29.9792458)):
        path = tmp_path / f"{name}.txt"
        np.savetxt(
            path, np.column_stack([TOP_HAT * scale, tau]), header=f"nu [{unit}] transmission", fmt="%.12e"
        )
        found = read_frequency(f"{path}@143")
        assert isinstance(found, Bandpass)
        assert found.k_cmb("MJy/sr") == pytest.approx(expected, rel=1e-9)
        with pytest.raises(MapError, match=r"needs the frequency that they are quoted at"):
            factor_to_uk_cmb("MJy/sr", read_frequency(str(path)))
    columns = [
        fits.Column(name="WAVENUMBER", format="D", unit="cm-1", array=TOP_HAT / 29.9792458),
        fits.Column(name="TRANSMISSION", format="D", array=tau),
    ]
    rimo = tmp_path / "rimo.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="BANDPASS_F143")]).writeto(
        rimo
    )
    assert read_bandpass(f"{rimo}[BANDPASS_F143]", 143.0).k_cmb("MJy/sr") == pytest.approx(expected, rel=1e-9)
    with pytest.raises(MapError, match="far from the 545 GHz"):
        read_frequency(f"{rimo}[BANDPASS_F143]@545")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("0", "above 0"),
        ("-3", "above 0"),
        ("nan", "above 0"),
        ("none.txt", "none.txt"),
        ("x@y", "expected a number of GHz"),
    ],
)
def test_words(tmp_path, monkeypatch, word, message) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MapError, match=message):
        read_frequency(word)


def test_a_band_without_a_unit(tmp_path) -> None:
    np.savetxt(tmp_path / "b.txt", np.column_stack([TOP_HAT / 30, TOP_HAT]), header="nu tau")
    with pytest.raises(MapError, match="does not say the unit"):
        read_frequency(str(tmp_path / "b.txt"))
    with pytest.raises(MapError, match="frequencies above 0 that increase"):
        Bandpass(TOP_HAT[::-1], TOP_HAT)
