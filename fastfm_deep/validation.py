"""Every message a user can meet, and the errors that carry them.

A message says name=value, the rule that it breaks, and the way out. The functions here raise before any
work has started; the other modules decide *when* to check, this one decides what is said.
"""

from __future__ import annotations

import math
import numbers
import stat
from collections.abc import Iterable
from typing import Any, NamedTuple


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


def check_integer(name: str, value: Any, *, minimum: int) -> int:
    """Return `value` as an int, or raise an `InputError` that names the rule."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InputError(f"{name}={value!r} must be an integer of at least {minimum}.")
    if value < minimum:
        raise InputError(f"{name}={value} must be at least {minimum}.")
    return int(value)


def check_real(
    name: str, value: Any, *, minimum: float = 0.0, above: bool = False, maximum: float = 1e30
) -> float:
    """Return `value` as a float of at least (`above=True`: greater than) `minimum`, at most `maximum`."""
    rule = f"{'greater than' if above else 'at least'} {minimum:g}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(f"{name}={value!r} must be a number {rule}.")
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"{name}={value!r} must be a finite number {rule}.")
    if number < minimum or (above and number == minimum):
        raise InputError(f"{name}={value!r} must be {rule}.")
    if number > maximum:
        raise InputError(f"{name}={value!r} must be at most {maximum:g}.")
    return number


def check_flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False (NumPy's too)."""
    if str(value) not in ("True", "False") or isinstance(value, str):
        raise InputError(f"{name}={value!r} must be True or False.")
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[str], *, hint: str = "") -> str:
    """Return `value` if it is one of `choices`, else raise an `InputError` that lists them."""
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        listed = ", ".join(repr(choice) for choice in known)
        raise InputError(f"{name}={value!r} is unknown; use one of {listed}.{' ' + hint if hint else ''}")
    return value


class InputTypeError(InputError, TypeError):
    """Data of a type that cannot be read as numbers."""


def dimension_error(X: Any) -> InputError:
    """Say that X is no matrix, in the words scikit-learn's own checks look for."""
    if X.ndim > 2:
        return InputError(f"Found array with dim {X.ndim}, while dim <= 2 is required: X must be a matrix.")
    found = "1D array" if X.ndim == 1 else "scalar array"
    return InputError(
        f"Expected 2D array, got {found} instead:\narray={X}.\nReshape your data either using "
        "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a "
        "single row."
    )


def empty_error(shape: tuple[int, int]) -> InputError:
    """Say that X has no rows or no features, in the words scikit-learn's own checks look for."""
    missing = "sample(s)" if shape[0] == 0 else "feature(s)"
    shown = f"({shape[0]}, {shape[1]})"
    return InputError(f"Found array with 0 {missing} (shape={shown}) while a minimum of 1 is required.")


def width_error(found: int, n_features: int) -> InputError:
    """Say that X has columns the model knows nothing of."""
    return InputError(
        f"X has {found} features, but the model is expecting {n_features} features as input; give it the "
        "columns it was fitted on, in the same order."
    )


_NUMBERS_HINT = "Turn text, dates and categories into numbers first (one-hot columns, for example)."


def number_type_error(what: str, dtype: Any) -> InputError:
    """Say that no row of numbers can be made of a dtype."""
    if getattr(dtype, "kind", "") == "c":
        return InputError(
            f"Complex data not supported: {what} has dtype={dtype}; pass real and imaginary parts as columns "
            "of their own."
        )
    return InputError(f"{what} has dtype={dtype}, but must hold numbers. {_NUMBERS_HINT}")


def conversion_error(what: str, reason: Exception) -> InputError:
    """Say that values are no numbers; `reason` is what NumPy or pandas said."""
    kind = InputTypeError if isinstance(reason, TypeError) else InputError
    return kind(f"{what} cannot be read as numbers: {reason}. {_NUMBERS_HINT}")


def damaged_matrix_error(format_name: str, fault: str) -> InputError:
    """Say that the arrays of a SciPy matrix contradict each other."""
    return InputError(
        f"X is a damaged {format_name} matrix: {fault}. Build it anew, e.g. with "
        "scipy.sparse.csr_array((values, (rows, columns)), shape=...)."
    )


def index_range_error(name: str, value: int, size: int, where: str = "") -> InputError:
    """Say that an index points outside the matrix."""
    return InputError(
        f"{name}={value}{where} must lie in 0 .. {size - 1}, as the shape of X says; correct the index, or "
        "build the matrix with the shape it needs."
    )


def row_value_error(row: int, column: int, value: Any) -> InputError:
    """Say that a value of X is NaN or infinite, or that float32 cannot hold it."""
    name = f"X[{row}, {column}]={value} (row {row}, column {column})"
    if value != value:
        return InputError(f"{name}: X contains NaN. Fill in such values or drop their rows first.")
    if value in (math.inf, -math.inf):
        return InputError(f"{name}: X contains infinity. Replace such values or drop their rows first.")
    return InputError(
        f"{name} is beyond the range of float32, +-3.4028235e+38, in which rows are kept; scale column "
        f"{column} down."
    )


def field_room_error(n_features: int, n_fields: int) -> InputError:
    """Say that there are fewer features than fields to hold them."""
    return InputError(
        f"n_features={n_features} must be at least n_fields={n_fields}, one feature a field; raise n_features "
        "or lower n_fields."
    )


def upper_bound_error(name: str, value: Any, rule: str) -> InputError:
    """Say that a number is too large; `rule` reads "must be ..."."""
    return InputError(f"{name}={value!r} must be {rule}.")


def seed_error(value: Any) -> InputError:
    """Say that a random_state cannot seed anything."""
    return InputError(
        f"random_state={value!r} must be None, an integer of at least 0, a numpy.random.Generator or a "
        "numpy.random.RandomState."
    )


def table_too_large_error(n_features: int, n_factors: int, n_bytes: int, free: int) -> TableTooLargeError:
    """Say how large the tables would be, and what makes them smaller."""
    return TableTooLargeError(
        f"n_features={n_features} with n_factors={n_factors} needs parameter tables of {n_bytes / 2**30:.3g} GiB, "
        f"but {free / 2**30:.3g} GiB of memory are free. Take fewer factors, hash the column ids into a smaller "
        "range (2**22 columns, for example), or number only the columns that occur."
    )


def divergence_error(
    epoch: int, train_loss: float, limit: float, null_loss: float, learning_rate: float, kept_epoch: int
) -> DivergenceError:
    """Say when training went astray, and with what learning rate to try again."""
    found = f"train_loss={train_loss:.4g}" if math.isfinite(train_loss) else "a loss that is no finite number"
    if train_loss <= limit:
        found = "parameters that are no finite numbers"
    weights = f"the weights of epoch {kept_epoch}" if kept_epoch else "the weights from before this fit"
    return DivergenceError(
        f"Training diverged in epoch {epoch}: {found} with learning_rate={learning_rate:g} (a constant answer "
        f"would lose {null_loss:.4g}); {weights} were put back. Try learning_rate={learning_rate / 10:g}, and "
        "scale columns or targets with extreme values down."
    )


def missing_targets_error(name: str) -> InputError:
    """Say that there are no targets, in the words scikit-learn's own checks look for."""
    return InputError(f"This estimator requires y to be passed, but the target {name} is None.")


def length_error(name: str, found: int, n_rows: int) -> InputError:
    """Say that X and what belongs to its rows differ in length."""
    return InputError(
        f"{name} has {found} entries, but X has inconsistent numbers of samples: {n_rows} rows; give one entry "
        "for each row."
    )


def target_value_error(name: str, row: int, value: Any) -> InputError:
    """Say that a target is missing or infinite."""
    kind = "infinity" if isinstance(value, float) and math.isinf(value) else "NaN"
    return InputError(f"{name}[{row}]={value} (row {row}): {name} contains {kind}. Drop such rows first.")


def class_count_error(name: str, classes: Any) -> InputError:
    """Say that a binary classifier needs two classes."""
    if len(classes) < 2:
        found = f"one class, {classes[0]!r}" if len(classes) else "no class"
        return InputError(
            f"{name} holds {found}, but a classifier needs two; a chunk of one class is fine for "
            "partial_fit(X, y, classes=[...])."
        )
    shown = ", ".join(repr(label) for label in classes[:5].tolist())
    return InputError(
        f"Only binary classification is supported. {name} holds {len(classes)} labels ({shown}"
        f"{', ...' if len(classes) > 5 else ''}): the type of the target is multiclass. Use "
        "sklearn.multiclass.OneVsRestClassifier, or FMRegressor for ratings."
    )


def unknown_label_error(name: str, row: int, label: Any, classes: Any) -> InputError:
    """Say that a label is none of the classes the model knows."""
    return InputError(
        f"{name}[{row}]={label!r} is none of the classes {classes.tolist()}; all labels must be known from the "
        "first fit (or its classes=) on."
    )


def weight_error(name: str, row: int, value: float) -> InputError:
    """Say that a sample weight cannot be used."""
    return InputError(
        f"{name}[{row}]={value:g} must be a finite number from 0 (the row has no effect) to 1e30; replace it."
    )


def input_path_error(path: str, fault: str) -> InputError:
    """Say that a file named on the command line cannot be read."""
    return InputError(f"{path} {fault}; give the name of a text file that can be read.")


def same_file_error(path: str) -> InputError:
    """Say that the output would overwrite an input."""
    return InputError(f"--out={path} is one of the files to be read; take another name.")


def narrow_table_error(n_features: int, path: str, largest: int, base: int) -> InputError:
    """Say that `n_features` leaves no room for an id of a text file."""
    return InputError(
        f"n_features={n_features} is too small: {path} holds the id {largest}, and ids count from {base}; "
        f"use n_features={largest - base + 1} or more."
    )


def unwatched_error(option: str) -> InputError:
    """Say that an option is about a validation file that was not given."""
    return InputError(f"{option} needs --valid, the file to measure on after each epoch.")


class OutputError(FastFMError, OSError):
    """A file could not be written to its end; the previous one is as it was."""


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


def unknown_base_error(path: str) -> InputError:
    """Say that a model does not tell how the ids of text files count."""
    return InputError(
        f"{path} was trained from Python and does not tell whether ids in text files count from 0 or from 1; "
        "say so with --base=0 or --base=1."
    )


def other_base_error(path: str, base: str, kept: int) -> InputError:
    """Say that a model was trained on ids that count otherwise."""
    return InputError(
        f"--base={base} contradicts {path}, which was trained on ids that count from {kept}; leave --base out."
    )


def other_task_error(option: str, task: str) -> InputError:
    """Say that an option belongs to the other task."""
    return InputError(f"{option} goes with --task={task} alone; leave it out or change the task.")


def unknown_class_error(name: str, known: list[str]) -> InputError:
    """Say that an estimator is of a class that `load_model` would not find."""
    listed = ", ".join(known)
    return model_content_error(f"{name} is none of {listed}, which load_model can build; use pickle for it")


def label_count_error(files: str, labels: list[float]) -> InputError:
    """Say that the labels of training files are not those of two classes."""
    shown = ", ".join(f"{label:g}" for label in labels[:5]) + (", ..." if len(labels) > 5 else "")
    found = f"{len(labels)} different labels ({shown})" if len(labels) > 1 else f"one label only, {shown}"
    return InputError(
        f"{files}: {found}, but --task=binary needs two; use --task=regression if labels are numbers to predict."
    )


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
