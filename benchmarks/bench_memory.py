"""Memory while fitting: the peak above a process that has the imports and X.

    python benchmarks/bench_memory.py [--features 1000000 5000000] [--rows 500000] [--factors 16]

The bound it is held against is 1.1 x (parameters and optimizer state) + one copy of the weights + 24 bytes a row +
100 MB. The kernel's own count of the peak, VmHWM, is reset just before the fit (Linux).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHILD = """
import sys
sys.path.insert(0, {root!r})
from fastfm_deep import FMClassifier
from fastfm_deep.datasets import make_ctr

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

X, y, _ = make_ctr({rows}, n_features={features}, random_state=0)
FMClassifier({factors}, n_epochs=1, n_jobs=1).fit(X[:2000, :1000], y[:2000])
valid = (X[:1000], y[:1000])
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
FMClassifier({factors}, n_epochs=3, n_jobs={threads}, early_stopping_rounds={patience}).fit(
    X, y, eval_set=valid if {patience} else None
)
print(status("VmHWM") - before)
"""


def peak(options, features, threads, patience):
    code = CHILD.format(
        root=str(ROOT),
        rows=options.rows,
        features=features,
        factors=options.factors,
        threads=threads,
        patience=patience,
    )
    return int(subprocess.check_output([sys.executable, "-c", code]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--factors", type=int, default=16)
    options = parser.parse_args()
    for features in options.features:
        weights = 4 * features * (options.factors + 1)
        bound = 1.1 * 2 * weights + weights + 24 * options.rows + 100e6
        for patience in (None, 2):
            for threads in (1, 2):
                found = peak(options, features, threads, patience)
                print(
                    f"{features:,} features, {threads} thread(s), early stopping {'on' if patience else 'off'}: "
                    f"{found / 1e6:,.0f} MB, bound {bound / 1e6:,.0f} MB"
                )
