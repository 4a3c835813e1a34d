"""The one store of unfinished work: what a killed job goes on from.

Chains, nested sampling, Boltzmann runs, transfer functions and searches keep here what they have so far. A folder belongs to the
inputs that made it, by their content: it is refused to any other, or other inputs have another folder. Pieces are
published atomically and carry checksums, so that a damaged one is an error and never a number. The step that takes a
finished product in removes what it was made of (:func:`discard`), not the job that wrote it: a workflow that lost its
driver does not know that the product is whole, and asks for it again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cmbfit.errors import ResumeError
from cmbfit.io import atomic_buffer, json_text, parse_json, read_json, reading, sha256_json, write_json

RECORD = "identity.json"
"""The file of a folder that says what it is of."""


def own_folder(root: str | Path, inputs: Any) -> Path:
    """Return the folder under `root` for the checkpoint of these JSON-able inputs alone."""
    return Path(root) / sha256_json(inputs)[:16]


def claim(folder: str | Path, identity: Mapping[str, Any]) -> Path:
    """Record what a folder's checkpoint is made of, or refuse one that is made of something else.

    Parameters
    ----------
    folder : path
    identity : mapping
        JSON-able description of everything that defines the result: posterior, settings, seed, code.

    Returns
    -------
    Path
        The folder, which exists.

    Raises
    ------
    ResumeError
        If the folder belongs to another identity, and the message names what changed; or if it holds pieces and does
        not say of what.
    DataError
        If its record is damaged.
    """
    folder = Path(folder)
    record = folder / RECORD
    now = json.loads(json.dumps(dict(identity)))  # as it is on disk: lists for tuples
    if record.exists():
        if changed := differences(read_json(record), now):
            raise ResumeError(
                f"{folder}: this checkpoint was made from other inputs; changed: {'; '.join(changed)}. "
                "Restore them, or remove the folder to start again"
            )
    elif any(folder.glob("[!.]*.npz")):
        raise ResumeError(
            f"{folder}: there are pieces of a checkpoint and no {RECORD} that says of what; remove the folder to start again"
        )
    else:
        write_json(record, now)
    return folder


def own_checkpoint(root: str | Path, identity: Mapping[str, Any]) -> Checkpoint:
    """Return the checkpoint under `root` of these inputs alone; see :func:`claim` for what is refused."""
    return Checkpoint(own_folder(root, identity), identity)


class Checkpoint:
    """Named pieces in a folder, with the identity of what made them.

    Parameters
    ----------
    folder, identity
        See :func:`claim`, which also says what is refused.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.folder = claim(folder, identity)

    def path(self, name: str) -> Path:
        """Return where a piece lies."""
        return self.folder / f"{name}.npz"

    def put(self, name: str, **arrays: ArrayLike) -> None:
        """Publish a piece; one of that name is replaced.

        Nothing is written once the checkpoint was removed: whoever did it had no more use for it.
        """
        if not (self.folder / RECORD).exists():
            return
        with atomic_buffer(self.path(name)) as f:
            np.savez(f, **{key: np.asarray(value) for key, value in arrays.items()})  # type: ignore[arg-type]

    def get(self, name: str) -> dict[str, np.ndarray] | None:
        """Return a piece, None where there is none.

        Raises
        ------
        DataError
            If it is truncated or altered: each array in the file has its checksum.
        """
        path = self.path(name)
        if not path.exists():
            return None
        with damaged(path), path.open("rb") as raw, np.load(raw, allow_pickle=False) as f:
            return {key: f[key] for key in f.files}


def kept(
    store: Checkpoint | None, name: str, compute: Callable[[], Mapping[str, ArrayLike]]
) -> dict[str, np.ndarray]:
    """Return a piece of a checkpoint; computed and put there where it is missing, computed alone without a checkpoint."""
    found = None if store is None else store.get(name)
    if found is None:
        found = {key: np.asarray(value) for key, value in compute().items()}
        if store is not None:
            store.put(name, **found)
    return found


def kept_value(store: Checkpoint | None, name: str, compute: Callable[[], Any]) -> Any:
    """As :func:`kept`, for a JSON-able value: its numbers come back bit for bit, its tuples as lists."""
    if store is None:
        return compute()
    piece = kept(store, name, lambda: {"json": np.frombuffer(json_text(compute()).encode(), dtype=np.uint8)})
    with damaged(store.path(name)):
        return parse_json(piece["json"].tobytes())


def damaged(path: Path) -> AbstractContextManager[None]:
    """Turn whatever goes wrong while a piece is read into a DataError that says what to do."""
    return reading(path, "a checkpoint (damaged: remove the folder to start again)")


def require_made_of(product: str | Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse a product that was made from other inputs than these.

    An orphan of a killed driver may publish its own, of an earlier configuration, over the one that was made since.

    Raises
    ------
    ResumeError
        Naming what differs.
    """
    wanted = json.loads(json.dumps(dict(expected)))
    if changed := differences({k: found[k] for k in wanted if k in found}, wanted):
        raise ResumeError(
            f"{product}: made from other inputs than this run's; changed: {'; '.join(changed)}. Remove it and run again"
        )


def discard(*folders: str | Path) -> None:
    """Remove checkpoints that have served; an orphan of a killed driver may still be writing there."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Return the paths at which two JSON-able values differ, with short values.

    Examples
    --------
    >>> differences({"seed": 3, "data": {"lmax": 100}}, {"seed": 4, "data": {"lmax": 100}})
    ['seed (3 -> 4)']
    """
    if isinstance(before, dict) and isinstance(now, dict):
        out = []
        for key in sorted(set(before) | set(now)):
            where = f"{path}.{key}" if path else str(key)
            if key not in before or key not in now:
                out.append(f"{where} ({'new' if key in now else 'gone'})")
            else:
                out += differences(before[key], now[key], where)
        return out
    return [] if before == now else [f"{path} ({str(before)[:40]} -> {str(now)[:40]})"]
