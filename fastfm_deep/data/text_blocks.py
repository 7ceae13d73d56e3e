"""Text files in blocks of whole lines, plain or compressed, for any number of threads.

Files are read, not mapped: a mapping of a file that someone cuts short meanwhile kills the process with SIGBUS,
and pipes and compressed files have none. From the page cache a copy of a block costs a tenth of parsing it.
A *batch* is as many blocks as are to be had at a time: a number of them, or fewer when a pipe has no more for now.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import select
import stat
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from fastfm_deep import validation
from fastfm_deep.kernels.text_layout import PADDING

if TYPE_CHECKING:
    from io import BufferedReader

    from numpy.typing import NDArray

BLOCK_BYTES = 1 << 19
"""Bytes of a block; one with a longer line is longer."""

_MAGIC_BYTES = 8  # read ahead, to see how a file is compressed

STDIN = "/dev/stdin"
"""This name stands for file descriptor 0 itself. To open it anew fails for sockets, and starts files over."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _zstd() -> Any:
    """The module that reads Zstandard, None where there is none."""
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            return None
    return zstd


def _open_zstd(file: Any, mode: str) -> IO[bytes]:
    module = _zstd()
    if module is None:
        raise validation.missing_zstd_error(os.fsdecode(file.name))
    return module.open(file, mode)


_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}


class Block(NamedTuple):
    """Whole lines of a file.

    Attributes
    ----------
    number : int
        0, 1, ... over all files.
    path : str
    buffer : bytearray
        Lines from its start on, then `PADDING` bytes and more.
    end : int
        Where the lines end; the byte before is a line end.
    """

    number: int
    path: str
    buffer: bytearray
    end: int

    def text(self) -> NDArray[np.uint8]:
        """The buffer as kernels take it."""
        return np.frombuffer(self.buffer, np.uint8)


class TextBlocks:
    """The blocks of some files, one file after the other; may be asked by several threads at once.

    Parameters
    ----------
    paths : sequence of str
    block_bytes : int
    """

    def __init__(self, paths: Sequence[str], block_bytes: int | None = None) -> None:
        self._waiting = list(paths)
        self._block_bytes = BLOCK_BYTES if block_bytes is None else block_bytes
        self._lock = threading.Lock()
        self._number = 0
        self._path = ""
        self._file: BufferedReader | None = None
        self._stream: Any = None  # a raw file, or what decompresses one
        self._rest = b""
        self._at_end = False  # of the file that is open
        self._stopped = False
        self._left: int | None = None  # blocks of the batch; without batches, there is no end to them
        self._is_first = True  # of the batch
        self._n_closed = 0  # bytes of the files read before

    def new_buffer(self) -> bytearray:
        """Room for a block."""
        return bytearray(self._block_bytes + PADDING)

    @property
    def n_taken(self) -> int:
        """How many blocks have been given out."""
        return self._number

    @property
    def ended(self) -> bool:
        """Whether no more blocks will come."""
        return self._stopped or (self._stream is None and not self._waiting)

    @property
    def n_bytes(self) -> int:
        """Bytes of the files that have been read, as they lie on disk; those of a pipe are not counted."""
        with self._lock:
            return self._n_closed + self._position()

    def begin_batch(self, n_blocks: int) -> None:
        """Give out so many blocks, or fewer if no more of a pipe is there: then `take` returns None.

        The first one is waited for. Lines that are there are never kept back to wait for others.
        """
        with self._lock:
            self._left, self._is_first = n_blocks, True

    def stop(self) -> None:
        """Let there be no more blocks."""
        self._stopped = True

    def close(self) -> None:
        """Close the file that is open, unless a thread waits for what comes out of it."""
        if self._lock.acquire(blocking=False):
            self._close()
            self._lock.release()

    def take(self, buffer: bytearray) -> Block | None:
        """The next block, in this buffer or in a larger one; None at the end of the last file or of a batch.

        After an error there are no more.

        Raises
        ------
        InputError
            A file cannot be read; TextFormatError if it is cut, damaged or holds NUL bytes.
        """
        with self._lock:
            try:
                return self._next_block(buffer)
            except BaseException:
                # What comes behind is no whole line, and no other thread may take it for one.
                self._stopped = True
                raise

    def _next_block(self, buffer: bytearray) -> Block | None:
        while not self._stopped and self._left != 0:
            if self._stream is None:
                if not self._waiting:
                    return None
                self._open(self._waiting.pop(0))
            block = self._fill(buffer)
            if block is not None:
                self._number += 1
                self._is_first = False
                if self._left:
                    self._left -= 1
                return block
            if self._left != 0:
                self._close()
                if self._left is not None and not self._is_first:  # to open the next file may take its time
                    self._left = 0
        if self._stopped:
            self._close()
        return None

    def _open(self, path: str) -> None:
        self._path = path
        try:
            opened = open(path, "rb", _MAGIC_BYTES, opener=_descriptor)  # noqa: SIM115 - closed by _close
            self._file = file = cast("BufferedReader", opened)
            _await_bytes(file)
            self._stream = stream = _decompressed(file)
            if stream is file:
                # What it has read ahead, and then straight from the system, which tells whether there is more.
                self._rest = file.read1(len(file.peek()))
                self._stream = stream = file.raw
            if _BYTE_ORDER_MARK.startswith(self._rest[: len(_BYTE_ORDER_MARK)]):
                self._rest += stream.read(len(_BYTE_ORDER_MARK) - len(self._rest)) or b""
            self._rest = self._rest.removeprefix(_BYTE_ORDER_MARK)
        except validation.InputError:
            raise
        except Exception as error:
            if not isinstance(error, _read_errors()):
                raise
            raise self._told(error) from error

    def _position(self) -> int:
        if self._file is None:
            return 0
        try:
            return os.lseek(self._file.fileno(), 0, os.SEEK_CUR)
        except OSError:
            return 0

    def _close(self) -> None:
        self._n_closed += self._position()
        for stream in (self._stream, self._file):
            if stream is not None:
                stream.close()
        self._stream = self._file = None
        self._rest, self._at_end = b"", False

    def _fill(self, buffer: bytearray) -> Block | None:
        """The next block of the file that is open; None at its end, or that of the batch."""
        filled = len(self._rest)
        if filled + PADDING >= len(buffer):
            buffer = bytearray(2 * filled + PADDING)
        buffer[:filled] = self._rest
        self._rest = b""
        seen = 0
        while True:
            filled = self._read_into(buffer, filled)
            if self._at_end:
                if not filled:
                    return None
                if buffer[filled - 1] != b"\n"[0]:
                    buffer[filled] = b"\n"[0]
                    filled += 1
                return Block(self._number, self._path, buffer, filled)
            end = buffer.rfind(b"\n", seen, filled) + 1
            if end or self._left == 0 or self._stopped:
                self._rest = bytes(memoryview(buffer)[end:filled])
                return Block(self._number, self._path, buffer, end) if end else None
            # No line is as long as this, or it is no text: NUL bytes without end, say.
            if buffer.find(b"\0", seen, filled) >= 0:
                raise validation.binary_text_error(self._path)
            seen = filled
            buffer = buffer + bytearray(len(buffer))

    def _read_into(self, buffer: bytearray, filled: int) -> int:
        """Fill a buffer but for its padding, and return where the content ends.

        The batch ends here if there is something to answer, and no more to read for now.
        """
        assert self._file is not None
        view = memoryview(buffer)
        room = len(buffer) - PADDING
        has_line = not self._is_first or buffer.find(b"\n", 0, filled) >= 0
        try:
            while filled < room and not self._at_end and not self._stopped:
                if self._left is not None and has_line and self._is_idle():
                    self._left = 0
                    break
                n_bytes: int | None = self._stream.readinto(view[filled:room])
                if n_bytes is None:  # does not block by itself
                    _await_bytes(self._file)
                    continue
                self._at_end = not n_bytes
                has_line = has_line or buffer.find(b"\n", filled, filled + n_bytes) >= 0
                filled += n_bytes
        except validation.InputError:
            raise
        except Exception as error:
            if not isinstance(error, _read_errors()):
                raise
            raise self._told(error) from error
        return filled

    def _is_idle(self) -> bool:
        """Whether to read on would be to wait; compressed text is not asked, what it has read ahead is unknown."""
        assert self._file is not None
        return self._stream is self._file.raw and not _has_bytes(self._file, 0)

    def _told(self, error: Exception) -> validation.InputError:
        # gzip and bz2 raise OSError for damaged data; open raises ValueError for a name no file can have.
        system = isinstance(error, OSError | ValueError) and not (
            isinstance(error, OSError) and error.errno is None
        )
        builder = validation.unreadable_text_error if system else validation.damaged_text_error
        return builder(self._path, error)


def _descriptor(path: str, flags: int) -> int:
    return os.dup(0) if path == STDIN else os.open(path, flags)


def _has_bytes(file: BufferedReader, timeout: int | None) -> bool:
    """Whether a file can be read, or is at its end; wait for so many milliseconds, None: as long as it takes."""
    if not hasattr(select, "poll"):  # Windows: a read waits by itself
        return True
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(timeout))


def _await_bytes(file: BufferedReader) -> None:
    _has_bytes(file, None)


def _read_errors() -> tuple[type[Exception], ...]:
    module = _zstd()
    of_zstd = () if module is None else (module.ZstdError,)
    return (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError, *of_zstd)


def _decompressed(file: BufferedReader) -> Any:
    """The content of a file that is open already: a FIFO could not be opened a second time."""
    start = file.peek()
    for magic, opener in _OPENERS.items():
        # Files cut within these first bytes are recognised too; no line of text begins like any of them.
        if start and start[: len(magic)] == magic[: len(start)]:
            return opener(file, "rb")
    return file


def size_of(paths: Sequence[str]) -> int:
    """Bytes of the files together, as far as they are regular files."""
    total = 0
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            continue
        total += status.st_size if stat.S_ISREG(status.st_mode) else BLOCK_BYTES
    return total
