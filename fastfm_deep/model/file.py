"""Model files: named arrays and a description in one safetensors file, in which no damage goes unnoticed.

A *model file* is 8 bytes with the length of the header, the header (see `model.header`), and the arrays one after
the other, little-endian, each at a multiple of 64 bytes. Reading it runs no code, and allocates nothing larger
than the file.

It is written and read here and not by the safetensors package, which wants all arrays contiguous at once, knows
no checksums, and copies what it reads. Any safetensors reader opens the file nevertheless.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.output import replace_file
from fastfm_deep.model import header as headers
from fastfm_deep.model.mapped import CAN_MAP, MappedFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Bytes that are read, summed up and written at a time: still in the cache when they are needed again.
_PIECE = 1 << 20


class ModelFile(NamedTuple):
    """What a model file holds: what the model is, and its arrays."""

    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def write_model_file(
    path: str | os.PathLike[str],
    arrays: dict[str, NDArray[Any]],
    header: dict[str, Any],
    number: int = headers.PLAIN_FORMAT,
    bfloat16: Collection[str] = (),
) -> None:
    """Write arrays and a description to a file that appears whole or not at all.

    Parameters
    ----------
    path : str or path
        As for `replace_file`.
    arrays : dict of str to array
        Numbers or booleans of any shape; views with gaps too, which are not copied as a whole. Names are made of
        letters, digits, "_" and ".".
    header : dict
        Anything that JSON can hold; tuples come back as lists.
    number : int
        The format: earlier versions refuse one that they do not know.
    bfloat16 : collection of str
        Names of arrays of uint16 that are the bits of bfloat16 numbers. Other readers see them as such; here they
        come back as uint16.

    Raises
    ------
    InputError
        Nothing can be written at `path`, or something given does not fit into a model file.
    OutputError
        The disk is full; the previous file is as it was.

    Examples
    --------
    >>> write_model_file("m.safetensors", {"w": np.zeros(3)}, {"class": "Example"})  # doctest: +SKIP
    """
    placed = headers.place_arrays(arrays, bfloat16)
    entries = {name: entry for name, (entry, _) in placed.items()}
    length = len(headers.header_bytes(header, entries, dict.fromkeys(entries, f"{0:08x}"), number))
    with replace_file(path) as file:
        # The header stands before the arrays, but holds their checksums: it is written last, into the room left.
        file.seek(8 + length)
        checksums = {name: _write_array(file, array) for name, (_, array) in placed.items()}
        file.seek(0)
        file.write(length.to_bytes(8, "little"))
        file.write(headers.header_bytes(header, entries, checksums, number))


def _pieces(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Parts of an array in the order of the file: views where it is contiguous, else small copies."""
    if not array.size:
        return
    flat = array.reshape(-1) if array.flags.c_contiguous else array
    n_rows = max(1, _PIECE * len(flat) // array.nbytes)
    for first in range(0, len(flat), n_rows):
        yield np.ascontiguousarray(flat[first : first + n_rows]).reshape(-1)


def _write_array(file: BinaryIO, array: NDArray[Any]) -> str:
    """Write an array and return its checksum."""
    checksum = 0
    for piece in _pieces(array):
        content = _bytes_of(piece.astype(piece.dtype.newbyteorder("<"), copy=False))
        checksum = zlib.crc32(content, checksum)
        file.write(content)
    return f"{checksum:08x}"


def _bytes_of(piece: NDArray[Any]) -> memoryview:
    return piece.view(np.uint8).data


def read_model_file(path: str | os.PathLike[str], mmap: bool = False) -> ModelFile:
    """Read a file that `write_model_file` wrote, and check every byte of it.

    Parameters
    ----------
    path : str or path
    mmap : bool, default False
        Map the arrays instead of reading them, where the system allows that: they are read-only then, and
        processes that map the same file share its memory. All bytes are still checked, once, now. The file may be
        replaced while it is mapped, as `write_model_file` does, but not changed in place; see `map_model_file`.

    Returns
    -------
    ModelFile
        The description and the arrays, which can be written to unless they are mapped.

    Raises
    ------
    MissingFileError
        There is no such file; also a FileNotFoundError.
    ModelFileError
        It is no model file, or damaged, cut off, or of a newer format.

    Examples
    --------
    >>> header, arrays = read_model_file("m.safetensors")  # doctest: +SKIP
    """
    return map_model_file(path)[0] if mmap else _read_file(path, False)[0]


def map_model_file(path: str | os.PathLike[str]) -> tuple[ModelFile, MappedFile | None]:
    """`read_model_file` of a file that is mapped, and the map, which can tell whether the file has been changed.

    None instead of the map where the system does not allow that: the arrays have been read then.
    """
    return _read_file(path, CAN_MAP)


def _read_file(path: str | os.PathLike[str], mmap: bool) -> tuple[ModelFile, MappedFile | None]:
    name = os.fsdecode(path)
    with _open(name) as file:
        try:
            header, first = _read_header(file, name)
            mapped = _mapped(file, name, first + header.data_size) if mmap else None
            arrays = {}
            for key, entry in header.entries.items():
                array, checksum = _read_array(file, mapped, first + entry.start, entry)
                if checksum != header.checksums[key]:
                    raise _damaged(name, f"the array {key[:40]!r} does not match its checksum")
                if not key.startswith(headers.PADDING):
                    arrays[key] = array
        except OSError as error:
            fault = f"cannot be read: {error.strerror or error}"
            raise validation.model_file_error(name, fault, "take a copy that can") from error
    if mapped is not None:
        mapped.is_whole = partial(_is_whole, mapped.memory, bytes(mapped.memory[:first]), header)
    return ModelFile(header.description, arrays), mapped


def _mapped(file: BinaryIO, name: str, size: int) -> MappedFile:
    """The map of a file of `size` bytes, unless that is no longer true."""
    try:
        mapped = MappedFile(file, name)
    except ValueError:  # of nothing there is no map
        mapped = None
    if mapped is None or len(mapped.memory) != size:
        raise _damaged(name, "it has been changed while it was read")
    return mapped


def _is_whole(memory: NDArray[np.uint8], beginning: bytes, header: headers.Header) -> bool:
    """Whether a map still holds the file that was read, by its checksums."""
    if bytes(memory[: len(beginning)]) != beginning:
        return False
    for key, entry in header.entries.items():
        part = memory[len(beginning) + entry.start : len(beginning) + entry.end]
        if f"{zlib.crc32(part.data):08x}" != header.checksums[key]:
            return False
    return True


def _open(name: str) -> BinaryIO:
    """Open a regular file; opening a FIFO in the ordinary way would wait for someone to write to it."""
    try:
        number = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise validation.missing_model_error(name) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise validation.model_file_error(name, f"cannot be opened: {reason}", "take one that can") from error
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        raise _foreign(name, f"is {validation.file_kind(mode)}, no regular file")
    return open(number, "rb")


def _read_header(file: BinaryIO, name: str) -> tuple[headers.Header, int]:
    """The header, compared with the size of the file, and where the first array starts."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise _foreign(name, "is empty")
    length = int.from_bytes(file.read(8), "little")
    # The length may be any number here: no room is made for more than there is, nor than a header may have.
    part = file.read(min(length, size, headers.MAX_HEADER))
    if len(part) < length:
        if part.startswith(headers.PREFIX):
            raise _damaged(name, f"it ends after {size} bytes, within its header")
        raise _foreign(name, "is no model of fastfm_deep, nor any other safetensors file")
    try:
        header = headers.parse_header(part)
    except headers.ForeignError:
        raise _foreign(name, "holds no model of fastfm_deep") from None
    except headers.HeaderError as error:
        raise _damaged(name, f"its header {error}") from None
    except headers.NewerFormatError as error:
        raise validation.newer_model_error(name, error.number, error.version, headers.FORMAT) from None
    expected = 8 + length + header.data_size
    if size < expected:
        raise _damaged(name, f"it ends after {size} of {expected} bytes")
    if size > expected:
        raise _damaged(name, f"{size - expected} bytes follow its end")
    return header, 8 + length


def _read_array(
    file: BinaryIO, mapped: MappedFile | None, position: int, entry: headers.Entry
) -> tuple[NDArray[Any], str]:
    """An array, mapped or read, and the checksum of its bytes."""
    checksum = 0
    if mapped is not None:
        array = np.ndarray(entry.shape, entry.dtype, buffer=mapped.memory, offset=position)
        for piece in _pieces(array):
            checksum = zlib.crc32(_bytes_of(piece), checksum)
        return array, f"{checksum:08x}"
    array = _aligned_array(entry)
    file.seek(position)
    for piece in _pieces(array):  # views: the array is contiguous
        content = _bytes_of(piece)
        n_read = file.readinto(content)  # type: ignore[attr-defined]
        checksum = zlib.crc32(content[:n_read], checksum)
    return array, f"{checksum:08x}"


def _aligned_array(entry: headers.Entry) -> NDArray[Any]:
    """Room for an array that begins with a cache line, as in the file: else each of its rows takes one more."""
    n_bytes = entry.end - entry.start
    flat = np.empty(n_bytes + headers.ALIGN, np.uint8)
    first = -flat.ctypes.data % headers.ALIGN
    return flat[first : first + n_bytes].view(entry.dtype).reshape(entry.shape)


def _damaged(name: str, fault: str) -> validation.ModelFileError:
    return validation.model_file_error(name, f"is damaged: {fault}", "save the model again or take a whole copy")


def _foreign(name: str, fault: str) -> validation.ModelFileError:
    return validation.model_file_error(name, fault, "give the name of a file that save() has written")
