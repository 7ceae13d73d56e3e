"""The one decorator of all kernels: every compiler flag stands here, and where the compiled code is kept.

Numba's disk cache does not notice a changed helper in another file, so after an upgrade in place users would
run old numbers. The qualified name of each kernel, which names its cache file, therefore carries a digest of
all kernel sources.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba

JIT_ENABLED: bool = not numba.config.DISABLE_JIT
"""False under ``NUMBA_DISABLE_JIT=1``, where the plain loops stand in for the lanes."""

BOUNDS_CHECKED: bool = bool(numba.config.BOUNDSCHECK)
"""True under ``NUMBA_BOUNDSCHECK=1``; the plain loops run then too, as lanes go by address."""

FLAGS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    # Never "nnan" or "ninf": the divergence guard must see what is not finite.
    "fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"},
}
_EXACT_FLAGS = FLAGS | {"fastmath": False}


def has_feature(name: str) -> bool:
    """Whether kernels are compiled for a processor with a feature, by LLVM's name."""
    features = numba.config.CPU_FEATURES
    if features is not None:
        return f"+{name}" in str(features).split(",")
    return bool(llvmlite.binding.get_host_cpu_features().get(name, False))


def _source_digest() -> str:
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_DIGEST = _source_digest()


def _private_cache_folder() -> str | None:
    """A folder of this user alone under the temporary directory, or None where there can be none."""
    folder = Path(tempfile.gettempdir()) / f"fastfm_deep-numba-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    # Cached code is executed: a folder that someone else owns or may write to is not used.
    safe = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return str(folder) if safe and os.access(folder, os.W_OK) else None


def _cached(function: Callable[..., Any], flags: dict[str, Any]) -> Any:
    """Compile with a disk cache at the first place that can be written, or without one."""
    try:
        return numba.njit(cache=True, **flags)(function)
    except RuntimeError:  # Numba: "no locator available"
        pass
    folder = _private_cache_folder()
    if folder is not None:
        usual = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = folder
        try:
            return numba.njit(cache=True, **flags)(function)
        except RuntimeError:
            pass
        finally:
            numba.config.CACHE_DIR = usual
    _warn_once()
    return numba.njit(**flags)(function)


_warned = False


def _warn_once() -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "fastfm_deep found no folder to keep compiled kernels in, so every process compiles them again "
            "(some seconds); set NUMBA_CACHE_DIR to a folder that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )


def _survive_full_disk(dispatcher: Any) -> None:
    """A cache that cannot be written (full disk, quota) costs the next process time, not this one its work."""
    cache: Any = getattr(dispatcher, "_cache", None)
    save = getattr(cache, "save_overload", None)
    if save is None:
        return

    def save_or_go_on(signature: Any, data: Any) -> None:
        try:
            save(signature, data)
        except OSError:
            _warn_once()

    cache.save_overload = save_or_go_on


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a loop over many rows, called from Python: cached on disk, without the GIL."""
    return _compiled(function, FLAGS)


def short_kernel(function: Callable[..., Any]) -> Any:
    """Compile as `kernel` does what is over in microseconds: with the GIL, which takes longer to hand over."""
    return _compiled(function, FLAGS | {"nogil": False})


def exact_kernel(function: Callable[..., Any]) -> Any:
    """Compile as `kernel` does, with every rounding as IEEE 754 says."""
    return _compiled(function, _EXACT_FLAGS)


def _compiled(function: Callable[..., Any], flags: dict[str, Any]) -> Any:
    if not JIT_ENABLED:
        return function
    function.__qualname__ = f"{function.__qualname__}_{_DIGEST}"
    dispatcher = _cached(function, flags)
    _survive_full_disk(dispatcher)
    return dispatcher


def row_function(function: Callable[..., Any]) -> Any:
    """Compile a formula that kernels call: it becomes part of their code and has no cache file of its own."""
    return numba.njit(forceinline=True, **FLAGS)(function)


def exact_function(function: Callable[..., Any]) -> Any:
    """Compile as `row_function` does, for exact kernels."""
    return numba.njit(forceinline=True, **_EXACT_FLAGS)(function)
