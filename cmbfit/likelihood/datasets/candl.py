"""Data sets in candl's format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.cuts import Ranges, centres
from cmbfit.likelihood.datasets.candl_format import CandlData, read_candl
from cmbfit.likelihood.datasets.candl_likelihood import likelihood_of
from cmbfit.likelihood.datasets.reference import reference_dl
from cmbfit.likelihood.datasets.source import Options, Source, calibration_of, data_set_info, refuse_idle


def read(source: Source, options: Options) -> Likelihood:
    """Return the likelihood of a ``definition``; ``calibration`` adds to what the definition calibrates.

    ``hold`` keeps the lensing correction of a pair at one spectrum.
    """
    got = read_candl(source.files, source.spec["definition"], options.cuts)
    if got.lensing:
        options.without_cuts(source.name)
    info = data_set_info(source, len(got.data), options)
    info = replace(info, sky=counted(info.sky, got, options.cuts))
    added = calibration_of(source, options, {})
    used = {options.rename.get(p, p) for p in got.parameters} | set(added)
    if options.cuts and (idle := set(info.nuisance) - used):
        # a calibration of polarisation goes with polarisation
        whole = read_candl(source.files, source.spec["definition"], {})
        gone = idle & {options.rename.get(p, p) for p in whole.parameters}
        info = replace(info, nuisance={n: x for n, x in info.nuisance.items() if n not in gone})
    refuse_idle(info, used)
    held = {pair: reference_dl(pair, where) for pair, where in source.spec.get("hold", {}).items()}
    return likelihood_of(got, info, files=source.sums, calibration=added, rename=options.rename, held=held)


def counted(
    sky: Mapping[str, Mapping[str, tuple[int, int]]], got: CandlData, cuts: Ranges
) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the multipoles that are counted, by survey and pair, after the definition's selection and the user's cuts."""
    reach = reach_of(got)
    out: dict[str, dict[str, tuple[int, int]]] = {}
    for survey, ranges in sky.items():
        out[survey] = {}
        for pair, (low, high) in ranges.items():
            if pair not in reach:
                continue
            first, last = cuts.get(pair, (low, high))
            if got.selects:
                first, last = max(first, reach[pair][0]), min(last, reach[pair][1])
            if max(low, first) <= min(high, last):
                out[survey][pair] = (max(low, first), min(high, last))
    return out


def reach_of(got: CandlData) -> dict[str, tuple[int, int]]:
    """Return the mean multipoles of each pair's first and last bandpower."""
    out: dict[str, tuple[int, int]] = {}
    for spectrum, window in zip(got.model.spectra, got.windows().values(), strict=True):
        middle = centres(window)
        low, high = out.get(spectrum.pair, (int(middle.min()), int(middle.max())))
        out[spectrum.pair] = (min(low, int(middle.min())), max(high, int(middle.max())))
    return out
