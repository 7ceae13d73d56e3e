"""What is said of feature columns, and of values in a table that cannot be encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastfm_deep.validation.errors import InputError, InputTypeError, TableTooLargeError

_SHOWN = 60


def shown(value: Any) -> str:
    """A value in a message, however long it is."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of thousands of digits
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def column_list_error(columns: Any) -> InputError:
    """Say what `columns` must be."""
    return InputTypeError(
        f"columns={shown(columns)} must be a list of feature columns, e.g. [SparseFeat('user'), "
        "DenseFeat('age')]; TableEncoder.from_frame(table) proposes them."
    )


def no_columns_error() -> InputError:
    """Say that there is nothing to encode."""
    return InputError(
        "columns=[] names no feature column; give some, e.g. [SparseFeat('user'), DenseFeat('age')], or let "
        "TableEncoder.from_frame(table) propose them."
    )


def column_type_error(place: int, column: Any) -> InputError:
    """Say that something is no feature column."""
    return InputTypeError(
        f"columns[{place}]={shown(column)} must be a SparseFeat, a DenseFeat or a VarLenSparseFeat"
        + (f"; for a column of categories, SparseFeat({column!r})." if isinstance(column, str) else ".")
    )


def repeated_column_error(name: str) -> InputError:
    """Say that two feature columns have one name."""
    return InputError(f"columns name {name!r} twice; declare each column once.")


def column_name_error(name: Any) -> InputError:
    """Say that a column needs a name."""
    return InputTypeError(f"name={shown(name)} must be the name of a column, a string that is not empty.")


def separator_error(name: str, separator: Any) -> InputError:
    """Say that values need something between them."""
    return InputError(f"separator={shown(separator)} of column {name!r} must be a string that is not empty.")


def counted_hash_error(name: str, min_count: int) -> InputError:
    """Say that what is hashed is not counted."""
    return InputError(
        f"min_count={min_count} of column {name!r} needs a vocabulary, but hash_buckets keeps none; set one or "
        "the other."
    )


def no_category_error(column: str, row: int, value: Any) -> InputError:
    """Say that a value is no category."""
    return InputTypeError(
        f"Column {column!r} holds {shown(value)} in row {row}, a {type(value).__name__}, but categories are text, "
        "numbers, booleans, dates, bytes or None; turn it into text, or declare a column of lists a "
        "VarLenSparseFeat."
    )


def unknown_category_error(column: str, row: int, value: Any, min_count: int, is_rare: bool) -> InputError:
    """Say that a category is not one of those that the column has."""
    found = f"Column {column!r} holds {shown(value)} in row {row}"
    ways = "handle_unknown='bucket' lets such values share a feature, 'ignore' leaves them out."
    if value is None:
        return InputError(f"{found}, a missing value, which handle_unknown='error' forbids; {ways}")
    if is_rare:
        return InputError(
            f"{found}, which occurs less often in fit than min_count={min_count}, so that handle_unknown='error' "
            f"forbids it; {ways}"
        )
    return InputError(f"{found}, which did not occur in fit, and handle_unknown='error' forbids it; {ways}")


def missing_number_error(column: str, row: int) -> InputError:
    """Say that a number is missing."""
    return InputError(
        f"Column {column!r} holds no number in row {row}, which missing='error' forbids; missing='indicator' "
        "gives missing numbers a feature of their own, 'mean' puts the mean in their place."
    )


def large_number_error(column: str, row: int, value: float) -> InputError:
    """Say that a number is too large for float32."""
    return InputError(
        f"Column {column!r} holds {value!r} in row {row}, which is beyond the range of float32 after scaling; "
        "scale the column down, or take scaling='log1p'."
    )


def too_many_categories_error(n: int) -> TableTooLargeError:
    """Say that no more categories can be numbered."""
    return TableTooLargeError(f"A column has more than {n} categories; hash them (hash_buckets=2**22).")


def too_many_features_error(n: int, most: int) -> TableTooLargeError:
    """Say that no more features can be numbered."""
    return TableTooLargeError(
        f"The columns have {n} features together, but there is room for {most}; take fewer hash_buckets, or "
        "leave out rare categories (min_count=2)."
    )


def category_memory_error(n: int) -> TableTooLargeError:
    """Say that the vocabulary does not fit into memory."""
    return TableTooLargeError(
        f"A column has more than {n} categories, and there is no memory left for more; hash them "
        "(hash_buckets=2**22), or leave out rare ones (min_count=2)."
    )


def weight_count_error(column: str, weights: str, row: int, n_values: int, n_weights: int) -> InputError:
    """Say that values and weights of a row differ in number."""
    return InputError(
        f"Column {weights!r} holds {n_weights} weights in row {row}, but column {column!r} holds {n_values} "
        "values there; give each value one weight."
    )


def bag_weight_error(weights: str, row: int, value: Any) -> InputError:
    """Say that a weight is no finite number."""
    return InputError(
        f"Column {weights!r} holds the weight {shown(value)} in row {row}, which is no finite number."
    )


def unlisted_columns_error(name: str, unknown: Sequence[str], known: Sequence[str]) -> InputError:
    """Say that a list names columns that the encoder has not."""
    import difflib  # takes 10 ms

    near = difflib.get_close_matches(str(unknown[0]), known, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(
        f"{name} names {shown(unknown[0])}, but the encoder has {listed(known)}.{meant} Name columns of the "
        "encoder."
    )


def useless_columns_error(name: str) -> InputError:
    """Say that `linear_columns` and `deep_columns` go with an encoder alone."""
    return InputError(f"{name} names columns of a table, so it needs encoder=TableEncoder([...]).")


def listed(names: Sequence[str]) -> str:
    """Names in a message, however many there are."""
    few = ", ".join(repr(name) for name in names[:10])
    return few + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def listed_column_error(name: str) -> InputError:
    """Say that a sparse column holds lists."""
    return InputTypeError(
        f"Column {name!r} holds lists, but a SparseFeat has one value a row; declare it a VarLenSparseFeat."
    )


def several_values_error(name: str, row: int, n_values: int) -> InputError:
    """Say that index and value matrices hold one value a field."""
    return InputError(
        f"Column {name!r} holds {n_values} values in row {row}, but index and value matrices have room for one a "
        "field; declare it with max_length=1, or take the rows of transform()."
    )


def index_matrix_error(index: Any, value: Any, n_fields: int) -> InputError:
    """Say what index and value matrices are like."""
    return InputError(
        f"Xi of shape {index.shape} and dtype {index.dtype} and Xv of shape {value.shape} must both be of shape "
        f"(n_rows, {n_fields}), one column a field, and Xi of integers; to_index_value(table) makes such."
    )


def foreign_index_error(row: int, field: int, found: int) -> InputError:
    """Say that an index belongs to another field, or to none."""
    return InputError(
        f"Xi[{row}, {field}]={found} is no feature of field {field}; take those of to_index_value(table), or 0 "
        "for nothing."
    )


def row_type_error(row: Any) -> InputError:
    """Say what a single row is."""
    return InputTypeError(f"row={shown(row)} must be a dict of column names and values, of one row.")


def row_column_error(name: str, known: Sequence[str]) -> InputError:
    """Say that a row has no value of a column."""
    import difflib  # takes 10 ms

    near = difflib.get_close_matches(name, known, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    found = listed(known) or "none at all"
    return InputError(
        f"The row has no column {name!r}, but {found}.{meant} Give it, None where the value is missing."
    )


def no_proposal_error(left_out: dict[str, str]) -> InputError:
    """Say that no column of a table looks like a feature."""
    why = "; ".join(f"{name!r}: {reason}" for name, reason in list(left_out.items())[:5])
    return InputError(
        f"The table has no column to propose as a feature ({why or 'it has no columns'}); declare them yourself."
    )


def encoder_type_error(encoder: Any) -> InputError:
    """Say what an encoder is."""
    return InputTypeError(f"encoder={shown(encoder)} must be a TableEncoder, or None for rows of numbers.")


def double_fields_error() -> InputError:
    """Say that fields are given twice."""
    return InputError("fields= and encoder= both say which columns belong together; leave fields out.")


def column_names_error(name: str, columns: Any) -> InputError:
    """Say what `linear_columns` and `deep_columns` are."""
    return InputTypeError(f"{name}={shown(columns)} must be a list of names of columns, or of feature columns.")


def changed_columns_error() -> InputError:
    """Say that training goes on with other columns in the parts of the model."""
    return InputError(
        "linear_columns and deep_columns differ from those of the model that training goes on with; set them "
        "back, or fit anew."
    )


def no_encoder_error(what: str) -> InputError:
    """Say that something needs a table encoder."""
    return InputError(f"{what} needs a model that was fitted to a table, with encoder=TableEncoder([...]).")


def sampling_error(value: Any) -> InputError:
    """Say what the share of negatives is."""
    return InputError(
        f"negative_downsampling={shown(value)} must be greater than 0 and at most 1: the share of the negative "
        "rows that was kept."
    )


def late_encoder_error() -> InputError:
    """Say that a model that knows no table cannot go on with one."""
    return InputError(
        "encoder= was set on a model that was fitted to rows of numbers, whose features no table has; fit anew "
        "with warm_start=False."
    )


def no_deep_columns_error() -> InputError:
    """Say that a network has no columns to be fed with."""
    return InputError(
        "deep_columns=[] leaves the network without inputs; name at least one column, or leave the network out by "
        "dnn_hidden_units=()."
    )
