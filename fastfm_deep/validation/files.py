"""What is said of model files, and of outputs that cannot be written."""

from __future__ import annotations

import stat
from typing import Any

from fastfm_deep.validation.errors import InputError, MissingFileError, ModelFileError, OutputError


def output_path_error(text: str, fault: str, way_out: str = "take another name") -> InputError:
    """Say that no file can be written at a path."""
    return InputError(f"The output {text!r} {fault}; {way_out}.")


_FILE_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFREG: "a regular file",
}


def file_kind(mode: int) -> str:
    """What `st_mode` of a path says it is, in words."""
    return _FILE_KINDS.get(stat.S_IFMT(mode), "something special")


def unwritable_folder_error(text: str, folder: Any, reason: str | None = None) -> InputError:
    """Say that no file can be made in the folder of an output."""
    why = f" ({reason})" if reason else ""
    return output_path_error(
        text,
        f"lies in the folder {folder}, in which no file can be made{why}",
        "allow writing there or take another folder",
    )


def write_error(text: str, error: OSError) -> OutputError:
    """Say that the disk, or a limit, stopped an output before its end."""
    found = OutputError(
        f"The output {text!r} could not be written: {error.strerror or error}. Make room (or raise the limit) and "
        "try again; what stood under this name is as it was."
    )
    found.errno = error.errno
    return found


def model_file_error(path: str, fault: str, way_out: str) -> ModelFileError:
    """Say that a file is no model that can be used."""
    return ModelFileError(f"The model file {path!r} {fault}; {way_out}.")


def missing_model_error(path: str) -> MissingFileError:
    """Say that there is no model file of a name."""
    return MissingFileError(f"There is no model file {path!r}; give the name of a file that save() has written.")


def model_content_error(fault: str) -> InputError:
    """Say that something to be saved does not fit into a model file."""
    return InputError(f"The model cannot be saved: {fault}.")


def newer_model_error(path: str, number: int, version: str, known: int) -> ModelFileError:
    """Say that a model file is of a format that is not known yet."""
    return model_file_error(
        path,
        f"has format number {number}, as written by fastfm_deep {version}, but this version reads up to {known}",
        "install a newer fastfm_deep",
    )


def unknown_class_error(name: str, known: list[str]) -> InputError:
    """Say that an estimator is of a class that `load_model` would not find."""
    listed = ", ".join(known)
    return model_content_error(f"{name} is none of {listed}, which load_model can build; use pickle for it")


def changed_model_error(path: str) -> ModelFileError:
    """Say that a mapped file is no longer what it was."""
    return model_file_error(
        path,
        "has been changed in place while it was mapped, so that answers would be those of no model",
        "replace model files as save() does, by renaming a whole new one, and reload(); or load with mmap=False",
    )


def contradicting_model_error(path: str, error: Exception) -> ModelFileError:
    """Say that header and arrays of a whole file make no model; `error` tells what was found."""
    return model_file_error(
        path,
        f"holds no estimator that this version of fastfm_deep can build ({type(error).__name__}: {error})",
        "save the model again",
    )
