"""How long a new process takes: to import the package, and to its first fit with a warm and with a cold cache.

    python benchmarks/bench_start.py [--rounds 5]

Each figure is the median over fresh processes, and is what comes on top of imports that such a program has anyway:
numpy and scipy.sparse for the import, numba and sklearn.base as well for the first fit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
CLOCK = "import time; started = time.perf_counter()\n{}\nprint(time.perf_counter() - started)"
BASE = "import numpy, scipy.sparse"
HEAVY_BASE = "import numba, sklearn.base, scipy.sparse"
FIT = """
import numpy, scipy.sparse
from fastfm_deep import FMClassifier
rng = numpy.random.default_rng(0)
X = scipy.sparse.random_array((1000, 50), density=0.1, format="csr", dtype=numpy.float32, random_state=rng)
FMClassifier(random_state=0).fit(X, rng.integers(0, 2, 1000))
"""


def seconds(code, cache):
    environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)}
    return float(subprocess.check_output([sys.executable, "-c", CLOCK.format(code)], env=environment))


def median(code, rounds, cache=None):
    """Over `rounds` processes; without `cache` each has an empty one."""
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as empty:
            found.append(seconds(code, cache or empty))
    return float(np.median(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as cache:
        for code in (BASE, HEAVY_BASE, FIT):  # pages and caches warm
            seconds(code, cache)
        base, heavy = median(BASE, rounds, cache), median(HEAVY_BASE, rounds, cache)
        package = median(BASE + "; import fastfm_deep", rounds, cache)
        print(f"import fastfm_deep: {package - base:+.3f} s over {BASE} ({base:.3f} s)")
        warm = median(FIT, rounds, cache)
        print(f"first fit, warm cache: {warm - heavy:+.2f} s over {HEAVY_BASE} ({heavy:.2f} s)")
    print(f"first fit, cold cache: {median(FIT, min(rounds, 3)) - heavy:+.2f} s over the same")
