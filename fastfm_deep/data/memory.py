"""How much memory there is to take."""

from __future__ import annotations

import os


def free_memory() -> int:
    """Bytes this process can still take, by the kernel's estimate and the limit of its control group."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        for line in _text("/proc/meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            # Pages of files count as used, but are given up when memory is needed; half of it is a guess.
            room = int(_text(limit)) - int(_text(used)) // 2
        except (OSError, ValueError):  # absent, or "max"
            continue
        free = min(free, max(room, 0))
    return free


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()
