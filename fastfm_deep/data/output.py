"""Output files that appear whole or not at all.

An *output* is written under a temporary name beside its target and takes the target's place only once it
lies on the disk, so that a full disk, Ctrl-C or a killed process leaves the previous file as it was.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fastfm_deep import validation

# What writing fails with once it has begun. Other OSErrors may be about a file the caller reads meanwhile.
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def check_output_path(path: str | os.PathLike[str]) -> Path:
    """Check that a file can be written at `path`, before any work has been put into its contents.

    Parameters
    ----------
    path : str or path
        Where the file is to be; there may be one already. A symbolic link stands for the file it leads to.

    Returns
    -------
    Path
        The target, absolute and without symbolic links.

    Raises
    ------
    InputError
        The folder does not exist or cannot be written to, or the target is write-protected or no regular
        file.
    """
    text = os.fspath(path)
    if not text or text.endswith(os.sep) or "\0" in text:
        raise validation.output_path_error(text, "is no name of a file", "end it with a name of your choice")
    target = Path(os.path.realpath(text))
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        _check_folder(text, target.parent)
        return target
    except OSError as error:
        raise validation.output_path_error(text, f"cannot be used: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        fault = f"is {validation.file_kind(mode)}, no regular file"
        raise validation.output_path_error(text, fault, "give the name of a file")
    if not os.access(target, os.W_OK):
        raise validation.output_path_error(text, "is write-protected", "allow writing or take another name")
    _check_folder(text, target.parent)
    return target


def _check_folder(text: str, folder: Path) -> None:
    if not folder.exists():
        fault = f"lies in the folder {folder}, which does not exist"
        raise validation.output_path_error(text, fault, "create it first")
    if not folder.is_dir():
        raise validation.output_path_error(text, f"lies in {folder}, which is no folder", "name a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise validation.unwritable_folder_error(text, folder)


@contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of `path` when the block ends without an error.

    Parameters
    ----------
    path : str or path
        As for `check_output_path`. A new file gets the usual permissions; one that replaces another gets
        the permission bits of that one.

    Yields
    ------
    BinaryIO
        A seekable binary file under a temporary name in the same folder. It is removed on any error,
        KeyboardInterrupt included; the previous file then stays as it was.

    Raises
    ------
    InputError
        As `check_output_path`, before the block is entered.
    OSError
        The disk is full, a limit on file sizes is reached, or the disk fails.

    Examples
    --------
    >>> with replace_file("scores.txt") as file:  # doctest: +SKIP
    ...     file.write(b"0.25")
    """
    target = check_output_path(path)
    # The name is cut, so that a target with the longest name the disk allows can be written too.
    import secrets  # takes some milliseconds, of every process that reads models

    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.tmp")
    file: BinaryIO | None = None
    try:
        file = _create(temporary, target, os.fspath(path))
        yield file
        file.flush()
        os.fsync(file.fileno())
        file.close()
        os.replace(temporary, target)
    except BaseException as error:
        if file is not None:
            with suppress(OSError, ValueError):  # what is still in its buffer finds no room either
                file.close()
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno in _WRITE_ERRORS:
            raise validation.write_error(os.fspath(path), error) from error
        raise
    _sync_folder(target.parent)


def _create(temporary: Path, target: Path, text: str) -> BinaryIO:
    """New file with the permissions of the target, or those of any new file."""
    kept: int | None = None
    with suppress(FileNotFoundError):
        kept = stat.S_IMODE(target.stat().st_mode) & 0o777
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        number = os.open(temporary, flags, 0o666 if kept is None else kept)
    except OSError as error:
        if error.errno in _WRITE_ERRORS:
            raise
        raise validation.unwritable_folder_error(text, target.parent, error.strerror) from error
    if kept is not None:
        with suppress(OSError):  # some file systems know no permissions
            os.fchmod(number, kept)
    return open(number, "w+b")


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk too; not all file systems can, and the file is in place already."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
