"""The likelihood of a candl data set: the plain Gaussian one where its data model allows, else the one with steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.bandpower_model import Block
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.data_model import combined
from cmbfit.likelihood.datasets.candl_format import CandlData
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.steps import Add, AddBinned, Rescale

Powered = Mapping[str, Mapping[str, float]]
"""Nuisance parameter to pair to power."""


def plain_calibration(got: CandlData) -> dict[str, dict[str, float]] | None:
    """Return parameters to pairs to powers of all calibrations together, if the data set needs nothing else.

    None if a covariance moves, a foreground or a derivative has parameters, a calibration is another function or differs
    between spectra of one pair, or the order of calibrations and binned terms matters.
    """
    steps = got.model.steps
    scales = [step for step in steps if isinstance(step, Rescale)]
    rest = [step for step in steps if not isinstance(step, Rescale)]
    moving = any(isinstance(s, Add) or (s.parameters and not isinstance(s, AddBinned)) for s in rest)
    if got.beam is not None or moving or (scales and any(isinstance(s, AddBinned) for s in rest)):
        return None
    powers = [step.powers() for step in scales]
    by_pair: dict[str, dict[str, float]] = {}
    for i, spectrum in enumerate(got.model.spectra):
        row = combined(*(p[i] for p in powers if p is not None))
        if None in powers or by_pair.setdefault(spectrum.pair, row) != row:
            return None
    names = [name for step in scales for name in step.parameters]
    return {n: {pair: row[n] for pair, row in by_pair.items() if n in row} for n in dict.fromkeys(names)}


def blocks_of(got: CandlData) -> list[Block]:
    """Return a block a spectrum, named after its pair where it is the only one, with responses to other spectra."""
    pairs = [s.pair for s in got.model.spectra]
    leakage: dict[str, np.ndarray] = {}
    for step in got.model.steps:
        for pair, response in step.responses.items() if isinstance(step, AddBinned) else ():
            leakage[pair] = _sum(leakage[pair], response.numpy()) if pair in leakage else response.numpy()
    out, start = [], 0
    for spectrum, window in zip(got.model.spectra, got.windows().values(), strict=True):
        name = spectrum.pair if pairs.count(spectrum.pair) == 1 else spectrum.name
        mine = {p: w[start : start + len(window)] for p, w in leakage.items()}
        out.append(Block(name, spectrum.pair, window, mine))
        start += len(window)
    return out


def _sum(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Add windows that end at different multipoles."""
    size = max(one.shape[1], two.shape[1])
    return np.pad(one, ((0, 0), (0, size - one.shape[1]))) + np.pad(two, ((0, 0), (0, size - two.shape[1])))


def constants_of(got: CandlData) -> np.ndarray:
    """Return what the model adds whatever the parameters, shape (n_bins,)."""
    constants = [
        s.constant.numpy() for s in got.model.steps if isinstance(s, AddBinned) and s.constant is not None
    ]
    return np.sum([np.zeros(len(got.data)), *constants], axis=0)


def likelihood_of(
    got: CandlData,
    info: DataSetInfo,
    *,
    files: Mapping[str, str] | None = None,
    calibration: Powered | None = None,
    rename: Mapping[str, str] | None = None,
    held: Mapping[str, np.ndarray] | None = None,
) -> GaussianBandpowers | MultiFrequencyBandpowers:
    """Build the likelihood.

    Parameters
    ----------
    calibration : mapping, optional
        Powers, pair by pair, that come on top of the definition's, under their final names.
    rename : mapping, optional
        The definition's parameters to names outside.
    held : mapping of str to numpy.ndarray, optional
        Pair to the spectrum D_l at which its response is held.
    """
    rename = dict(rename or {})
    plain = plain_calibration(got)
    if plain is not None:
        powers: dict[str, dict[str, float]] = {}
        for own in ({rename.get(k, k): v for k, v in plain.items()}, calibration or {}):
            for name, row in own.items():
                powers[name] = combined(powers.get(name, {}), row)
        templates: dict[str, np.ndarray] = {}
        for step in got.model.steps:
            if isinstance(step, AddBinned) and step.template is not None:
                name = rename.get(step.parameters[0], step.parameters[0])
                templates[name] = templates.get(name, 0.0) + step.template.numpy()
        blocks, data = blocks_of(got), got.data - constants_of(got)
        for pair, dl in (held or {}).items():
            response = np.concatenate([block.leakage.pop(pair).numpy() for block in blocks])
            data = data - response @ dl[: response.shape[1]]
        return GaussianBandpowers(info, blocks, data, got.covariance, powers, files, templates)
    if calibration or held:
        raise LikelihoodError(
            f"{info.name}: calibration and hold of a dataset.yaml are for data models of calibrations by powers or of lensing "
            "corrections alone; say the step in the definition's data_model"
        )
    return MultiFrequencyBandpowers(
        info, got.model, got.data, got.covariance, got.beam, files=files, rename=rename
    )
