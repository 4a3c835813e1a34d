"""CosmoPower networks (Spurio Mancini et al. 2022, MNRAS 511, 1771) behind the Theory interface.

Reads the `.npz` form that CosmoPower-JAX (Piras & Spurio Mancini 2023) reads too, with an array for each
layer: ``W_i`` (n_in, n_out), ``b_i``, ``alphas_i``, ``betas_i``, ``parameters``, ``modes``,
``param_train_mean`` and so on. A pickle can run any code when it is opened, so pickles are
refused, inside `.npz` files too. Networks do not know where they were trained: the box is declared by
who loads them, or loading is refused.

Layers: y = x W + b, then y -> (beta + sigmoid(alpha y)(1 - beta)) y but for the last layer. The output
is log10 C_l (TT, EE), or coordinates of principal components of C_l (TE) or of its log10 (pp); C_l is
dimensionless, to be multiplied by (2.7255e6 uK)^2.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import BundleError
from cmbfit.io import atomic_buffer, reading, sha256_file
from cmbfit.theory.base import check_box
from cmbfit.theory.spectra import Spectra
from cmbfit.units import T_CMB_UK, dl_over_cl

PAIRS = ("tt", "te", "ee", "pp")

CARD = ("code", "mnu", "nonlinear")
"""What a card must say of the spectra that networks were trained on: Boltzmann code, neutrino mass [eV], model of
non-linear growth ("linear" for none). CosmoPower-JAX 0.5.8's own `cmb_pp` is linear and without mass: 14% low at L = 1000."""

_NAMES = {
    "omega_b": "ombh2",
    "omega_cdm": "omch2",
    "h": "h",
    "tau_reio": "tau",
    "n_s": "ns",
    "ln10^{10}A_s": "logA",
}
"""CosmoPower's names of parameters to ours; `h` stays, since it is no parameter of ours (H0 / 100)."""


_PCA = ("training_mean", "training_std", "pca_matrix")
_SYNONYMS = {
    "parameters_mean": "param_train_mean",
    "parameters_std": "param_train_std",
    "features_mean": "feature_train_mean",
    "features_std": "feature_train_std",
}


@dataclass(frozen=True)
class CosmoPowerArrays:
    """One network's numbers.

    Attributes
    ----------
    parameters : tuple of str
        Input names in the file's order.
    ell : numpy.ndarray of int, shape (n_ell,)
    weights : tuple of numpy.ndarray, each (n_in, n_out)
    biases : tuple of numpy.ndarray, each (n_out,)
    activations : tuple of (alpha, beta), each (n_out,)
        One fewer than there are weights.
    input_mean, input_std, output_mean, output_std : numpy.ndarray
    pca : (mean, std, matrix) or None
        Of the principal components.
    log : bool
        Whether the decoded output is log10 C_l or C_l itself.
    """

    parameters: tuple[str, ...]
    ell: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activations: tuple[tuple[np.ndarray, np.ndarray], ...]
    input_mean: np.ndarray
    input_std: np.ndarray
    output_mean: np.ndarray
    output_std: np.ndarray
    pca: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    log: bool


def read_cosmopower(path: str | Path) -> CosmoPowerArrays:
    """Read a network from an `.npz` of plain arrays; never unpickles.

    Raises
    ------
    BundleError
        If the file is no such `.npz`, holds pickled objects, or its shapes disagree.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise BundleError(
            f"{path}: expected an .npz file; pickles can run any code and are refused: {_CONVERT}"
        )
    try:
        with reading(path, "a CosmoPower network", BundleError):
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as f:
                arrays = {name: f[name] for name in f.files}
            network = _network(arrays)
    except BundleError as error:
        cause = error.__cause__
        if isinstance(cause, ValueError) and "pickle" in str(cause).lower():
            raise BundleError(f"{path}: holds pickled objects, which are refused: {_CONVERT}") from cause
        if isinstance(cause, KeyError):
            raise BundleError(
                f"{path}: no array {cause}; found {', '.join(sorted(arrays))}; {_CONVERT}"
            ) from cause
        raise
    _check(network, path)
    return network


def _network(arrays: dict[str, np.ndarray]) -> CosmoPowerArrays:
    n = int(arrays["n_layers"])
    arrays = arrays | {new: arrays[old] for old, new in _SYNONYMS.items() if old in arrays}
    pca = None
    if "pca_matrix" in arrays:
        mean, std, matrix = (arrays[k].astype("f8") for k in _PCA)
        pca = mean, std, matrix
    return CosmoPowerArrays(
        parameters=tuple(str(x) for x in arrays["parameters"]),
        ell=arrays["modes"].astype(int),
        weights=tuple(arrays[f"W_{i}"].astype("f8") for i in range(n)),
        biases=tuple(arrays[f"b_{i}"].astype("f8") for i in range(n)),
        activations=tuple(
            (arrays[f"alphas_{i}"].astype("f8"), arrays[f"betas_{i}"].astype("f8")) for i in range(n - 1)
        ),
        input_mean=arrays["param_train_mean"].astype("f8"),
        input_std=arrays["param_train_std"].astype("f8"),
        output_mean=arrays["feature_train_mean"].astype("f8"),
        output_std=arrays["feature_train_std"].astype("f8"),
        pca=pca,
        log=bool(arrays["log"]) if "log" in arrays else pca is None,
    )


def _check(network: CosmoPowerArrays, path: Path) -> None:
    """Raise :class:`BundleError` unless shapes fit together and the numbers are finite."""
    n_in, ell = len(network.parameters), network.ell
    if not network.weights:
        raise BundleError(f"{path}: a network without layers")
    # l as an index of an array: a hostile l of 10^12 must not become its length
    if (
        ell.ndim != 1
        or ell.size == 0
        or ell.min() < 0
        or ell.max() > 20_000
        or len(set(ell.tolist())) < ell.size
    ):
        raise BundleError(f"{path}: modes: expected distinct multipoles from 0 to 20000")
    n_out = ell.size if network.pca is None else network.pca[2].shape[0] if network.pca[2].ndim else 0
    shapes: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {
        "param_train_mean": (network.input_mean, (n_in,)),
        "param_train_std": (network.input_std, (n_in,)),
        "feature_train_mean": (network.output_mean, (n_out,)),
        "feature_train_std": (network.output_std, (n_out,)),
    }
    width = n_in
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        shapes[f"W_{i}"] = weight, (width, bias.size)
        shapes[f"b_{i}"] = bias, (bias.size,)
        width = bias.size
        if i < len(network.activations):
            alpha, beta = network.activations[i]
            shapes |= {f"alphas_{i}": (alpha, (width,)), f"betas_{i}": (beta, (width,))}
    if network.pca is not None:
        expected = ((ell.size,), (ell.size,), (n_out, ell.size))
        shapes |= {k: (a, shape) for k, a, shape in zip(_PCA, network.pca, expected, strict=True)}
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise BundleError(f"{path}: {name} has shape {array.shape}, expected {shape}")
        if not np.isfinite(array).all():
            raise BundleError(f"{path}: {name} holds numbers that are not finite")
    if width != n_out:
        raise BundleError(f"{path}: the last layer gives {width} numbers, expected {n_out}")


_CONVERT = (
    "load it once with the package that made it (cosmopower_jax, in an environment where you trust the "
    "file) and write its arrays with cmbfit.theory.cosmopower.from_cosmopower_jax and write_cosmopower"
)


def write_cosmopower(path: str | Path, network: CosmoPowerArrays) -> None:
    """Write a network as plain arrays: what :func:`read_cosmopower` reads."""
    arrays: dict[str, Any] = {
        "n_layers": np.array(len(network.weights)),
        "parameters": np.array(network.parameters),
        "log": np.array(network.log),
        "modes": network.ell,
        "param_train_mean": network.input_mean,
        "param_train_std": network.input_std,
        "feature_train_mean": network.output_mean,
        "feature_train_std": network.output_std,
    }
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        arrays |= {f"W_{i}": weight, f"b_{i}": bias}
    for i, (alpha, beta) in enumerate(network.activations):
        arrays |= {f"alphas_{i}": alpha, f"betas_{i}": beta}
    if network.pca is not None:
        arrays |= dict(zip(_PCA, network.pca, strict=True))
    with atomic_buffer(path) as f:
        np.savez(f, **arrays)


def from_cosmopower_jax(model: Any) -> CosmoPowerArrays:
    """Take the numbers of a ``cosmopower_jax.CosmoPowerJAX`` object of tt, te, ee or pp."""
    biases = [np.asarray(b) for _, b in model.weights]
    if not model.probe.startswith("custom"):
        # its own networks have one number as the last bias, written last in a longer array
        biases[-1] = np.full_like(biases[-1], biases[-1][-1])
    with_pca = hasattr(model, "pca_matrix")
    return CosmoPowerArrays(
        parameters=tuple(model.parameters),
        ell=np.asarray(model.modes).astype(int),
        weights=tuple(np.asarray(w).T for w, _ in model.weights),
        biases=tuple(biases),
        activations=tuple((np.asarray(a), np.asarray(b)) for a, b in model.hyper_params),
        input_mean=np.asarray(model.param_train_mean),
        input_std=np.asarray(model.param_train_std),
        output_mean=np.asarray(model.feature_train_mean),
        output_std=np.asarray(model.feature_train_std),
        pca=(model.training_mean, model.training_std, model.pca_matrix) if with_pca else None,
        log=bool(model.log) or model.probe == "cmb_pp",
    )


class _Network(OnDevice):
    def __init__(self, arrays: CosmoPowerArrays) -> None:
        def on(a: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(a))

        self.layers = [(on(w), on(b)) for w, b in zip(arrays.weights, arrays.biases, strict=True)]
        self.activations = [(on(a), on(b)) for a, b in arrays.activations]
        self.input = on(arrays.input_mean), on(arrays.input_std)
        self.output = on(arrays.output_mean), on(arrays.output_std)
        self.log = arrays.log
        self.pca = None if arrays.pca is None else tuple(on(a) for a in arrays.pca)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:  # (batch, n_parameters) -> (batch, n_ell), C_l
        x = (x - self.input[0]) / self.input[1]
        for (weight, bias), (alpha, beta) in zip(self.layers[:-1], self.activations, strict=True):
            y = x @ weight + bias
            x = (beta + torch.sigmoid(alpha * y) * (1 - beta)) * y
        weight, bias = self.layers[-1]
        out = (x @ weight + bias) * self.output[1] + self.output[0]
        if self.pca is not None:
            mean, std, matrix = self.pca
            out = (out @ matrix) * std + mean
        return 10**out if self.log else out


def _card_of(files: Mapping[str, Any], card: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a card, if it is whole."""
    if card is not None:
        if missing := [key for key in CARD if key not in card]:
            raise BundleError(f"CosmoPower: the card does not say {', '.join(missing)}")
        return dict(card)
    words = f"declare a card ({', '.join(CARD)})"
    if "pp" in files:
        raise BundleError(
            "CosmoPower: the networks do not say whether their lensing potential is linear and how heavy its neutrinos are, "
            f"which moves it by more than data allow: {words}"
        )
    warnings.warn(f"CosmoPower: the networks do not say what they were trained on: {words}", stacklevel=3)
    return {}


class CosmoPowerTheory(OnDevice):
    """CosmoPower networks as a Theory; parameters are named as in cmbfit, `h` where the networks take it.

    Parameters
    ----------
    files : mapping of str to path
        ``tt``, ``te``, ``ee``, ``pp``: a file each; any of them.
    box : mapping of str to (float, float)
        Where the networks were trained. It stands in no file: declare it, in CosmoPower's or our names.
    card : mapping, optional
        On what they were trained: the entries of :data:`CARD` and any others, which the settings then show. Without one
        a warning is given, and networks of the lensing potential are refused.

    Raises
    ------
    BundleError
        If a file is refused, the box misses a parameter, the networks disagree, or the card is missing or not whole.
    """

    def __init__(
        self,
        files: Mapping[str, str | Path],
        box: Mapping[str, tuple[float, float]],
        card: Mapping[str, Any] | None = None,
    ) -> None:
        if not files or any(p not in PAIRS for p in files):
            raise BundleError(
                f"CosmoPower: expected files for {', '.join(PAIRS)}, found {', '.join(files) or 'none'}"
            )
        arrays = {pair: read_cosmopower(path) for pair, path in files.items()}
        first = next(iter(arrays.values()))
        for pair, network in arrays.items():
            if network.parameters != first.parameters or not np.array_equal(network.ell, first.ell):
                raise BundleError(
                    f"CosmoPower: {files[pair]} has other parameters or multipoles than the first file"
                )
        self.parameters = tuple(_NAMES.get(name, name) for name in first.parameters)
        declared = {_NAMES.get(name, name): limits for name, limits in box.items()}
        if missing := [name for name in self.parameters if name not in declared]:
            raise BundleError(
                f"CosmoPower: the networks do not say where they were trained: declare a box for {', '.join(missing)}"
            )
        self.box = {name: declared[name] for name in self.parameters}
        self.card = _card_of(files, card)
        self.ell = first.ell
        self.lmax = int(first.ell.max())
        self._sha256 = {pair: sha256_file(path) for pair, path in files.items()}
        self._columns = torch.from_numpy(np.asarray(first.ell, dtype=np.int64))
        x = self._columns.double()
        power = dl_over_cl(x)
        self._factors = {
            pair: power * x * (x + 1) if pair == "pp" else power * T_CMB_UK**2 for pair in arrays
        }
        self._networks = {pair: _Network(network) for pair, network in arrays.items()}

    @property
    def settings(self) -> dict[str, Any]:
        """Files, and what was declared of them."""
        box = {name: list(limits) for name, limits in self.box.items()}
        return {"code": "cosmopower", "sha256": self._sha256, "declared_box": box, "declared_card": self.card}

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return the networks' spectra; multipoles below their first are zero."""
        check_box(theta, self.parameters, self.box)
        dl = {}
        for pair, network in self._networks.items():
            full = torch.zeros(len(theta), self.lmax + 1, dtype=theta.dtype, device=theta.device)
            full[:, self._columns] = self._factors[pair] * network(theta)
            dl[pair] = full
        return Spectra(dl, {p: theta[:, i] for i, p in enumerate(self.parameters)})
