"""The errors that this package raises on purpose."""

from __future__ import annotations


class FastFMError(Exception):
    """Base class of the errors this package raises on purpose."""


class InputError(FastFMError, ValueError):
    """Data or a hyper-parameter that cannot be used."""


class TextFormatError(InputError):
    """A text file that does not follow its format; names file, line, column and token."""


class TableTooLargeError(InputError, MemoryError):
    """A parameter table that would not fit into the memory of this machine."""


class MissingFileError(InputError, FileNotFoundError):
    """A file to be read that is not there."""


class ModelFileError(InputError):
    """A file that is no whole, unaltered model of a format number this version knows."""


class DivergenceError(FastFMError, ArithmeticError):
    """Training left the finite numbers, or its loss grew far beyond that of a constant prediction."""


class InputTypeError(InputError, TypeError):
    """Data of a type that cannot be read as numbers."""


class OutputError(FastFMError, OSError):
    """A file could not be written to its end; the previous one is as it was."""
