"""Data files: a registry of what each one is, and checked copies of them.

>>> from cmbfit.data import fetch, read_bytes
>>> len(read_bytes("planck2018_plik_lite/c_matrix_plik_v22.dat"))
3006160
"""

from cmbfit.data.first_use import trust_command, trust_first
from cmbfit.data.model import Entry, Registry
from cmbfit.data.registry import data_root, load_registry, lock_file
from cmbfit.data.store import (
    cache_dir,
    cached_path,
    fetch,
    fetch_group,
    is_file,
    read_bytes,
    user_dir,
)
from cmbfit.data.verify import VerifyResult, verify

__all__ = [
    "Entry",
    "Registry",
    "VerifyResult",
    "cache_dir",
    "cached_path",
    "data_root",
    "fetch",
    "fetch_group",
    "is_file",
    "load_registry",
    "lock_file",
    "read_bytes",
    "trust_command",
    "trust_first",
    "user_dir",
    "verify",
]
