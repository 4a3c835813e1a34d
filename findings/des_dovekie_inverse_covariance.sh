#!/bin/sh
# cosmofit 2.2.0: the array `cov` of the DES supernova file is the inverse covariance, and the sample is not the one that its name says.
#
# Behaviour: the wheel carries cosmofit/data/sn/des-sn5yr/DES-SN5YR_STAT+SYS.npz, as the DES-Dovekie release (arXiv:2511.07517) has it: arrays
# `nsn` (1820) and `cov` (the upper triangle). DES-SN5YR (arXiv:2401.02929) has 1829 supernovae, and a covariance.
# Seen: the median of the diagonal is 36.7; as a covariance that is 6.1 mag a supernova, of its inverse it is 0.17 mag, which
# the column MUERR of the table beside it says too.
# Why it matters: read as its name says, ln L is wrong by orders of magnitude without any error; and what is called a fit to DES-SN5YR is one
# to the recalibrated sample.
#
# Exits with 0 while the file is so, with 1 if it no longer is.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "numpy==2.2.6"
"$folder/venv/bin/pip" install -q --no-deps "cosmofit==2.2.0"
"$folder/venv/bin/python" - <<'PY'
import pathlib
import sys
from importlib.metadata import files

import numpy as np

held = {f.name: pathlib.Path(f.locate()) for f in files("cosmofit") if "des-sn5yr" in str(f)}
archive = np.load(held["DES-SN5YR_STAT+SYS.npz"], allow_pickle=False)
n = int(archive["nsn"][0])
matrix = np.zeros((n, n))
matrix[np.triu_indices(n)] = archive["cov"]
matrix = matrix + np.triu(matrix, 1).T
as_covariance = float(np.median(np.diag(matrix)) ** 0.5)
as_inverse = float(np.median(np.diag(np.linalg.inv(matrix))) ** 0.5)
lines = held["DES-SN5YR_HD.csv"].read_text().splitlines()
names = next(line for line in lines if line.startswith("VARNAMES:")).split()
errors = [float(line.split()[names.index("MUERR")]) for line in lines if line.startswith("SN:")]
stated = float(np.median(errors))
print(f"{n} supernovae; errors of {as_covariance:.2f} mag if `cov` is a covariance, {as_inverse:.3f} mag if it is the inverse of one, "
      f"{stated:.3f} mag in the table")
sys.exit(not (n == len(errors) == 1820 and as_covariance > 3 and abs(as_inverse / stated - 1) < 0.2))
PY
