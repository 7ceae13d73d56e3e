"""Table files as what a model is trained on: columns declared or proposed, rows and labels of all files.

Tables are read whole; the encoder of the model turns them into rows of numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import frames, labels, texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.plans import Plan, check_network
from fastfm_deep.data.encoder_tables import category_names
from fastfm_deep.data.feature_columns import COLUMN_TYPES, FeatureColumn, VarLenSparseFeat, names_of, to_plain
from fastfm_deep.data.proposals import propose_columns
from fastfm_deep.data.table import as_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LISTED = 12  # names in a note


class TableSource:
    """CSV, TSV and Parquet files.

    Parameters
    ----------
    plan : Plan

    Attributes
    ----------
    sets : dict of str to Rows
        Tables and labels, those of training first; there once they have been read.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._target = plan.target or ""
        self._columns: list[FeatureColumn] = []
        self._left_out: dict[str, str] = {}
        self.sets: dict[str, texts.Rows] = {}

    def check(self) -> None:
        """See that there is a target, and that no options are given that go with text."""
        plan = self._plan
        given = {
            "--format": plan.format != "auto",
            "--base": plan.ids.base != "auto",
            "--hash-features": plan.ids.hash_features is not None,
            "--compact": plan.ids.compact,
            "--n-features": plan.ids.n_features is not None,
            "--fields": plan.fields is not None,
        }
        options = [option for option, is_given in given.items() if is_given]
        if options:
            raise validation.text_option_error(options, plan.files[0])
        if plan.target is None:
            raise validation.missing_target_error(texts.names_of(plan.files))
        plan.declarations.check(plan.target)

    def read(self, estimator: Any) -> None:
        """Read all files, and give the estimator its encoder."""
        plan = self._plan
        declared = plan.declarations.columns() if plan.declarations.are_given else None
        wanted = None if declared is None else [*_names_read(declared), self._target]
        frame = frames.read_frame(plan.files, wanted, category_names(declared or []))
        if not frame.table.num_rows:
            raise validation.no_rows_error(texts.names_of(plan.files))
        frames.check_names(plan.files[0], frame.table.schema.names, [self._target])
        self._columns = self._proposed(frame.table) if declared is None else declared
        if declared is None:  # of CSV, categories are text
            frame = frames.read_frame(plan.files, None, category_names(self._columns))
        self._give_encoder(estimator)
        names = _names_read(self._columns)
        y = self._labels_of(frame)
        self.sets["train"] = texts.Rows(as_table(frame.table.select(names)), y)
        families = {name: frame.families[name] for name in [*names, self._target]}
        for name, (path,) in list(plan.groups().items())[1:]:
            columns = frames.read_as(path, families)
            y_of_file = labels.read_labels(columns[self._target], path, self._target, plan.task)
            self.sets[name] = texts.Rows(as_table({column: columns[column] for column in names}), y_of_file)
        if plan.task == "binary":
            self._check_classes()

    def _proposed(self, table: Any) -> list[FeatureColumn]:
        unnamed = [name for name in table.schema.names if not name]
        found, self._left_out = propose_columns(as_table(table), [self._target, *unnamed])
        if not found:
            raise validation.no_features_error(texts.names_of(self._plan.files), self._left_out)
        return self._plan.declarations.with_defaults(found)

    def _give_encoder(self, estimator: Any) -> None:
        from fastfm_deep.estimators.table_encoder import TableEncoder

        plan, known = self._plan, names_of(self._columns)
        chosen = {name: plan.hyper_parameters.get(name) for name in ("linear_columns", "deep_columns")}
        for option, names in chosen.items():
            for name in names or ():
                if name not in known:
                    raise validation.undeclared_names_error("--" + option.replace("_", "-"), name, known)
        n_deep = len(known if chosen["deep_columns"] is None else chosen["deep_columns"])
        check_network(estimator, n_deep)
        n_jobs = plan.hyper_parameters.get("n_jobs")
        estimator.set_params(encoder=TableEncoder(self._columns, n_jobs=n_jobs), **chosen)

    def _labels_of(self, frame: frames.Frame) -> NDArray[Any]:
        """Labels of the training files, one after the other so that messages name the file."""
        column, first, parts = frame.table.column(self._target), 0, []
        for path, n_rows in frame.sizes.items():
            parts.append(labels.read_labels(column.slice(first, n_rows), path, self._target, self._plan.task))
            first += n_rows
        return np.concatenate([part for part in parts if len(part)])

    def _check_classes(self) -> None:
        from fastfm_deep.estimators import targets

        groups = self._plan.groups()
        classes = labels.check_classes(self.sets["train"].y, texts.names_of(groups["train"]), self._target)
        for name, rows in self.sets.items():
            targets.signs(rows.y, classes, f"labels of {texts.names_of(groups[name])}")

    def heading(self) -> str:
        """What the rows are, in short."""
        counts = {kind: sum(column.kind == kind for column in self._columns) for kind in COLUMN_TYPES}
        listed = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
        n = len(self._columns)
        return f"{n:,} {'column' if n == 1 else 'columns'} ({listed}), target {self._target}"

    def tell(self, console: Console) -> None:
        """Say which columns were proposed."""
        if not self._plan.declarations.are_given:
            console.note(proposal_note(self._columns, self._left_out))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Let errors about the values of columns name the files."""
        try:
            yield
        except validation.InputError as error:
            text, files = str(error), self._plan.files
            if text.startswith("eval_set[0]: ") and self._plan.valid is not None:
                raise type(error)(f"{self._plan.valid}: {text.removeprefix('eval_set[0]: ')}") from error
            if not text.startswith(("Column ", "The column ")):
                raise
            counted = " (rows counted over all of them)" if len(files) > 1 else ""
            raise type(error)(f"{texts.names_of(files)}{counted}: {text}") from error

    def attach(self, estimator: Any) -> None:
        """Let a model remember what it predicts."""
        estimator.target_name_ = self._target

    def result(self, estimator: Any) -> dict[str, Any]:
        """What --json tells."""
        return {
            "target": self._target,
            "columns": [to_plain(column) for column in self._columns],
            "left_out": self._left_out,
            "n_features": estimator.n_features_in_,
            "n_fields": len(self._columns),
        }


def _names_read(columns: Sequence[FeatureColumn]) -> list[str]:
    """The columns of the table that feature columns read."""
    names = [*names_of(columns), *(column.weights for column in _varlen(columns) if column.weights is not None)]
    return list(dict.fromkeys(names))


def _varlen(columns: Sequence[FeatureColumn]) -> list[VarLenSparseFeat]:
    return [column for column in columns if isinstance(column, VarLenSparseFeat)]


def proposal_note(columns: Sequence[FeatureColumn], left_out: dict[str, str]) -> str:
    """What is said when columns were proposed."""
    parts = []
    for kind in COLUMN_TYPES:
        names = [column.name for column in columns if column.kind == kind]
        if names:
            parts.append(f"{kind} {', '.join(names[:_LISTED])}{', ...' if len(names) > _LISTED else ''}")
    text = f"columns proposed: {'; '.join(parts)}"
    if left_out:
        reasons = [f"{name} ({reason})" for name, reason in list(left_out.items())[:_LISTED]]
        text += f"; left out: {', '.join(reasons)}{', ...' if len(left_out) > _LISTED else ''}"
    return text + ". The command columns writes them to a file for --config, to be read over"
