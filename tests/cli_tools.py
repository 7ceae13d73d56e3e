"""Files that the tests of the command line train on and score, and a look at how commands fail."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import fastfm_deep
from fastfm_deep.cli import main
from fastfm_deep.datasets import make_ctr

REPOSITORY = Path(fastfm_deep.__file__).parent.parent
TRAINING = ["--n-factors", "4", "--n-epochs", "3", "--random-state", "0"]


def write_rows(path: Path, X, y=None, base: int = 1) -> Path:
    """Write libsvm text; without y unlabelled."""
    lines = []
    for row in range(X.shape[0]):
        span = slice(X.indptr[row], X.indptr[row + 1])
        label = [] if y is None else [f"{y[row]:.9g}"]
        pairs = zip(X.indices[span], X.data[span], strict=True)
        lines.append(" ".join(label + [f"{column + base}:{value:.9g}" for column, value in pairs]))
    path.write_text("\n".join(lines) + "\n")
    return path


def make_rows():
    """X and y of 3000 rows: 2000 to train on, 500 to watch, 500 to measure on."""
    return make_ctr(3000, n_fields=6, n_features=200, random_state=0)[:2]


def make_files(folder: Path) -> dict[str, str]:
    """Names of a train, a valid, a test and an unlabelled file, a regression file, and a model trained on them."""
    X, y = make_rows()
    found = {
        "train": write_rows(folder / "train.txt", X[:2000], y[:2000]),
        "valid": write_rows(folder / "valid.txt", X[2000:2500], y[2000:2500]),
        "test": write_rows(folder / "test.txt", X[2500:], y[2500:]),
        "bare": write_rows(folder / "bare.txt", X[2500:]),
        "rated": write_rows(folder / "rated.txt", X[:2000], 3.0 + 2.0 * y[:2000]),
    }
    names = {name: str(path) for name, path in found.items()}
    names["model"] = str(folder / "model.safetensors")
    options = ["--valid", names["valid"], "--test", names["test"], "--out", names["model"], "--quiet"]
    assert main(["train", names["train"], *TRAINING, *options]) == 0
    return names


def write_fields(path: Path, n_rows: int, n_values: int, seed: int = 0) -> Path:
    """Write libffm text of three fields with ids that lie far apart."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(n_values, size=(2, n_rows)).tolist()
    lines = [
        f"{(7 * i + 3 * j) % 5 // 3} 0:{1000 + i}:1 1:{10**12 + j}:1 4:7:0.5" for i, j in zip(a, b, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def child(arguments: list[str], **options) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, "-m", "fastfm_deep", *arguments], **(pipes | {"text": True, "cwd": REPOSITORY} | options)
    )


@contextmanager
def standard_input(content: bytes):
    """Let this process read `content` from a pipe as its standard input."""
    kept = os.dup(0)
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)

    def write() -> None:
        with open(writing, "wb") as pipe:
            pipe.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        writer.join()


def fails(capsys, arguments: list[str], code: int) -> str:
    """Run a command that is to fail: one line on stderr, no traceback; return that line."""
    capsys.readouterr()
    assert main(arguments) == code
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")
