"""What is said of rows and models that cannot be explained as they were asked for."""

from __future__ import annotations

from typing import Any

from fastfm_deep.validation.errors import InputError, InputTypeError


def ungrouped_features_error(n_features: int, most: int) -> InputError:
    """Say that there are too many features to explain each of them."""
    return InputError(
        f"n_features={n_features} without fields are too many to explain by pairs; of single features at most "
        f"{most} are. Say which belong together, fields=[sizes] or an int array (n_features,), or fit to a table, "
        "with encoder=TableEncoder([...])."
    )


def ungrouped_model_error(path: str, n_features: int, most: int) -> InputError:
    """Say that a model file has no fields to tell of."""
    return InputError(
        f"{path} has {n_features:,} features and no fields, so that there are no pairs of fields; of single "
        f"features at most {most} are looked at. Train it on a table or on libffm text, which say what belongs "
        "together."
    )


def many_groups_error(what: str, n_groups: int, most: int) -> InputError:
    """Say that a matrix of pairs would be too large."""
    return InputError(
        f"{what}={n_groups} would make {n_groups}² pairs, but at most {most} fields, or features without fields, "
        "are explained together; put some of them into one field by fields=..."
    )


def single_row_error(n_rows: int) -> InputError:
    """Say that one row is explained at a time."""
    return InputError(f"row holds n_rows={n_rows}, but must be one; explain(X) takes any number of rows.")


def row_pair_error(name: str, value: Any, rule: str) -> InputError:
    """Say what a row as (indices, values) is made of."""
    return InputTypeError(f"{name} of shape {value.shape} and dtype {value.dtype} must be {rule}.")


def row_index_error(index: int, n_features: int) -> InputError:
    """Say that a feature of a row does not exist."""
    return InputError(f"indices hold {index}, but features of the model lie in 0 .. {n_features - 1}.")


def pairs_option_error(options: list[str]) -> InputError:
    """Say that options are about the pairs of fields."""
    goes, them = ("goes", "it") if len(options) == 1 else ("go", "them")
    return InputError(f"{' and '.join(options)} {goes} with --pairs; add that, or leave {them} out.")


def data_option_error(options: list[str]) -> InputError:
    """Say that options are about how data are read."""
    goes, them = ("goes", "it") if len(options) == 1 else ("go", "them")
    return InputError(f"{' and '.join(options)} {goes} with --data; add that, or leave {them} out.")
