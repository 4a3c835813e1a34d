#!/bin/sh
# GetDist 1.7.7 and ArviZ 0.23.4 take the order of rows for time: emcee's flat chains look uncorrelated.
#
# Behaviour: emcee 3.1.6's get_chain(flat=True) goes step by step, all walkers of a step together. Handed these rows,
# GetDist's getEffectiveSamples and ArviZ's ess look for correlation between neighbours, which are other walkers, and find
# next to none; the same rows walker by walker give the walkers' autocorrelation. Neither can know which is meant.
# Seen: 64 walkers, 2000 steps, tau = 9 by construction, 14222 effective draws: GetDist 128000 and ArviZ 129439 from
# get_chain(flat=True), 14911 and 14156 walker by walker.
# Why it matters: effective sample sizes are too large by tau, and GetDist's kernels, whose width follows them, too narrow.
#
# Exits with 0 while both do this, with 1 if they no longer do.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "getdist==1.7.7" "arviz==0.23.4" "emcee==3.1.6"
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import arviz
import emcee
import numpy as np
from getdist import MCSamples

rng, rho, steps, walkers = np.random.default_rng(1), 0.8, 2000, 64
backend = emcee.backends.Backend()
backend.reset(walkers, 1)
backend.grow(steps, None)
x = rng.standard_normal((walkers, 1))
for _ in range(steps):
    x = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal((walkers, 1))
    backend.save_step(emcee.State(x, log_prob=-0.5 * x[:, 0] ** 2), np.ones(walkers, bool))
true = steps * walkers * (1 - rho) / (1 + rho)
rows = {
    "step by step": backend.get_chain(flat=True),
    "walker by walker": backend.get_chain().swapaxes(0, 1).reshape(-1, 1),
}
found = {}
for order, flat in rows.items():
    chain = MCSamples(samples=flat, names=["x"], settings={"ignore_rows": 0})
    found[order] = chain.getEffectiveSamples(0), float(arviz.ess(flat[None, :, 0]))
    print(f"{order}: GetDist {found[order][0]:.0f}, ArviZ {found[order][1]:.0f}; true {true:.0f}")
wrong = all(n > 5 * true for n in found["step by step"])
right = all(0.8 < n / true < 1.2 for n in found["walker by walker"])
sys.exit(0 if wrong and right else 1)
PY
