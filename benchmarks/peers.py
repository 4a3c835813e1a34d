"""Other people's codes on the same data files, for benchmarks and tests; each is an optional dependency."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit import data
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.gaussian import GaussianBandpowers

PLIK_LITE = ("cl_cmb_plik_v22.dat", "c_matrix_plik_v22.dat", "blmin.dat", "blmax.dat", "bweight.dat")
"""Files of plik-lite as the Planck Legacy Archive names them."""


def clipy_plik_lite(folder: str | Path) -> Any:
    """Return clipy's plik-lite TTTEEE, a jitted function of (C_l of TT EE BB TE TB EB, {"A_planck": ...}).

    Parameters
    ----------
    folder : str or Path
        Where the data set is written in the form that clipy reads; it must not exist.

    Raises
    ------
    ImportError
        If clipy is not installed.
    """
    import clipy  # noqa: PLC0415  optional
    from astropy.io import fits  # noqa: PLC0415  a second to import

    root = Path(folder)
    like = root / "clik" / "lkl_0"
    external = like / "_external"
    external.mkdir(parents=True)
    (root / "_mdb").write_text("", encoding="utf-8")
    (root / "clik" / "_mdb").write_text("n_lkl_object int 1\n", encoding="utf-8")
    fits.PrimaryHDU(np.array([2508, 2508, -1, 2508, -1, -1])).writeto(root / "clik" / "lmax")
    (like / "_mdb").write_text(
        "lkl_type str plik_cmbonly\ncmbonly_version int 22\nunit float 1\nlmin int 30\nlmax int 2508\n",
        encoding="utf-8",
    )
    fits.PrimaryHDU(np.array([1, 1, 0, 1, 0, 0])).writeto(like / "has_cl")
    for file in PLIK_LITE:
        (external / file).write_bytes(data.read_bytes(f"planck2018_plik_lite/{file}"))
    return clipy.clik(str(root))


def cosmopower_jax_log_like() -> Callable[[Any], Any] | None:
    """Return a jitted function (batch, 7) -> ln L on the same plik-lite files; None without the peer.

    Columns: omega_b, omega_c, h, tau, n_s, ln10As, A_planck (the peer's own order).
    """
    if any(importlib.util.find_spec(name) is None for name in ("jax", "cosmopower_jax")):
        return None
    # optional peers, seconds to import
    import jax  # noqa: PLC0415

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp  # noqa: PLC0415
    from cosmopower_jax.cosmopower_jax import CosmoPowerJAX  # noqa: PLC0415

    like = load_likelihood("planck2018_plik_lite_ttteee")
    assert isinstance(like, GaussianBandpowers)  # noqa: S101 (for the type checker)
    ell = np.arange(2, 2509)
    to_dl = jnp.asarray(ell * (ell + 1) / (2 * np.pi) * 2.7255e6**2)
    windows = {b.pair: jnp.asarray(b.window.numpy()[:, 2 : len(ell) + 2]) for b in like.blocks}
    data = jnp.asarray(like.data.numpy())
    cholesky = jnp.asarray(like.cholesky.numpy())
    emulators = {p: CosmoPowerJAX(probe=f"cmb_{p}", verbose=False) for p in windows}

    def log_like(theta: Any) -> Any:
        parts = []
        for p, window in windows.items():
            spectrum = emulators[p].predict(theta[:, :6]).reshape(len(theta), -1)  # it drops an axis of 1
            dl = spectrum[:, : len(ell)] * to_dl
            parts.append(dl @ window.T)
        residual = jnp.concatenate(parts, axis=1) / theta[:, 6:] ** 2 - data
        white = jax.scipy.linalg.solve_triangular(cholesky, residual.T, lower=True)
        return -0.5 * (white**2).sum(0)

    jitted = jax.jit(log_like)
    return lambda theta: jitted(theta).block_until_ready()
