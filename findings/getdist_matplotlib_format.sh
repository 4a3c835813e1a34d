#!/bin/sh
# GetDist 1.7.7 with Matplotlib 3.11.2: every triangle plot reads an attribute that Matplotlib will remove.
#
# Behaviour: GetDist places ticks by the length of their labels, which it takes from the text ScalarFormatter.format.
# Matplotlib deprecated that attribute in 3.11 and announces its removal in 3.13.
# Seen: "The format attribute was deprecated in Matplotlib 3.11 and will be removed in 3.13." while a figure is drawn;
# Python hides it by default, since the caller is a library.
# Why it matters: GetDist sets no upper bound on Matplotlib, so that an upgrade to 3.13 would end all its plots in an
# AttributeError, after the sampling is done. cmbfit asks for matplotlib<3.13 until then.
#
# Exits with 0 while the two do this, with 1 if they no longer do.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "getdist==1.7.7" "matplotlib==3.11.2"
cd "$folder"
MPLBACKEND=Agg "$folder/venv/bin/python" - <<'PY'
import sys
import warnings

import numpy as np
from getdist import MCSamples, plots
from matplotlib import MatplotlibDeprecationWarning

draws = np.random.default_rng(1).normal([0.0224, 0.12], [1.5e-4, 1.4e-3], (4000, 2))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    plotter = plots.get_subplot_plotter()
    plotter.triangle_plot(MCSamples(samples=draws, names=["ombh2", "omch2"], labels=["a", "b"]), filled=True)
    plotter.export("triangle.png")
found = {str(w.message) for w in caught if issubclass(w.category, MatplotlibDeprecationWarning)}
print("\n".join(sorted(found)) or "no deprecation")
sys.exit(not any("format attribute" in text and "3.13" in text for text in found))
PY
