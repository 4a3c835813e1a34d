"""How often splits of two cross-spectra coincide: where they do, noise enters their covariance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from cmbfit.spectra.correlations import FieldCorrelations
from cmbfit.spectra.fields import Field, split_pairs
from cmbfit.spectra.multi import Entry

Coincidence = Mapping[tuple[int | None, int | None], float]


def coincidences(corr: FieldCorrelations, first: Entry, second: Entry) -> tuple[Coincidence, Coincidence]:
    """Return how often splits coincide in the two pairings, as fractions of all pairs of pairs of splits.

    Keys are the noise models shared by left and right two-point function, None for none.
    """
    a, b, c, d = (corr.fields[n] for n in (first.a, first.b, second.a, second.b))
    direct: Counter[tuple[int | None, int | None]] = Counter()
    crossed: Counter[tuple[int | None, int | None]] = Counter()

    def shared(x: Field, s: int, y: Field, t: int) -> int | None:
        return corr.noise_index(x.name, s) if x is y and s == t else None

    ab, cd = split_pairs(a, b), split_pairs(c, d)
    for s, t in ab:
        for u, v in cd:
            direct[shared(a, s, c, u), shared(b, t, d, v)] += 1
            crossed[shared(a, s, d, v), shared(b, t, c, u)] += 1
    total = len(ab) * len(cd)
    shares = [{key: count / total for key, count in counter.items()} for counter in (direct, crossed)]
    return shares[0], shares[1]
