"""What is said of text files that break their format or cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastfm_deep.validation.errors import InputError, InputTypeError, MissingFileError, TextFormatError


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


def text_pair_error(with_fields: bool) -> Callable[[TextPlace], TextFormatError]:
    """Say that a token is no `id:value`, or no `field:id:value`."""
    form, other, format = ("field:id:value", 1, "libsvm") if with_fields else ("id:value", 2, "libffm")
    colons = "two colons" if with_fields else "one colon"

    def build(place: TextPlace) -> TextFormatError:
        rule = f"a pair must be {form}, with {colons}"
        if place.token.count(b":") == other:
            way_out = f"If the whole file is {format} text, read it with format={format!r}; else correct the line."
            return text_format_error(place, "pair", rule, way_out)
        return text_format_error(place, "pair", rule)

    return build


def text_field_error(place: TextPlace) -> TextFormatError:
    """Say that a field is none."""
    return text_format_error(place, "field", f"a field must be an integer from 0 to {2**31 - 2}")


def text_unknown_id_error(place: TextPlace) -> TextFormatError:
    """Say that an id did not occur where the columns were numbered."""
    return text_format_error(
        place,
        "id",
        "this id did not occur in the text that the columns were numbered by",
        "Leave such ids out with unknown_ids='ignore'.",
    )


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
        way_out = "Hash such ids into a smaller range (hash_features=2**22) or shorten them."
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
        f"{path} is a binary file, no text{where}; give libsvm, libfm or libffm text, plain or compressed as .gz, "
        ".xz, .bz2 or .zst (text in UTF-16 or Latin-1 must become UTF-8 first)."
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


def base_error(base: Any, choices: str = "'auto', 0 or 1") -> InputError:
    """Say what ids of a text file may count from."""
    return InputError(f"base={base!r} must be {choices}: the number that the ids of a text file count from.")


def missing_zstd_error(path: str) -> InputError:
    """Say which extra reads a compressed file."""
    return InputError(
        f'{path} is compressed by Zstandard, which the extra reads: pip install "fastfm_deep[zstd]".'
    )


def text_path_error(path: Any) -> InputError:
    """Say that something names no file."""
    return InputTypeError(f"path={path!r} must be the name of a text file, or a list of at least one of them.")


def id_choice_error(names: list[str]) -> InputError:
    """Say that arguments contradict each other."""
    return InputError(
        f"{' and '.join(names)} are given together, but hash_features, compact, id_map and (n_features, base) "
        "exclude each other: each says how ids become columns; leave all but one out."
    )


def id_map_error(found: Any) -> InputError:
    """Say that something is no map of ids."""
    return InputTypeError(f"id_map={found!r} must be an IdMap, as read_text returns it: data.id_map.")
