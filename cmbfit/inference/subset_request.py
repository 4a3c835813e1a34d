"""What a run asks of the parts of a fit's data: the entries of ``subsets``, completed, and which data each part has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cmbfit.errors import ConfigError, LikelihoodError, unknown_name
from cmbfit.fit.description import Fit
from cmbfit.fit.run import Run, fit_of_run
from cmbfit.inference.tension_request import SHIFTED
from cmbfit.io import reading
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.selection import OWN, Selection, select

WHOLE = "all data"
"""The base fit, against which its parts are held."""


@dataclass(frozen=True)
class SubsetRequest:
    """A fit, and parts of its data that are fitted alone.

    Attributes
    ----------
    fit : Fit
        Whose data are the whole, and whose theory, priors and start all parts have.
    spectra : sequence of sequence of str
        Sets of pairs, a part each.
    ranges : sequence of (int, int)
        First and last multipole, a part each.
    surveys : sequence of str
        A part each.
    cross : bool
        Also all combinations of spectra, ranges and surveys.
    parts : mapping of str to sequence
        Further parts, their data listed as a fit's.
    common : sequence of str
        Data sets that every part keeps whole.
    pairs : sequence of (str, str)
        Parts that are held against each other too.
    fixed : mapping of str to float
        Parameters held fixed in all.
    shifted : sequence of str
        Sampled parameters, or ``logA-2tau``.
    published : str
        A published statement on the same parts, quoted beside the result.
    draws : int
        Points of each importance sampling.
    """

    fit: Fit
    spectra: Sequence[Sequence[str]] = ()
    ranges: Sequence[Sequence[int]] = ()
    surveys: Sequence[str] = ()
    cross: bool = False
    parts: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    common: Sequence[str] = ()
    pairs: Sequence[Sequence[str]] = ()
    fixed: Mapping[str, float] = field(default_factory=dict)
    shifted: Sequence[str] = SHIFTED
    published: str = ""
    draws: int = 20_000

    def describe(self) -> dict[str, Any]:
        """Return the request as JSON; :meth:`from_json` makes the same one of it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SubsetRequest:
        """Return the request of :meth:`describe`.

        Raises
        ------
        ConfigError
            If it is none.
        """
        with reading("a request of subsets", "what SubsetRequest.describe writes", ConfigError):
            return cls(**{**value, "fit": Fit.from_json(value["fit"])})

    @property
    def names(self) -> list[str]:
        """Names of all parts, in their order."""
        return [*(name for name, *_ in self._axes()), *self.parts]

    def _axes(self) -> Iterator[tuple[str, Sequence[str] | None, Sequence[int] | None, str | None]]:
        """Yield name, pairs, multipoles and survey of the parts that axes make; None for an axis that is whole."""
        axes = itertools.product([None, *self.spectra], [None, *self.ranges], [None, *self.surveys])
        for pairs, limits, survey in axes:
            cut = sum(x is not None for x in (pairs, limits, survey))
            if cut == 0 or (cut > 1 and not self.cross):
                continue
            words = [
                *([survey] if survey else []),
                *(["+".join(p.upper() for p in pairs)] if pairs else []),
                *([f"l {limits[0]}-{limits[1]}"] if limits else []),
            ]
            yield " ".join(words), pairs, limits, survey

    def data_of_parts(self, likelihoods: Sequence[Likelihood]) -> dict[str, list[Any]]:
        """Return each part's data, as a fit's.

        What cannot be cut is kept where it lies inside of a part, and left out of it otherwise.

        Parameters
        ----------
        likelihoods : sequence of Likelihood
            Of the whole, in the order of its data.

        Raises
        ------
        ConfigError
            If a part has no data, or all of them.
        """
        selections = select(self.fit.data)
        out: dict[str, list[Any]] = {}
        for name, pairs, limits, survey in self._axes():
            kept = [
                _cut(one, like, pairs, limits, survey, whole=like.info.name in self.common)
                for one, like in zip(selections, likelihoods, strict=True)
            ]
            out[name] = [item for item in kept if item is not None]
            measured = [
                i for i, like in zip(kept, likelihoods, strict=True) if like.info.name not in self.common
            ]
            if not any(item is not None for item in measured):
                raise ConfigError(
                    f"subsets: {name}: no data of fit {self.fit.name} lie there; take this part out"
                )
        return out | {name: list(items) for name, items in self.parts.items()}


def item_of(selection: Selection, **options: Any) -> Any:
    """Return a data set as a list of data has it, with further options."""
    if selection.kind == OWN or selection.kind == "own":
        return OWN
    given = {**selection.options, **options}
    if selection.kind == "dataset":
        return {selection.name: given} if given else selection.name
    return {selection.kind: selection.name, **given}


def _cut(
    selection: Selection,
    like: Likelihood,
    pairs: Sequence[str] | None,
    limits: Sequence[int] | None,
    survey: str | None,
    *,
    whole: bool,
) -> Any:
    """Return what is left of a data set in a part; None if nothing is."""
    if whole:
        return item_of(selection)
    sky = like.info.sky
    if survey is not None and survey not in sky:
        return None
    if pairs is None and limits is None:
        return item_of(selection)
    have: dict[str, tuple[int, int]] = {}
    for ranges in sky.values():
        have |= {pair: (int(a), int(b)) for pair, (a, b) in ranges.items()}
    wanted: dict[str, tuple[int, int]] = {}
    for pair, (low, high) in have.items():
        first, last = (low, high) if limits is None else (max(low, int(limits[0])), min(high, int(limits[1])))
        inside = first <= last and (pairs is None or pair in pairs)
        wanted[pair] = (first, last) if inside else (0, 0)
    if not any(last for _, last in wanted.values()):
        return None
    if wanted == have:
        return item_of(selection)
    item = item_of(selection, cuts={pair: list(x) for pair, x in wanted.items()})
    try:
        for one in select([item]):
            one.load()
    except (LikelihoodError, ConfigError):
        return None  # cannot be cut, or no bandpower lies inside as a whole
    return item


def subset_requests(run: Run) -> dict[str, SubsetRequest]:
    """Return the requests of a run's ``subsets``, by name.

    Raises
    ------
    ConfigError
        If one names an unknown fit or part, a part twice, or asks for none.
    """
    out = {}
    for name, spec in (run.config.get("subsets") or {}).items():
        where = f"subsets.{name}"
        if spec["fit"] not in run.config["fits"]:
            raise ConfigError(f"{where}.fit: {unknown_name('fit', spec['fit'], run.config['fits'])}")
        fit = run.fits.get(spec["fit"]) or fit_of_run(run, spec["fit"])
        hidden = {"fit", "published"} if fit.blind else {"fit"}
        request = SubsetRequest(fit=fit, **{k: x for k, x in spec.items() if k not in hidden})
        names = request.names
        if not names:
            raise ConfigError(f"{where}: expected spectra, ranges, surveys or parts, found none")
        if twice := [x for x in names if names.count(x) > 1 or x == WHOLE]:
            raise ConfigError(f"{where}: a part is called {twice[0]} twice; give parts other names")
        for one in (x for pair in request.pairs for x in pair):
            if one not in names:
                raise ConfigError(f"{where}.pairs: {unknown_name('part', one, names)}")
        known = [s.name for s in select(fit.data)]
        if lacking := [x for x in request.common if x not in known]:
            raise ConfigError(f"{where}.common: {unknown_name('data set of the fit', lacking[0], known)}")
        out[name] = request
    return out
