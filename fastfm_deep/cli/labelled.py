"""Labelled files for a model that there is: what `evaluate` and `report` read before they ask it.

An *order* is what the options of such a command say of its input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fastfm_deep import validation
from fastfm_deep.cli import frames, models, texts
from fastfm_deep.cli.console import Console

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.text import TextData


class Order(NamedTuple):
    """Which model, and which rows."""

    model: str
    files: list[str]
    target: str | None
    unknown_ids: str
    base: str | None
    format: str
    n_jobs: int | None
    text_options: Sequence[str]
    """Of the options, those given that are about text."""

    def check(self) -> None:
        """All that can be said before a file is opened."""
        validation.check_choice("unknown_ids", self.unknown_ids, ["ignore", "error"])
        if self.base is not None:
            validation.check_choice("base", self.base, ["0", "1"])
        texts.check_inputs([self.model, *self.files])

    def open_model(self) -> tuple[Any, bool]:
        """The model, and whether it and the files are of tables."""
        are_tables = frames.are_tables(self.files)
        estimator = models.open_model(self.model, self.n_jobs)
        models.check_kind(estimator, self.model, self.files[0], are_tables)
        return estimator, are_tables


def read_texts(order: Order, estimator: Any, console: Console) -> tuple[TextData, NDArray[Any]]:
    """Rows and labels of text files."""
    if order.target is not None:
        raise validation.table_option_error(["--target"], texts.names_of(order.files[:1]))
    data = texts.read_for(
        models.id_map_of(estimator, order.model, order.base),
        order.files,
        format=order.format,
        unknown_ids=order.unknown_ids,
        n_jobs=order.n_jobs,
    )
    y = texts.labels_of(data, texts.names_of(order.files))
    if data.n_unknown:
        console.note(texts.unknown_note(data.n_unknown, data.X.nnz, order.files))
    return data, y


def read_tables(order: Order, estimator: Any) -> Iterator[tuple[str, dict[str, Any], NDArray[Any]]]:
    """Files of tables one after the other: name, columns of the model, and labels.

    The columns of all files are looked for before the first one is read.
    """
    from fastfm_deep.cli import labels

    models.refuse_text_options(order.text_options, order.files[0])
    target = order.target if order.target is not None else getattr(estimator, "target_name_", None)
    if target is None:
        raise validation.unknown_target_error(order.model)
    task = "binary" if hasattr(estimator, "classes_") else "regression"
    families = models.families_of_model(estimator)
    if target in families:
        raise validation.target_column_error(target, "the model")
    families[target] = labels.family_of_labels(estimator)
    for path in order.files:
        frames.check_names(path, frames.names_in(path), list(families))
    n_rows = 0
    for path in order.files:
        columns = frames.read_as(path, families)
        y = labels.read_labels(columns.pop(target), path, target, task)
        n_rows += len(y)
        if len(y):
            yield path, columns, y
    if not n_rows:
        raise validation.no_rows_error(texts.names_of(order.files))
