from __future__ import annotations

from pathlib import Path

import numpy as np

from cmbfit.errors import MapError
from cmbfit.io import publish_record, read_json
from cmbfit.sky import Beam, StokesMap
from cmbfit.sky.channels import join_channels as join
from cmbfit.sky.channels import joined_weight, noise_weights
from cmbfit.sky.fits import coordinates_of, read_column, write_split
from cmbfit.sky.harmonic import alm2stokes
from cmbfit.sky.maps import nside_of
from cmbfit.survey.fields import read_beam_table
from cmbfit.survey.products import read_alms


def join_channels(
    *,
    alms: list[Path],
    splits: list[Path],
    beams: list[Path],
    band: Path,
    name: str,
    lmax: int,
    output: Path,
) -> None:
    """Bring one split of several channels to one beam, join them, and publish map and weight.

    Parameters
    ----------
    alms
        Products of transform_channel.
    splits
        Products of prepare_split, of their weights.
    beams
        Products of prepare_beam.
    band
        JSON: names of the channels, fwhm_arcmin of the result, ranges (highest multipole of a channel), and
        whether half the first minus half the second is taken (difference).
    name
        Of the product.
    lmax
        Highest multipole.
    output
        Where the product goes (FITS).
    """
    spec = read_json(band)
    channels, difference, fwhm_arcmin = (spec[k] for k in ("channels", "difference", "fwhm_arcmin"))
    coord, *others = dict.fromkeys(coordinates_of(s) for s in splits)
    if others:
        raise MapError(
            f"joining channels {channels}: expected one coordinate system, found {[coord, *others]}"
        )
    transfers = {c: read_beam_table(b) for c, b in zip(channels, beams, strict=True)}
    hits = {c: read_column(s, "WEIGHT")[0] for c, s in zip(channels, splits, strict=True)}
    if difference:
        half = np.full(lmax + 1, 0.5)
        weights = dict(zip(channels, (half, -half), strict=True))
    else:
        variances = {c: float(np.mean(1 / w[w > 0])) for c, w in hits.items()}
        weights = noise_weights(transfers, variances, lmax, spec["ranges"])
    weight = joined_weight(list(hits.values()))
    nside = nside_of(weight.size, name)
    hits.clear()
    found = {c: read_alms(a, "no mask") for c, a in zip(channels, alms, strict=True)}
    joined = join(
        {c: np.stack([x.t, x.e, x.b]) for c, x in found.items()},
        transfers,
        weights,
        Beam.gaussian(lmax, fwhm_arcmin),
    )
    iqu = alm2stokes(joined, nside)
    iqu[:, weight == 0] = np.nan
    record = {"step": "join channels", "channels": channels, "difference": difference,
              "fwhm_arcmin": fwhm_arcmin, "missing": int((weight == 0).sum())}  # fmt: skip
    i, q, u = iqu
    stokes = StokesMap(i, q, u, coord=coord, name=name, history=(record,))
    write_split(output, stokes, weight)
    publish_record(output, inputs=[*alms, *splits, *beams], settings={**spec, "lmax": lmax, "name": name})
