#!/bin/sh
# candl 2.2.0: a data selection drops half of what it says, and the steps of synchrotron cannot be evaluated.
#
# Behaviour: `data_selection: "TT 90x90 ell<20 remove"` is read as a cut in l alone: the spectrum's name before it is
# passed over without a word, and every spectrum is cut. The steps low_ell_BB.Synchrotron*BandPass and
# low_ell_BB.GalacticDustSynchrotronCorrelation*BandPass call transformations.common.sync_frequency_scaling_bandpass,
# which no module defines.
# Seen: 2 of 2 spectra are cut, 3 bandpowers of each left of 4; AttributeError. The same in 1.8.2.
# Why it matters: who cuts one spectrum loses data of all others; a BB data model with synchrotron cannot be fitted.
#
# Exits with 0 while candl does both, with 1 if it no longer does.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "candl-like==2.2.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import sys
from pathlib import Path

import numpy as np
import yaml

ell = np.arange(2, 42.0)
window = np.exp(-0.5 * ((ell[:, None] - [8, 16, 25, 34]) / 3) ** 2)
window /= window.sum(0)
Path("windows").mkdir()
for name in ("TT_90x90", "EE_90x90"):
    np.savetxt(f"windows/{name}_window_functions.txt", np.column_stack([ell, window]))
np.savetxt("d.txt", np.ones(8))
np.savetxt("c.txt", np.eye(8))
spec = {
    "name": "x",
    "band_power_file": "d.txt",
    "covariance_file": "c.txt",
    "window_functions_folder": "windows/",
    "spectra_info": [{"TT 90x90": 4}, {"EE 90x90": 4}],
    "data_model": [],
    "data_selection": "TT 90x90 ell<12 remove",
}
Path("x.yaml").write_text(yaml.safe_dump(spec))
import candl
from candl.transformations import common

kept = [int(n) for n in candl.Like(f"{Path.cwd()}/x.yaml").N_bins]
print("bandpowers left:", dict(zip(("TT 90x90", "EE 90x90"), kept)))
lacking = not hasattr(common, "sync_frequency_scaling_bandpass")
print("sync_frequency_scaling_bandpass is missing:", lacking)
sys.exit(0 if kept == [3, 3] and lacking else 1)
PY
