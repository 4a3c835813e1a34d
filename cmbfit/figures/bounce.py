"""A bounce before inflation: its energies, and the power that each mass and vacuum of perturbations leaves."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.theory.primordial.lqc.history import History

_LINES = {"kinetic": "-", "order 0": ":", "order 2": "--", "order 4": "-."}


def plot_bounce(found: History, title: str) -> Figure:
    """Return two panels: energies over rho_c by e-folds since the bounce, and power over that of inflation alone by wavenumber."""
    with style():
        fig = new_figure(9, 4.2)
        left, right = fig.subplots(1, 2, width_ratios=(1, 1.35))
        seen = found.efolds < found.inflation[0] + 3
        n = found.efolds[seen]
        left.semilogy(n, found.kinetic[seen].clip(1e-16), color=SECOND, label=r"kinetic, $\dot\phi^2/2$")
        left.semilogy(n, found.potential[seen].clip(1e-16), color=THEORY, label=r"$V(\phi)$")
        left.semilogy(n, np.exp(-6 * n), ":", color=DATA, lw=1, label=r"$(a/a_{\rm B})^{-6}$")
        left.axvline(found.inflation[0], color="0.6", lw=0.8)
        left.set(
            xlabel=r"e-folds since the bounce, $\ln(a/a_{\rm B})$",
            ylabel=r"energy over $\rho_{\rm c}$",
            ylim=(1e-15, 3),
        )
        left.set_title(title, fontsize=9)
        left.legend(fontsize=8)
        for key, (x, power) in found.choices.items():
            dashes = next(dash for word, dash in _LINES.items() if word in key)
            own = key == found.chosen
            right.semilogx(
                x * found.k_b, np.log10(power), dashes, color=THEORY if key.startswith("dressed") else SECOND,
                lw=2.2 if own else 1.1, label=key + (" (this model)" if own else ""),
            )  # fmt: skip
        good = np.isfinite(found.scalar)
        right.semilogx(
            found.k[good],
            np.log10(found.scalar[good]),
            ".",
            color="0.45",
            ms=2.5,
            zorder=0,
            label="scalars, every turn",
        )
        right.axvline(found.k_b, color="0.6", lw=0.8)
        right.set(
            xlabel="k [1/Mpc]",
            ylabel=r"$\log_{10}\,\mathcal{P}/\mathcal{P}_{\rm inflation}$",
            ylim=(-1.0, 2.9),
        )
        right.set_title(
            rf"$k_{{\rm B}}$ = {found.k_b:.2g}/Mpc, $\phi_{{\rm B}}$ = {found.phi_b:.2f} $m_{{\rm Pl}}$, inflation lasts "
            f"{found.inflation[1] - found.inflation[0]:.1f} e-folds",
            fontsize=9,
        )
        right.legend(fontsize=6.5, ncols=2, loc="upper right")
    return fig


def bounce_table(found: History) -> dict[str, np.ndarray]:
    """Return the plotted numbers: both energies, 1 + 2N of each choice, and the evolved ratios."""
    parts = [
        ("kinetic energy over rho_c", found.efolds, found.kinetic),
        ("potential energy over rho_c", found.efolds, found.potential),
        *((key, x * found.k_b, power) for key, (x, power) in found.choices.items()),
        ("scalars, every turn", found.k, found.scalar),
        ("tensors, every turn", found.k, found.tensor),
    ]
    return {
        "what": np.concatenate([[what] * len(x) for what, x, _ in parts]),
        "efolds_or_k_per_Mpc": np.concatenate([x for _, x, _ in parts]),
        "value": np.concatenate([y for _, _, y in parts]),
    }
