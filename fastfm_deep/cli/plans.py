"""What `fastfm-deep train` is told to do, and all that can be said of it before a file is read.

A *plan* is what the options say, names and values as they were given.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from fastfm_deep import validation
from fastfm_deep.cli import texts
from fastfm_deep.cli.declarations import Declarations
from fastfm_deep.cli.wording import option_name

METRICS_OF_TASK = {"binary": ("accuracy", "auc", "logloss"), "regression": ("mae", "rmse")}
"""The metrics of a task, the one that decides last."""

# Hyper-parameters that a factorization machine has not.
_OF_NETWORKS = (
    "dnn_hidden_units",
    "dnn_activation",
    "dnn_dropout",
    "dnn_batch_norm",
    "dnn_optimizer",
    "dnn_learning_rate",
    "l2_reg_dnn",
    "batch_size",
)
_OF_TASKS = (("class_weight", "binary"), ("negative_downsampling", "binary"), ("clip", "regression"))


class Plan(NamedTuple):
    """What to train on, how, and where the model goes."""

    files: list[str]
    valid: str | None
    test: str | None
    model: str
    task: str
    fields: str | None
    hyper_parameters: dict[str, Any]
    format: str
    ids: texts.IdOptions
    out: str | None
    include_optimizer: bool
    target: str | None
    declarations: Declarations

    def groups(self) -> dict[str, list[str]]:
        """Names of the sets of rows and their files."""
        rest = {"valid": self.valid, "test": self.test}
        return {"train": self.files} | {name: [path] for name, path in rest.items() if path is not None}

    def paths(self) -> list[str]:
        """All files that are read."""
        return [path for group in self.groups().values() for path in group]


def hidden_units(given: str) -> tuple[int, ...]:
    """Widths of layers out of 64,32."""
    if not re.fullmatch(r"\s*[1-9]\d{0,9}\s*(,\s*[1-9]\d{0,9}\s*)*", given):
        raise validation.hidden_units_option_error(given)
    return tuple(map(int, given.split(",")))


def check_plan(plan: Plan) -> None:
    """See that options do not contradict each other, and that files can be read and written."""
    validation.check_choice("model", plan.model, ["fm", "deepfm"])
    validation.check_choice("task", plan.task, METRICS_OF_TASK)
    if plan.model != "deepfm":
        given = [option_name(name) for name in _OF_NETWORKS if name in plan.hyper_parameters]
        given += ["--fields"] if plan.fields is not None else []
        if given:
            raise validation.other_model_error(given)
    plan.ids.check()
    for name, task in _OF_TASKS:
        if name in plan.hyper_parameters and plan.task != task:
            raise validation.other_task_error(option_name(name), task)
    for name in ("early_stopping_rounds", "eval_metric"):
        if name in plan.hyper_parameters and plan.valid is None:
            raise validation.unwatched_error(option_name(name))
    texts.check_inputs(plan.paths())
    if plan.out is not None:
        texts.check_output(plan.out, plan.paths())
    elif plan.include_optimizer:
        raise validation.InputError("--include-optimizer needs --out, the model file to keep it in.")


def check_network(estimator: Any, n_fields: int | None) -> None:
    """See that there is room for a network of so many fields; libffm text may have more, and is measured later."""
    units = tuple(getattr(estimator, "dnn_hidden_units", ()))
    if units:
        from fastfm_deep.estimators.network_defaults import batch_rows, check_room_for_network
        from fastfm_deep.nn.shape import MLPShape

        n_inputs = estimator.n_factors * (1 if n_fields is None else n_fields)
        shape = MLPShape(n_inputs, units, estimator.dnn_activation, 0.0, False)
        check_room_for_network(shape, batch_rows(estimator.batch_size, 1 << 62))
