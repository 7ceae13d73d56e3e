"""Faults of CSR arrays: what the first broken rule is called, by `row_checks` and by those who ask it.

Nothing here is compiled, so that a process can check rows without Numba.
"""

from __future__ import annotations

NO_FAULT, POINTER_FAULT, RANGE_FAULT = 0, 1, 2
