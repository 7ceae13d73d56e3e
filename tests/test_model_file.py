"""Model files: what comes back is what was written, and no damage goes unnoticed."""

from __future__ import annotations

import json
import os
import pickle
import re
import stat
import tracemalloc

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from fastfm_deep.model import header as headers
from fastfm_deep.model.file import read_model_file, write_model_file
from fastfm_deep.validation import InputError, MissingFileError, ModelFileError

DTYPES = ["?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"]


def some_array(dtype, shape):
    count = int(np.prod(shape))
    return np.random.default_rng(count).integers(0, 256, (count, np.dtype(dtype).itemsize), np.uint8).view(dtype)


def small_arrays():
    return {
        "factors": np.arange(12, dtype=np.float32).reshape(6, 2),
        "intercept": np.array([0.25], np.float32),
        "empty": np.empty((0, 3), np.int64),
        "occurs": np.array([1, 0, 1], np.uint8),
    }


def write_small(path):
    write_model_file(path, small_arrays(), {"class": "FMClassifier", "labels": ["ä", "b"], "scale": 0.1})
    return path.read_bytes()


def assert_same(expected, got):
    assert list(got) == list(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()


def rewrite(content: bytes, change) -> bytes:
    """The file with an altered description; lengths, digest and blanks are made anew, so that all agree."""
    length = int.from_bytes(content[:8], "little")
    outer = json.loads(content[8 : 8 + length])
    inner = json.loads(outer["__metadata__"]["fastfm_deep"])
    change(inner, outer)
    entries = {
        name: headers.Entry(found["dtype"], tuple(found["shape"]), *found["data_offsets"])
        for name, found in outer.items()
        if name != "__metadata__"
    }
    text = json.dumps(inner, separators=(",", ":"))
    part = headers._compose(text, entries, headers._digest(text, entries))
    return len(part).to_bytes(8, "little") + part + content[8 + length :]


# ------------------------------------------------------------------------------------------------- what comes back


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (0,), (3, 0), (5, 3), (2, 3, 4)], ids=str)
def test_every_dtype_and_shape_comes_back(tmp_path, shape, mmap):
    arrays = {}
    for dtype in DTYPES:
        raw = some_array("u1" if dtype == "?" else dtype, shape).reshape(shape)
        arrays[f"a_{np.dtype(dtype).name}"] = raw % 2 == 1 if dtype == "?" else raw
    write_model_file(tmp_path / "m", arrays, {"n": 1})
    header, got = read_model_file(tmp_path / "m", mmap=mmap)
    assert header == {"n": 1}
    assert_same(arrays, got)


def test_no_arrays_and_no_header(tmp_path):
    write_model_file(tmp_path / "m", {}, {})
    assert read_model_file(tmp_path / "m") == ({}, {})
    assert safetensors.numpy.load_file(tmp_path / "m") == {}


def views(base):
    """Arrays that are not contiguous, larger than one piece of writing, or in foreign byte order."""
    return {
        "columns": base[:, :16],
        "one_column": base[:, 0],
        "backwards": base[::-1, 3:5],
        "transposed": base.T,
        "fortran": np.asfortranarray(base[:100]),
        "big_endian": base[:100].astype(">f4"),
        "read_only": np.frombuffer(b"abcd", np.uint8),
        "stretched": np.broadcast_to(np.float64(2.5), (3, 4)),
    }


def test_views_are_written_as_what_they_show(tmp_path):
    """safetensors itself writes such views wrongly without an error."""
    base = np.random.default_rng(0).random((50_000, 20), np.float32)
    arrays = views(base)
    write_model_file(tmp_path / "m", arrays, {})
    got = read_model_file(tmp_path / "m").arrays
    theirs = safetensors.numpy.load_file(tmp_path / "m")
    for name, expected in arrays.items():
        np.testing.assert_array_equal(got[name], expected)
        np.testing.assert_array_equal(theirs[name], expected)
        assert got[name].flags.c_contiguous


def test_a_view_is_not_copied_as_a_whole(tmp_path):
    table = np.zeros((1_000_000, 8), np.float32)
    tracemalloc.start()
    try:
        write_model_file(tmp_path / "m", {"factors": table[:, :6]}, {})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000  # the view shows 24 MB


def test_safetensors_reads_it(tmp_path):
    write_small(tmp_path / "m")
    theirs = safetensors.numpy.load_file(tmp_path / "m")
    assert {name for name in theirs if not name.startswith("padding.")} == set(small_arrays())
    for name, expected in small_arrays().items():
        np.testing.assert_array_equal(theirs[name], expected)
    with safetensors.safe_open(tmp_path / "m", framework="numpy") as file:
        metadata = file.metadata()
    assert set(metadata) == {"fastfm_deep", "digest"}
    described = json.loads(metadata["fastfm_deep"])
    assert described["format"] == 1
    assert described["header"]["labels"] == ["ä", "b"]


@pytest.mark.parametrize("mmap", [False, True])
def test_bfloat16_is_told_as_such(tmp_path, mmap):
    bits = np.array([[0x3F80, 0xBFC0, 0x0001]], np.uint16)
    write_model_file(tmp_path / "m", {"a": bits, "b": bits}, {}, number=2, bfloat16=("b",))
    assert_same({"a": bits, "b": bits}, read_model_file(tmp_path / "m", mmap=mmap).arrays)
    with safetensors.safe_open(tmp_path / "m", framework="numpy") as file:
        assert [file.get_slice(name).get_dtype() for name in ("a", "b")] == ["U16", "BF16"]
        assert file.get_slice("b").get_shape() == [1, 3]
        assert json.loads(file.metadata()["fastfm_deep"])["format"] == 2


def test_a_format_is_that_of_plain_files_unless_told(tmp_path):
    plain = write_small(tmp_path / "m")
    write_model_file(tmp_path / "n", *read_model_file(tmp_path / "m")[::-1], number=2)
    assert (tmp_path / "n").read_bytes() == rewrite(plain, lambda inner, outer: inner.update(format=2))


def test_arrays_are_aligned(tmp_path):
    arrays = {f"a{size}": np.zeros(size, np.uint8) for size in (1, 64, 3, 0, 65, 128, 5)}
    write_model_file(tmp_path / "m", arrays, {})
    content = (tmp_path / "m").read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert (8 + length) % 64 == 0
    entries = json.loads(content[8 : 8 + length])
    for name in ("a1", "a64", "a3", "a65", "a128", "a5"):
        assert entries[name]["data_offsets"][0] % 64 == 0
    for array in read_model_file(tmp_path / "m", mmap=True).arrays.values():
        assert not array.size or array.ctypes.data % 64 == 0


def test_mapped_arrays_are_read_only_and_outlive_the_file_name(tmp_path):
    write_small(tmp_path / "m")
    arrays = read_model_file(tmp_path / "m", mmap=True).arrays
    write_model_file(tmp_path / "m", {}, {})
    os.unlink(tmp_path / "m")
    assert_same(small_arrays(), arrays)
    with pytest.raises(ValueError, match="read-only"):
        arrays["factors"][0, 0] = 1


def test_arrays_that_were_read_can_be_changed(tmp_path):
    write_small(tmp_path / "m")
    arrays = read_model_file(tmp_path / "m").arrays
    arrays["factors"][0, 0] = 5
    assert_same(small_arrays(), read_model_file(tmp_path / "m").arrays)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    assert write_small(tmp_path / "a") == write_small(tmp_path / "b")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(header=st.dictionaries(st.text(), JSON, max_size=5), sizes=st.lists(st.integers(0, 200), max_size=4))
def test_any_header_comes_back(tmp_path_factory, header, sizes):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    arrays = {f"a.{number}": np.full(size, number, np.uint8) for number, size in enumerate(sizes)}
    write_model_file(path, arrays, header)
    got = read_model_file(path)
    assert got.header == header
    assert_same(arrays, got.arrays)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert set(arrays) <= set(file.keys())


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("mmap", [False, True])
def test_every_flipped_byte_is_noticed(tmp_path, mmap):
    path = tmp_path / "m"
    content = write_small(path)
    masks = np.random.default_rng(0).integers(1, 256, len(content))
    for position in range(len(content)):
        for mask in {1, 0x20, int(masks[position])}:
            altered = bytearray(content)
            altered[position] ^= mask
            path.write_bytes(altered)
            with pytest.raises(ModelFileError, match=re.escape(repr(str(path)))):
                read_model_file(path, mmap=mmap)
    path.write_bytes(content)
    assert_same(small_arrays(), read_model_file(path, mmap=mmap).arrays)


def test_every_cut_is_noticed(tmp_path):
    path = tmp_path / "m"
    content = write_small(path)
    length = int.from_bytes(content[:8], "little")
    for size in range(len(content)):
        path.write_bytes(content[:size])
        for mmap in (False, True):
            with pytest.raises(ModelFileError) as caught:
                read_model_file(path, mmap=mmap)
        text = str(caught.value)
        if size == 0:
            assert "is empty" in text
        elif size >= 8 + length:
            assert f"is damaged: it ends after {size} of {len(content)} bytes; save the model again" in text
        elif size >= 8 + len(headers.PREFIX):
            assert f"is damaged: it ends after {size} bytes, within its header" in text


@pytest.mark.parametrize("tail", [b"\0", b" ", b"x" * 64])
def test_appended_bytes_are_noticed(tmp_path, tail):
    (tmp_path / "m").write_bytes(write_small(tmp_path / "m") + tail)
    with pytest.raises(ModelFileError, match=rf"is damaged: {len(tail)} bytes follow its end"):
        read_model_file(tmp_path / "m")


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (-1, r"the array 'occurs' does not match its checksum; save the model again or take a whole copy\.$"),
        (-70, r"the array 'padding\.\d' does not match its checksum"),
        (120, "its header"),
    ],
)
def test_damage_says_where(tmp_path, position, message):
    content = bytearray(write_small(tmp_path / "m"))
    content[position] ^= 1
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        read_model_file(tmp_path / "m")


def newer(inner, outer):
    inner["format"], inner["version"] = 3, "9.1.0"


def test_a_newer_format_says_what_to_do(tmp_path):
    (tmp_path / "m").write_bytes(rewrite(write_small(tmp_path / "m"), newer))
    message = (
        r"has format number 3, as written by fastfm_deep 9\.1\.0, but this version reads up to 2; install a newer"
    )
    with pytest.raises(ModelFileError, match=message):
        read_model_file(tmp_path / "m")


def set_entry(name, **changes):
    def change(inner, outer):
        outer[name].update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda inner, outer: inner.pop("format"), "its header holds no format number"),
        (lambda inner, outer: inner.update(format="1"), "its header holds no format number"),
        (lambda inner, outer: inner.update(format=True), "its header holds no format number"),
        (lambda inner, outer: inner.update(format=0), "its header holds no format number"),
        (lambda inner, outer: inner.pop("header"), "its header does not describe a model"),
        (lambda inner, outer: inner.pop("checksums"), "its header has checksums of other arrays than it lists"),
        (lambda inner, outer: inner["checksums"].pop("occurs"), "checksums of other arrays than it lists"),
        (lambda inner, outer: inner["checksums"].update(occurs=7), "'occurs' does not match its checksum"),
        (lambda inner, outer: outer.pop("occurs"), "checksums of other arrays than it lists"),
        (set_entry("factors", dtype="I32"), None),
        (set_entry("factors", dtype="F64"), "contradicts itself about the array 'factors'"),
        (set_entry("factors", dtype="C64"), "contradicts itself about the array 'factors'"),
        (set_entry("factors", shape=[6, 3]), "contradicts itself about the array 'factors'"),
        (set_entry("factors", shape=[2**62, 2**62]), "contradicts itself about the array 'factors'"),
        (set_entry("factors", shape=[-6, -2]), "contradicts itself about the array 'factors'"),
        (set_entry("factors", shape=[6.0, 2]), "contradicts itself about the array 'factors'"),
        (set_entry("factors", shape=[1] * 70 + [12]), "contradicts itself about the array 'factors'"),
        (set_entry("empty", shape=[0, 2**62, 2**62]), "contradicts itself about the array 'empty'"),
        (set_entry("empty", shape=[10**30, 0]), "contradicts itself about the array 'empty'"),
        (set_entry("factors", data_offsets=[4, 52]), "contradicts itself about the array 'factors'"),
        (set_entry("occurs", shape=[2**40], data_offsets=[128, 128 + 2**40]), "it ends after"),
    ],
)
def test_headers_that_agree_with_their_digest_only(tmp_path, change, message):
    """Somebody wrote them so: they may be wrong in any way, but must not crash or fill the memory."""
    path = tmp_path / "m"
    path.write_bytes(rewrite(write_small(path), change))
    if message is None:  # another type of the same size: bytes are bytes
        assert read_model_file(path).arrays["factors"].dtype == np.int32
        return
    for mmap in (False, True):
        with pytest.raises(ModelFileError, match=re.escape(message)):
            read_model_file(path, mmap=mmap)


def header_only(part: bytes) -> bytes:
    return len(part).to_bytes(8, "little") + part


FOREIGN = {
    "empty": (b"", "is empty; give the name of a file that save"),
    "text": (b"1 1:0.5 3:2\n-1 2:1\n" * 20, "is no model of fastfm_deep, nor any other safetensors file"),
    "short": (b"abc", "is no model of fastfm_deep"),
    "zeros": (bytes(1000), "holds no model of fastfm_deep"),
    "random": (np.random.default_rng(0).bytes(5000), "is no model of fastfm_deep"),
    "pickle": (pickle.dumps({"a": np.zeros(3)}), "is no model of fastfm_deep"),
    "huge length": ((2**63).to_bytes(8, "little") + b"{}", "is no model of fastfm_deep"),
    "large length": ((99_000_000).to_bytes(8, "little") + b'{"__metadata__":{"fastfm_deep":"', "it ends after"),
    "no object": (header_only(b"[]"), "holds no model of fastfm_deep"),
    "deep": (header_only(b"[" * 100_000), "holds no model of fastfm_deep"),
    "deep model": (header_only(headers.PREFIX + b"[" * 100_000), "is damaged: its header is no JSON"),
    "bad text": (header_only(b'{"__metadata__":{"fastfm_deep":"{"}}'), "holds no format number"),
    "deep text": (
        header_only(b'{"__metadata__":{"fastfm_deep":"' + b"[" * 100_000 + b'"}}'),
        "holds no format number",
    ),
    "bad metadata": (header_only(b'{"__metadata__":{"fastfm_deep":1}}'), "holds no model of fastfm_deep"),
    "long number": (header_only(headers.PREFIX + b"1" * 10_000), "its header is no JSON"),
    "not UTF-8": (header_only(headers.PREFIX + b'"\xff"}}'), "its header is no JSON"),
    "NaN": (header_only(headers.PREFIX + b"NaN}}"), "its header is no JSON"),
    "bad entry": (
        header_only(b'{"__metadata__":{"fastfm_deep":"{\\"format\\":1}"},"a":7}'),
        "its header contradicts itself about the array 'a'",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files(tmp_path, kind):
    content, message = FOREIGN[kind]
    (tmp_path / "m").write_bytes(content)
    for mmap in (False, True):
        with pytest.raises(ModelFileError, match=re.escape(message)):
            read_model_file(tmp_path / "m", mmap=mmap)


def test_the_length_of_a_header_is_no_reason_to_take_memory(tmp_path):
    (tmp_path / "m").write_bytes((99_000_000).to_bytes(8, "little") + headers.PREFIX)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            read_model_file(tmp_path / "m")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_foreign_safetensors(tmp_path):
    safetensors.numpy.save_file({"w": np.zeros(3)}, tmp_path / "plain")
    safetensors.numpy.save_file({"w": np.zeros(3)}, tmp_path / "described", metadata={"format": "pt"})
    for name in ("plain", "described"):
        with pytest.raises(ModelFileError, match="holds no model of fastfm_deep; give the name of a file that"):
            read_model_file(tmp_path / name)


def test_a_file_that_safetensors_wrote_anew_is_refused(tmp_path):
    """Another order of the arrays or other blanks: nobody can tell any more what else was changed."""
    write_small(tmp_path / "m")
    with safetensors.safe_open(tmp_path / "m", framework="numpy") as file:
        metadata = file.metadata()
    safetensors.numpy.save_file(safetensors.numpy.load_file(tmp_path / "m"), tmp_path / "n", metadata=metadata)
    with pytest.raises(ModelFileError, match="is damaged: its header "):
        read_model_file(tmp_path / "n")


@pytest.mark.parametrize("name", ["absent", "folder/absent", "file/absent"])
def test_an_absent_file(tmp_path, name):
    (tmp_path / "file").touch()
    path = tmp_path / name
    for error in (InputError, FileNotFoundError, MissingFileError):
        with pytest.raises(
            error, match=rf"There is no model file '{path}'; give the name of a file that save\(\)"
        ):
            read_model_file(path)


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ModelFileError, match=r"fifo' is a FIFO, no regular file; give the name"):
        read_model_file(tmp_path / "fifo")
    with pytest.raises(ModelFileError, match=r"is a folder, no regular file; give the name"):
        read_model_file(tmp_path)
    with pytest.raises(ModelFileError, match=r"'/dev/null' is a character device"):
        read_model_file("/dev/null")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ModelFileError, match=r"loop' cannot be opened: Too many levels of symbolic links"):
        read_model_file(tmp_path / "loop")
    with pytest.raises(ModelFileError, match="cannot be opened: embedded null"):
        read_model_file("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_must_not_be_read(tmp_path):
    write_small(tmp_path / "m")
    (tmp_path / "m").chmod(stat.S_IWUSR)
    with pytest.raises(ModelFileError, match="cannot be opened: Permission denied; take one that can"):
        read_model_file(tmp_path / "m")


@pytest.mark.parametrize("name", ["", "__metadata__", "padding.1", "a b", "ä", ".a", 'a"'])
def test_names_that_arrays_cannot_have(tmp_path, name):
    with pytest.raises(InputError, match=re.escape(f"cannot be saved: an array is named {name!r}, but names are")):
        write_model_file(tmp_path / "m", {name: np.zeros(2)}, {})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(2, complex), np.zeros(2, "M8[s]")])
def test_arrays_that_are_no_numbers(tmp_path, array):
    with pytest.raises(InputError, match=r"the array 'a' has dtype=.*, but must hold plain numbers or booleans"):
        write_model_file(tmp_path / "m", {"a": array}, {})
    assert os.listdir(tmp_path) == []


def endless():
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1, 2}, np.zeros(2), endless()])
def test_headers_that_are_no_json(tmp_path, value):
    with pytest.raises(InputError, match=r"its description cannot be put into JSON \("):
        write_model_file(tmp_path / "m", {}, {"a": value})
    assert os.listdir(tmp_path) == []


def test_a_header_beyond_the_limit_of_safetensors(tmp_path, monkeypatch):
    monkeypatch.setattr(headers, "MAX_HEADER", 1000)
    with pytest.raises(
        InputError, match=r"its header takes \d+ bytes, but safetensors allows 1000; shorten names"
    ):
        write_model_file(tmp_path / "m", {}, {"a": "b" * 1000})
    assert os.listdir(tmp_path) == []
