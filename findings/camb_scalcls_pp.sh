#!/bin/sh
# CAMB 2.0.5: the column PP means two things in two files of the same run.
#
# Behaviour: `camb FILE.ini` with CMB_outputscale = 7.42835e12 writes scalCls.dat (header L TT EE TE PP TP)
# and lenspotentialCls.dat (header L TT EE BB TE PP TP EP). PP of the second is dimensionless,
# [L(L+1)]^2 C_L^phiphi / 2pi; PP of the first is L^4 C_L^phiphi times CMB_outputscale, though phi has no
# temperature. Neither header says which.
# Seen: at L = 2, 1.04557e+06 and 5.04036e-08, a ratio of 2.07e13 = 2.79 x 7.428e12.
# Why it matters: a reader that goes by column names takes a lensing spectrum 2e13 times too large, or, if
# CMB_outputscale is not set, 2.8 (L = 2) to 6.28 (high L) times, which looks like lensing.
#
# Exits with 0 while CAMB does this, with 1 if it no longer does.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "camb==2.0.5"
cd "$folder"
cat > run.ini <<'INI'
output_root = run
get_scalar_cls = T
get_tensor_cls = F
get_transfer = F
do_lensing = T
do_nonlinear = 0
l_max_scalar = 600
k_eta_max_scalar = 1500
ombh2 = 0.0224
omch2 = 0.12
hubble = 67.4
omnuh2 = 0
omk = 0
temp_cmb = 2.7255
helium_fraction = 0.2454
massless_neutrinos = 3.044
massive_neutrinos = 0
initial_power_num = 1
scalar_amp(1) = 2.1e-9
scalar_spectral_index(1) = 0.965
reionization = T
re_use_optical_depth = T
re_optical_depth = 0.054
CMB_outputscale = 7.42835025e12
scalar_output_file = scalCls.dat
lensed_output_file = lensedCls.dat
lens_potential_output_file = lenspotentialCls.dat
INI
"$folder/venv/bin/python" - <<'PY'
import math
import sys

import camb
import numpy as np

camb.run_ini("run.ini")
print("CAMB", camb.__version__)
pp = {}
for name, column in (("scalCls", 4), ("lenspotentialCls", 5)):
    path = f"run_{name}.dat"
    print(f"{name:17s}", open(path).readline().strip("# \n"))
    ell, pp[name] = np.loadtxt(path, usecols=(0, column), unpack=True)[:, :399]
ratio = pp["scalCls"] / pp["lenspotentialCls"]
expected = 2 * math.pi * ell**2 / (ell + 1) ** 2 * 7.42835025e12
for i in (0, 98, 398):
    print(f"L = {ell[i]:3.0f}: scalCls {pp['scalCls'][i]:.5e}, lenspotentialCls {pp['lenspotentialCls'][i]:.5e}, ratio {ratio[i]:.4e}")
same = np.allclose(ratio, expected, rtol=1.1e-5)  # six digits in both files
print("PP of scalCls is L^4 C_L x CMB_outputscale:", same)
sys.exit(0 if same else 1)
PY
