"""Strategies that damage a good input: its bytes, the cards of its FITS headers, the values of its tree."""

from __future__ import annotations

import copy
import datetime as dt
import io
import json
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import strategies as st

CARD, RECORD = 80, 2880

_TOKENS = [
    b"\0", b"\n", b"-", b"nan", b"inf", b"-1", b"0", b"1e999", b"99999999999999999999", b"'", b"{", b"[", b": ", b"&a",
    b"*a", b"../", b"\xff\xfe", b"\xed\xa0\x80", b" " * 90,
]  # fmt: skip
_CARD_VALUES = [
    "-1", "0", "1", "3", "7", "99999999999", "9" * 30, "1E400", "NAN", "T", "F", "''", "'X'", "'RING'", "'NESTED'",
    "'1PB(9999999)'", "'0A'", "'PD(3)'", "'999999999999D'", "'K,mK'", "'BINTABLE'", "'IMAGE'", "", "/", "'unclosed",
]  # fmt: skip
_KEYS = [
    "NAXIS", "NAXIS1", "NAXIS2", "BITPIX", "PCOUNT", "GCOUNT", "TFIELDS", "TFORM1", "TFORM2", "TTYPE1", "TUNIT1",
    "TDIM1", "TSCAL1", "TZERO1", "TNULL1", "TDISP1", "THEAP", "NSIDE", "ORDERING", "COORDSYS", "POLCCONV", "INDXSCHM",
    "PIXTYPE", "XTENSION", "SIMPLE", "EXTNAME", "END", "CONTINUE",
]  # fmt: skip


@cache
def written(write: Callable[[Path], object], name: str = "x") -> bytes:
    """What a writer publishes, written once: the same bytes for every input, and no disk in between."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _place(size: int) -> st.SearchStrategy[int]:
    # headers lie at the start, directories of zip and HDF5 files at the end
    last = max(size - 1, 0)
    return st.one_of(
        st.integers(0, last), st.integers(0, min(400, last)), st.integers(max(0, last - 400), last)
    )


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes that differ from `raw` in one to four places, or have nothing to do with it."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=200))
    out = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(_place(len(out)))
        match draw(st.sampled_from(["set", "cut", "insert", "remove", "repeat", "token"])):
            case "set":
                out[at : at + 1] = draw(st.binary(min_size=1, max_size=8))
            case "cut":
                del out[at:]
            case "insert":
                out[at:at] = draw(st.binary(min_size=1, max_size=16))
            case "remove":
                del out[at : at + draw(st.sampled_from([1, 2, 8, CARD, RECORD]))]
            case "repeat":
                piece = bytes(out[at : at + draw(st.sampled_from([1, 10, CARD, RECORD]))])
                out[at:at] = piece * draw(st.integers(1, 3))
            case _:
                token = draw(st.sampled_from(_TOKENS))
                out[at : at + len(token)] = token
    return bytes(out)


@st.composite
def damaged_cards(draw: st.DrawFn, raw: bytes) -> bytes:
    """A FITS file with one to three header cards given other values, removed or written twice."""
    out = bytearray(raw)
    starts = [
        i for i in range(0, len(out), CARD) if out[i + 8 : i + 10] == b"= " and out[i : i + 1].isalpha()
    ]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(starts))
        key = out[at : at + 8].decode("ascii", "replace")
        match draw(st.sampled_from(["value", "value", "blank", "other", "twice"])):
            case "value":
                text = f"{key:8s}= {draw(st.sampled_from(_CARD_VALUES)):>20s}"
            case "blank":
                text = ""
            case "other":
                text = f"{draw(st.sampled_from(_KEYS)):8s}= {draw(st.sampled_from(_CARD_VALUES)):>20s}"
            case _:
                text = out[draw(st.sampled_from(starts)) :][:CARD].decode("ascii", "replace")
        out[at : at + CARD] = text.encode("ascii", "replace")[:CARD].ljust(CARD)
    return bytes(out)


def damaged_fits(raw: bytes) -> st.SearchStrategy[bytes]:
    """Half of them damaged in their cards, half in their bytes."""
    return st.one_of(damaged_cards(raw), damaged(raw))


def _deep(n: int) -> Any:
    out: Any = 1
    for _ in range(n):
        out = [out]
    return out


values = st.one_of(
    st.sampled_from([
        None, True, False, 0, 1, -1, 2, 10**30, -(10**30), 0.5, 1e308, 5e-324, float("nan"), float("inf"), "", " ", "x",
        "nan", "1", "1e400", "../x", "/etc/passwd", "a/../../b", "\0", "é\u202e", "{file}", "{0}", "{a.b}", "%s", "x" * 300,
        b"bytes", dt.date(2018, 7, 17),
    ]),
    st.sampled_from([[], {}, [1], [None], [[]], [1, 2, 3], ["a", "a"], {"a": 1}, {1: 2}, {None: None}, {"a": {"b": []}}]),
    st.integers(), st.floats(), st.text(max_size=20), st.builds(_deep, st.integers(1, 60)),
).map(copy.deepcopy)  # fmt: skip
# (copies: further damage must not reach the lists above)


def _paths(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [p for key, value in items for p in [(*at, key), *_paths(value, (*at, key))]]


@st.composite
def damaged_tree(draw: st.DrawFn, tree: Any) -> Any:
    """A tree of mappings and lists with one to three of its values replaced, removed, renamed or added."""
    out = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        paths = _paths(out)
        if not paths:
            return draw(values)
        *head, key = draw(st.sampled_from(paths))
        node = out
        for step in head:
            node = node[step]
        match draw(st.sampled_from(["replace", "replace", "remove", "rename", "add", "wrap"])):
            case "replace":
                node[key] = draw(values)
            case "remove":
                del node[key]
            case "rename" if isinstance(node, dict):
                node[draw(st.text(max_size=6))] = node.pop(key)
            case "wrap":
                node[key] = draw(st.sampled_from([[node[key]], {"a": node[key]}, str(node[key])]))
            case _ if isinstance(node, dict):
                node[draw(st.sampled_from(["x", "", 1, None, "path", "version"]))] = draw(values)
            case _:
                node.append(draw(values))
    return out if draw(st.integers(0, 29)) else draw(values)


@st.composite
def damaged_arrays(draw: st.DrawFn, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of which one to three are gone, renamed, of another shape or type, or hold absurd numbers."""
    out = dict(arrays)
    for _ in range(draw(st.integers(1, 3))):
        if not out:
            break
        name = draw(st.sampled_from(sorted(out)))
        a = out[name]
        match draw(st.sampled_from(["remove", "rename", "shape", "type", "fill", "scalar", "shuffle"])):
            case "remove":
                del out[name]
            case "rename":
                out[draw(st.sampled_from(["x", "record", "W_99", "state_x", *sorted(out)]))] = out.pop(name)
            case "shape":
                changes = (
                    [a[:0], a[..., None], a.reshape(-1), a[:1], np.concatenate([a, a])]
                    if a.ndim
                    else [a[None]]
                )
                out[name] = np.ascontiguousarray(draw(st.sampled_from(changes)))
            case "type":
                kind = draw(st.sampled_from(["i8", "f4", "?", "c16", "U8", "S4", "u1"]))
                try:
                    with np.errstate(all="ignore"), warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        out[name] = a.astype(kind)
                except (ValueError, TypeError):
                    out[name] = np.zeros(a.shape, kind)
            case "fill" if a.dtype.kind in "fiu" and a.size:
                b = a.copy().reshape(-1)
                fills = [0, 1, 120] if a.dtype.kind == "u" else [0, -1, 2**31 - 1] if a.dtype.kind == "i" else [
                    np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300]  # fmt: skip
                where, fill = draw(st.sampled_from([slice(None), 0, -1])), draw(st.sampled_from(fills))
                with np.errstate(all="ignore"):  # more than single precision holds
                    b[where] = fill
                out[name] = b.reshape(a.shape)
            case "shuffle" if a.ndim > 1:
                out[name] = np.ascontiguousarray(a.T)
            case _:
                out[name] = np.array(draw(st.sampled_from([0, -1, 10**12, 0.5, "x"])))
    return out


@cache
def _arrays_in(raw: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(raw), allow_pickle=False) as f:
        return {name: f[name] for name in f.files}


@st.composite
def damaged_npz(draw: st.DrawFn, raw: bytes) -> bytes:
    """Half of them damaged in their bytes, half in their arrays behind whole zip members."""
    if draw(st.booleans()):
        return draw(damaged(raw))
    out = io.BytesIO()
    np.savez(out, **draw(damaged_arrays(_arrays_in(raw))))
    return out.getvalue()


@st.composite
def damaged_record(draw: st.DrawFn, raw: bytes) -> bytes:
    """An npz whose member `record`, JSON in bytes, is another tree."""
    arrays = dict(_arrays_in(raw))
    tree = draw(damaged_tree(json.loads(arrays["record"].tobytes())))
    text = json.dumps(plain(tree)).encode()
    arrays["record"] = np.frombuffer(text, dtype=np.uint8)
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value if isinstance(value, str | int | float | None) else str(value)
