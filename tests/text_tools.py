"""What the tests of the text reader share: files with a content, and a slow, obvious parser."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path

import numpy as np

import fastfm_deep

DATA = Path(
    os.environ.get("FASTFM_DEEP_DATA", Path(fastfm_deep.__file__).parent.parent.parent / "shared" / "data")
)
COMPRESS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


def write(folder: Path, content: bytes, name: str = "rows.txt") -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def parse(content: bytes) -> list[tuple[float, list[tuple[int, np.float32]]]]:
    """Label (NaN without one) and pairs of each row, for text without faults."""
    rows = []
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        tokens = line.split(b"#")[0].split()
        if not tokens:
            continue
        label = np.nan if b":" in tokens[0] else float(tokens.pop(0))
        named = [token.split(b":") for token in tokens if not token.startswith(b"qid:")]
        with np.errstate(all="ignore"):
            rows.append((label, [(int(name), np.float32(float(value))) for name, value in named]))
    return rows


def assert_same_rows(data, content: bytes) -> None:
    """The rows are those of the content, in its order and bit for bit."""
    expected = parse(content)
    assert data.X.shape[0] == len(expected)
    assert data.X.data.dtype == np.float32
    labels = np.array([label for label, _ in expected])
    if np.isnan(labels).all():
        assert data.y is None
    else:
        assert data.y.dtype == np.float64
        assert data.y.tobytes() == labels.tobytes()
    assert np.diff(data.X.indptr).tolist() == [len(pairs) for _, pairs in expected]
    assert (data.X.indices + data.base).tolist() == [name for _, pairs in expected for name, _ in pairs]
    values = np.array([value for _, pairs in expected for _, value in pairs], np.float32)
    assert data.X.data.tobytes() == values.tobytes()
