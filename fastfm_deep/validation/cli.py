"""What is said of options of the command line that contradict a file or each other."""

from __future__ import annotations

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
