"""Text files as what a model is trained on: rows of all of them, and how ids became features.

A *source* has the rows that `fastfm-deep train` learns from and measures on, and knows what to tell of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import layouts, texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.plans import Plan, check_network
from fastfm_deep.cli.wording import option_name

if TYPE_CHECKING:
    from fastfm_deep.data.fields import FieldLayout

_OF_TABLES = ("linear_columns", "deep_columns")


class TextSource:
    """Text in libsvm, libfm or libffm format.

    Parameters
    ----------
    plan : Plan

    Attributes
    ----------
    sets : dict of str to Rows
        Those of training first; there once they have been read.
    """

    sets: dict[str, texts.Rows]
    _data: texts.TextSets

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def check(self) -> None:
        """See that no options are given that go with tables."""
        plan = self._plan
        given = ["--target"] if plan.target is not None else []
        given += [*plan.declarations.options()]
        given += [option_name(name) for name in _OF_TABLES if name in plan.hyper_parameters]
        if given:
            raise validation.table_option_error(given, texts.names_of(plan.files[:1]))

    def read(self, estimator: Any) -> None:
        """Read all files, and let the estimator know the fields."""
        plan, groups = self._plan, self._plan.groups()
        layout = self._layout()
        check_network(estimator, None if layout is None else layout.n_fields)
        n_jobs = plan.hyper_parameters.get("n_jobs")
        data = texts.read_sets(groups, format=plan.format, ids=plan.ids, n_jobs=n_jobs)
        if plan.fields is not None:
            data = layouts.with_layout(data, plan.fields, layout, groups)
        if plan.task == "binary":
            _check_labels(groups, data)
        if plan.model == "deepfm":
            estimator.set_params(fields=data.fields)
        self._data, self.sets = data, data.sets

    def _layout(self) -> FieldLayout | None:
        """The fields that were given, unless they are to be those of the text, or none."""
        plan = self._plan
        if plan.fields is None or plan.fields == layouts.NONE:
            return None
        layout = layouts.read_layout(plan.fields)
        layouts.check_width(plan.fields, layout, plan.ids)
        return layout

    def heading(self) -> str:
        """What the rows are, in short."""
        X = self.sets["train"].X
        return f"{X.shape[1]:,} features ({self._ids()}), {X.nnz / max(1, X.shape[0]):.1f} values a row"

    def _ids(self) -> str:
        """How features come from ids, and fields if there are any."""
        kind, base, fields = self._data.id_map.kind, self._data.id_map.base, self._data.fields
        ids = {"offset": f"ids from {base}", "hash": "hashed ids", "table": "the ids that occur"}[kind]
        return ids if fields is None else f"{ids}, {fields.n_fields:,} fields"

    def tell(self, console: Console) -> None:
        """Say what was left out."""
        plan, data = self._plan, self._data
        for name, group in plan.groups().items():
            if data.n_unknown[name]:
                n_known = data.sets[name].X.nnz
                console.note(texts.unknown_note(data.n_unknown[name], n_known, group))
        if data.n_shared:
            console.note(texts.shared_note(data.n_shared, plan.files))
        if plan.model == "deepfm" and plan.fields is None and data.fields is None:
            console.note(
                f"{texts.names_of(plan.files)} names no fields, so the network is fed with vectors of the whole "
                "row; --fields says which columns belong together"
            )

    @contextmanager
    def told(self) -> Iterator[None]:
        """All that can be wrong with text has been told before."""
        yield

    def attach(self, estimator: Any) -> None:
        """Let a model remember how ids became features."""
        estimator.id_map_ = self._data.id_map
        if self._data.fields is not None:
            estimator.fields_ = self._data.fields

    def result(self, estimator: Any) -> dict[str, Any]:
        """What --json tells."""
        data = self._data
        return {
            "n_features": data.sets["train"].X.shape[1],
            "ids": data.id_map.kind,
            "base": data.id_map.base,
            "n_fields": None if data.fields is None else data.fields.n_fields,
            "n_unknown": data.n_unknown,
        }


def _check_labels(groups: dict[str, list[str]], data: texts.TextSets) -> None:
    """Labels of all files, before training; messages name the file."""
    from fastfm_deep.estimators import targets

    classes = np.unique(data.sets["train"].y)
    if len(classes) != 2:
        raise validation.label_count_error(texts.names_of(groups["train"]), classes.tolist())
    for name, rows in data.sets.items():
        targets.signs(rows.y, classes, f"labels of {texts.names_of(groups[name])}")
