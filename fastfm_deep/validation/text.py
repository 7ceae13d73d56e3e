"""What is said of text files that break their format or cannot be read."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastfm_deep.validation.errors import InputError, MissingFileError, TextFormatError


class TextPlace(NamedTuple):
    """Where in a text file a token stands; line and column count from 1, columns in characters."""

    path: str
    line: int
    column: int
    token: bytes


def text_format_error(
    place: TextPlace, what: str, rule: str, way_out: str = "Correct the line."
) -> TextFormatError:
    """Say where a text file breaks its format, and how."""
    try:
        text = place.token.decode()
    except UnicodeDecodeError:
        text = place.token[:60].decode("utf-8", "backslashreplace")
        broken = True
    else:
        broken = any(character < " " or "\x7f" <= character < "\xa0" for character in text)
    shown = repr(text) if len(text) <= 60 else f"{text[:57] + '...'!r} ({len(text)} characters)"
    if broken:
        return binary_text_error(place.path, f" (line {place.line}, column {place.column}: {shown})")
    return TextFormatError(
        f"{place.path}, line {place.line}, column {place.column}: bad {what} in {shown}: {rule}. {way_out}"
    )


def text_label_error(place: TextPlace) -> TextFormatError:
    """Say that a line does not begin with a number."""
    if b":" not in place.token:
        return text_format_error(place, "label", "a label must be a finite number", "Write classes as 0 and 1.")
    return text_format_error(
        place,
        "label",
        "every line must begin with its label, a number",
        "Add it; labels='optional' reads rows that have none.",
    )


def text_pair_error(place: TextPlace) -> TextFormatError:
    """Say that a token is no `id:value`."""
    if place.token.count(b":") == 2:
        return text_format_error(
            place,
            "pair",
            "a pair must be id:value; field:id:value is libffm text, which this version does not read yet",
            "Take the fields out.",
        )
    return text_format_error(place, "pair", "a pair must be id:value, with one colon")


def text_value_error(place: TextPlace) -> TextFormatError:
    """Say that a value is no number that rows can hold."""
    return text_format_error(
        place,
        "value",
        "a value must be a finite number within the range of float32, +-3.4028235e+38",
        "Correct it or take the pair out.",
    )


def text_id_error(
    place: TextPlace, found: int | None, base: int, largest: int, n_features: int | None
) -> TextFormatError:
    """Say that an id is no integer (`found` is None), or none of `base` .. `largest`."""
    if found is None or found < 0:
        return text_format_error(place, "id", "an id must be an integer of at least 0")
    if found < base:
        way_out = "Use base=0 if the ids of this file count from 0."
        return text_format_error(place, "id", f"with base={base}, ids count from {base}", way_out)
    if n_features is None:
        way_out = "Number the features that occur, or hash larger ids into a smaller range."
        return text_format_error(place, "id", f"an id must be at most {largest}", way_out)
    return text_format_error(
        place,
        "id",
        f"n_features={n_features} leaves room for ids up to {largest}",
        "Raise n_features, or leave such ids out with unknown_ids='ignore'.",
    )


def binary_text_error(path: str, where: str = "") -> TextFormatError:
    """Say that a file holds bytes that no text has."""
    return TextFormatError(
        f"{path} is a binary file, no text{where}; give a libsvm or libfm file, plain or compressed as .gz, .xz "
        "or .bz2 (text in UTF-16 or Latin-1 must become UTF-8 first)."
    )


def damaged_text_error(path: str, error: Exception) -> TextFormatError:
    """Say that a compressed file cannot be read to its end."""
    return TextFormatError(f"{path} is a cut or damaged compressed file ({error}); copy or download it again.")


def empty_text_error(path: str) -> TextFormatError:
    """Say that a text file has no rows."""
    return TextFormatError(f"{path} holds no rows; give a file with one row a line: label id:value id:value ...")


def unreadable_text_error(path: str, error: Exception) -> InputError:
    """Say why a text file cannot be opened or read on."""
    if isinstance(error, FileNotFoundError):
        return MissingFileError(f"There is no file {path!r}; give the name of a text file.")
    reason = getattr(error, "strerror", None) or error
    return InputError(f"{path!r} cannot be read: {reason}; give the name of a text file that can be read.")


def base_error(base: Any) -> InputError:
    """Say what ids of a text file may count from."""
    return InputError(f"base={base!r} must be 'auto', 0 or 1: the number that the ids of a text file count from.")
