"""What is said of options of the command line that contradict a file or each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fastfm_deep.validation.errors import InputError


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


def label_count_error(files: str, labels: list[float]) -> InputError:
    """Say that the labels of training files are not those of two classes."""
    shown = ", ".join(f"{label:g}" for label in labels[:5]) + (", ..." if len(labels) > 5 else "")
    found = f"{len(labels)} different labels ({shown})" if len(labels) > 1 else f"one label only, {shown}"
    return InputError(
        f"{files}: {found}, but --task=binary needs two; use --task=regression if labels are numbers to predict."
    )


def config_file_error(path: str, fault: str) -> InputError:
    """Say that a file of options cannot be used."""
    return InputError(f"--config={path} {fault}; give a TOML file with lines like n_factors = 8.")


def config_key_error(path: str, where: str, known: Iterable[str], what: str, key: str | None = None) -> InputError:
    """Say that a file of options has a key that is none, and which one is the nearest."""
    import difflib  # takes 10 ms

    names = sorted(known)
    near = difflib.get_close_matches(key or where, names, n=1)
    listed = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}."
    return InputError(f"{path}: {where} is no {what}; {listed}")


def config_value_error(path: str, where: str, value: object, rule: str) -> InputError:
    """Say that a value in a file of options is of the wrong type."""
    return InputError(f"{path}: {where} = {value!r} must be {rule}.")


def exclusive_options_error(options: Sequence[str]) -> InputError:
    """Say that options contradict each other."""
    return InputError(
        f"{' and '.join(options)} exclude each other: each says how ids become columns; leave all but one out."
    )


def useless_base_error(path: str, base: str, ids: str) -> InputError:
    """Say that the ids of a model do not count from anything."""
    return InputError(f"--base={base} has no meaning for {path}, whose {ids}; leave --base out.")


def twice_stdin_error() -> InputError:
    """Say that standard input can be read only once."""
    return InputError("'-', the standard input, is named more than once, but can be read only once; use a file.")


def missing_fields_error(path: str) -> InputError:
    """Say that libffm text needs fields, and that a file names none."""
    return InputError(
        f"{path} names no fields, which libffm text needs; give them with --fields=10,20,5 (sizes of consecutive "
        "fields) or --fields=FILE (one field a line, one line an id)."
    )


def needless_fields_error(path: str) -> InputError:
    """Say that fields are given for text that names its own, or to text that has none."""
    return InputError(f"--fields goes with --to=libffm and libsvm text, not with {path}; leave it out.")


def fields_option_error(given: str, fault: str) -> InputError:
    """Say that fields given on the command line cannot be used."""
    return InputError(
        f"--fields={given} {fault}; give sizes of consecutive fields, 10,20,5, or a file with one field a line."
    )


def narrow_fields_error(given: str, n_columns: int, path: str, largest: int, base: int) -> InputError:
    """Say that an id lies beyond the fields that were given."""
    return InputError(
        f"--fields={given} gives the fields of {n_columns} ids, {base} .. {base + n_columns - 1}, but {path} "
        f"holds the id {largest}; give the fields of all."
    )


def overwriting_error(path: str) -> InputError:
    """Say that the file to be written is the one to be read."""
    return InputError(f"{path} is the file to be read, too; take another name for the output.")


def other_model_error(options: Sequence[str]) -> InputError:
    """Say that options are about a network, and that none is to be trained."""
    goes, them = ("goes", "it") if len(options) == 1 else ("go", "them")
    return InputError(f"{' and '.join(options)} {goes} with --model=deepfm alone; add that, or leave {them} out.")


def hidden_units_option_error(given: str) -> InputError:
    """Say what the widths of hidden layers look like."""
    return InputError(
        f"--dnn-hidden-units={given} must be the widths of the hidden layers, integers of at least 1 with commas "
        "between them, as 64,32; --model=fm has no network."
    )


def uneven_fields_error(given: str, n_columns: int, n_features: int, reason: str) -> InputError:
    """Say that the fields that were given are not those of the columns that there are."""
    return InputError(
        f"--fields={given} gives the fields of {n_columns:,} columns, but {reason} there are {n_features:,}; give "
        "the field of each, or --fields=none."
    )
