"""What is said of table files on the command line, of the options about their columns, and of their labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fastfm_deep.validation.errors import InputError
from fastfm_deep.validation.table import shortened

_TABLE_FILES = "a .csv, .tsv or .parquet file"
_SHOWN = 5


def _joined(names: Iterable[str]) -> str:
    return " and ".join(names)


def table_path_error(path: str, fault: str) -> InputError:
    """Say that a table file named on the command line cannot be read."""
    return InputError(f"{path} {fault}; give the name of {_TABLE_FILES} that can be read.")


def table_compression_error(path: str) -> InputError:
    """Say that a table is compressed in a way that is not read."""
    return InputError(
        f"{path} is a table in a form that is not read: .csv and .tsv may be compressed to .gz, .bz2 or .zst, and "
        ".parquet files as a whole not at all; unpack it first."
    )


def mixed_files_error(table: str, text: str) -> InputError:
    """Say that tables and text do not go together."""
    return InputError(f"{table} is a table, but {text} is text; give files of one kind.")


def named_table_error(path: str, first_row: int, error: InputError) -> InputError:
    """Say of an error which file it is about, and where its rows are counted from."""
    counted = f", rows counted from row {first_row:,} on" if first_row else ""
    return type(error)(f"{path}{counted}: {error}")


def uneven_column_error(name: str, types: Mapping[str, str]) -> InputError:
    """Say that a column is of one type in one file, and of another one in the next."""
    listed = ", ".join(f"{kind} in {path}" for path, kind in list(types.items())[:_SHOWN])
    return InputError(f"Column {name!r} is {listed}, which do not go together; bring it to one type first.")


def missing_target_error(paths: str) -> InputError:
    """Say that a table needs a target."""
    return InputError(f"{paths}: a table needs --target=NAME, the column to be predicted.")


def unknown_target_error(model: str) -> InputError:
    """Say that a model does not tell what it predicts."""
    return InputError(
        f"{model} was trained from Python and does not tell which column it predicts; name it with --target=NAME."
    )


def target_column_error(name: str, where: str) -> InputError:
    """Say that the target is declared as a feature."""
    return InputError(
        f"{name!r} is the target (--target), but {where} makes it a feature; leave it out of one of them."
    )


def missing_label_error(where: str, name: str) -> InputError:
    """Say that a row has no label."""
    return InputError(f"{where}: the target {name!r} is missing; leave out rows that have none.")


def number_label_error(where: str, name: str, value: object) -> InputError:
    """Say that a label is no finite number."""
    return InputError(
        f"{where}: the target {name!r} is {shortened(value)}, no finite number; correct it or leave the row out."
    )


def target_type_error(path: str, name: str, kind: str, task: str) -> InputError:
    """Say that labels are of a type that they cannot be."""
    rule = "numbers" if task == "regression" else "text, numbers or booleans of two values"
    return InputError(f"{path}: the target {name!r} is of the type {kind}, but must be {rule}; convert it first.")


def target_count_error(files: str, name: str, labels: Sequence[object], n_labels: int) -> InputError:
    """Say that the labels of training files are not those of two classes."""
    shown = ", ".join(map(repr, labels[:_SHOWN])) + (", ..." if n_labels > _SHOWN else "")
    found = f"{n_labels:,} different values ({shown})" if n_labels > 1 else f"one value only, {shown}"
    return InputError(
        f"{files}: the target {name!r} has {found}, but --task=binary needs two; use --task=regression if they "
        "are numbers to predict."
    )


def text_option_error(options: Sequence[str], path: str) -> InputError:
    """Say that options are about text, and that a table was given."""
    goes, them = ("goes", "it") if len(options) == 1 else ("go", "them")
    return InputError(
        f"{_joined(options)} {goes} with libsvm, libfm and libffm text, but {path} is a table; leave {them} out."
    )


def table_option_error(options: Sequence[str], path: str) -> InputError:
    """Say that options are about tables, and that text was given."""
    goes, them = ("goes", "it") if len(options) == 1 else ("go", "them")
    return InputError(
        f"{_joined(options)} {goes} with tables (.csv, .tsv, .parquet), but {path} is none; leave {them} out."
    )


def table_model_error(model: str, path: str) -> InputError:
    """Say that a model of tables was given text."""
    return InputError(f"{model} was trained on a table, but {path} is none; give it {_TABLE_FILES}.")


def text_model_error(model: str, path: str) -> InputError:
    """Say that a model of rows of numbers was given a table."""
    return InputError(
        f"{path} is a table, but {model} was not trained on one; give it libsvm, libfm or libffm text, or train a "
        f"model on {_TABLE_FILES}."
    )


def empty_name_error(option: str, given: str) -> InputError:
    """Say that a list of names holds an empty one."""
    return InputError(f"{option}={given} must be names of columns with commas between them; one of them is empty.")


def twice_declared_error(name: str, places: Sequence[str]) -> InputError:
    """Say that two places say what a column is."""
    return InputError(f"Column {name!r} is declared by {_joined(places)}; declare it once.")


def undeclared_names_error(option: str, name: str, known: Sequence[str]) -> InputError:
    """Say that an option names a column that is no feature."""
    import difflib  # takes 10 ms

    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known[:10])}."
    return InputError(f"{option} names {name!r}, which is none of the columns that are features; {hint}")


def column_type_key_error(path: str, where: str) -> InputError:
    """Say that a column in a file of options has no type."""
    return InputError(f'{path}: {where} needs a type: "sparse", "dense" or "varlen".')


def declared_column_error(path: str, where: str, error: Exception) -> InputError:
    """Say that a column in a file of options cannot be as it says."""
    return InputError(f"{path}: {where}: {error}")


def no_features_error(files: str, left_out: Mapping[str, str]) -> InputError:
    """Say that nothing of a table looks like a feature."""
    why = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:_SHOWN])
    return InputError(
        f"{files} has no column to propose as a feature ({why or 'there is none but the target'}); declare some "
        "with --sparse, --dense or --varlen."
    )


def keep_option_error(out: str) -> InputError:
    """Say that columns can be kept in a table alone."""
    return InputError(
        f"--keep needs a table to write, but {out} has lines of one score; use --out with a name in .csv, .tsv or "
        ".parquet."
    )


def keep_score_error() -> InputError:
    """Say that no column that is kept may be called as the scores are."""
    return InputError("--keep=score names the column that scores are written to; rename that of the input first.")


def kept_lists_error(path: str, name: str, kind: str) -> InputError:
    """Say that a column cannot be kept."""
    return InputError(
        f"{path}: --keep names {name!r}, which is of the type {kind}; text, numbers, booleans and times can be "
        "kept."
    )


def table_out_error(out: str) -> InputError:
    """Say that a table is not written compressed."""
    return InputError(
        f"--out={out}: tables are written as .csv, .tsv or .parquet, not compressed; take another name."
    )


def no_table_error(path: str) -> InputError:
    """Say that a command is about tables."""
    return InputError(f"{path} is no table; give {_TABLE_FILES}.")


def no_rows_error(files: str) -> InputError:
    """Say that there is nothing to learn from."""
    return InputError(f"{files}: there are no rows, only names of columns; give files that hold some.")
