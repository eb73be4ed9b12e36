"""The native library, if it was built: plain C, called by ctypes, which lets go of the GIL."""

import ctypes
import os
from functools import cache
from pathlib import Path

VERSION = 2

_ISAS = ("portable", "avx2", "avx512", "neon")


class NativeMissing(Exception):
    """There is no usable native library; the message says why."""


@cache
def library() -> ctypes.CDLL:
    """The library. Raises `NativeMissing` where it was not built, or is of another version.

    $ROUNDHOUSE_NATIVE names another file, and 0 none; $ROUNDHOUSE_ISA limits it to a lesser
    instruction set.
    """
    named = os.environ.get("ROUNDHOUSE_NATIVE")
    if named == "0":
        raise NativeMissing("switched off by ROUNDHOUSE_NATIVE=0")
    path = Path(named) if named else Path(__file__).with_name("_native.so")
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeMissing(f"not built: {error}") from error
    if loaded.rh_version() != VERSION:
        raise NativeMissing(f"{path.name} is of another version: reinstall the package")
    for name in ("rh_pool_new", "rh_workspace_new", "rh_program_new"):
        getattr(loaded, name).restype = ctypes.c_void_p
    limit = os.environ.get("ROUNDHOUSE_ISA")
    if limit:
        limit_isa(loaded, limit)
    return loaded


def is_available() -> bool:
    try:
        library()
    except NativeMissing:
        return False
    return True


def isa() -> str:
    """The code path in use: portable, avx2, avx512 or neon."""
    return _ISAS[library().rh_isa()]


def limit_isa(loaded: ctypes.CDLL, name: str) -> None:
    """Takes a code path that the CPU has, else its best. Raises ValueError for a name that is none."""
    if name not in _ISAS:
        raise ValueError(f"instruction set {name!r}: one of {', '.join(_ISAS)}")
    loaded.rh_limit_isa(_ISAS.index(name))
