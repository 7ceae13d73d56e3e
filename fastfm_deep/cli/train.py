"""The work of `fastfm-deep train`: files read together, a fit that is watched, the model saved and measured.

A *plan* is what the options say, names and values as they were given.
"""

from __future__ import annotations

import re
import signal
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.cli import layouts, tables, texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.wording import option_name

if TYPE_CHECKING:
    from fastfm_deep.data.fields import FieldLayout

# What --model and --task make together.
_CLASSES = {
    ("fm", "binary"): "FMClassifier",
    ("fm", "regression"): "FMRegressor",
    ("deepfm", "binary"): "DeepFMClassifier",
    ("deepfm", "regression"): "DeepFMRegressor",
}
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
# The metrics of a task, the one that decides last.
_METRICS = {"binary": ("accuracy", "auc", "logloss"), "regression": ("mae", "rmse")}


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

    def groups(self) -> dict[str, list[str]]:
        """Names of the sets of rows and their files."""
        rest = {"valid": self.valid, "test": self.test}
        return {"train": self.files} | {name: [path] for name, path in rest.items() if path is not None}


def hidden_units(given: str) -> tuple[int, ...]:
    """Widths of layers out of 64,32."""
    if not re.fullmatch(r"\s*[1-9]\d{0,9}\s*(,\s*[1-9]\d{0,9}\s*)*", given):
        raise validation.hidden_units_option_error(given)
    return tuple(map(int, given.split(",")))


def run_training(plan: Plan, console: Console) -> None:
    """Train, save and measure; everything that can be checked is checked first."""
    started = time.perf_counter()
    groups = plan.groups()
    _check(plan, groups)
    estimator = _new_estimator(plan)
    layout = _layout(plan)
    _check_network(estimator, layout)
    reading = time.perf_counter()
    data = texts.read_sets(groups, format=plan.format, ids=plan.ids, n_jobs=plan.hyper_parameters.get("n_jobs"))
    if plan.fields is not None:
        data = layouts.with_layout(data, plan.fields, layout, groups)
    if plan.task == "binary":
        _check_labels(groups, data)
    if plan.model == "deepfm":
        estimator.set_params(fields=data.fields)
    console.show(_heading(data, time.perf_counter() - reading))
    console.show(_settings(estimator, plan.hyper_parameters) + "\n")
    _tell_what_was_left_out(plan, data, console)
    if _fit(plan, estimator, data, console):
        with interrupts_ignored():
            _save(plan, estimator, data)
        raise KeyboardInterrupt(_interruption(plan, estimator))
    _save(plan, estimator, data)
    try:
        metrics = {name: measure(estimator, rows) for name, rows in data.sets.items()}
    except KeyboardInterrupt:
        where = f"saved to {plan.out}" if plan.out else "lost, for want of --out"
        raise KeyboardInterrupt(f"interrupted while measuring; the model is complete and was {where}") from None
    sizes = {name: rows.X.shape[0] for name, rows in data.sets.items()}
    console.show("\n" + tables.metrics_table({name: (sizes[name], metrics[name]) for name in metrics}))
    if plan.out is not None:
        console.show(f"\nmodel saved to {plan.out}\n")
    if estimator.best_epoch_ < len(estimator.history_) and estimator.early_stopping_rounds is None:
        console.show(
            f"\nEpoch {estimator.best_epoch_} was the best on {plan.valid}; --early-stopping-rounds=N keeps the "
            "weights of the best epoch.\n"
        )
    console.result(_result(plan, estimator, data, metrics) | {"seconds": time.perf_counter() - started})


def _result(
    plan: Plan, estimator: Any, data: texts.TextSets, metrics: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """What --json tells."""
    return {
        "model": plan.model,
        "task": plan.task,
        "n_rows": {name: rows.X.shape[0] for name, rows in data.sets.items()},
        "n_features": data.sets["train"].X.shape[1],
        "ids": data.id_map.kind,
        "base": data.id_map.base,
        "n_fields": None if data.fields is None else data.fields.n_fields,
        "n_unknown": data.n_unknown,
        "hyper_parameters": {name: value for name, value in estimator.get_params().items() if name != "fields"},
        "history": estimator.history_,
        "best_epoch": estimator.best_epoch_,
        "best_score": estimator.best_score_,
        "metrics": metrics,
        "out": plan.out,
    }


def _tell_what_was_left_out(plan: Plan, data: texts.TextSets, console: Console) -> None:
    for name, group in plan.groups().items():
        if data.n_unknown[name]:
            n_known = data.sets[name].X.nnz
            console.note(texts.unknown_note(data.n_unknown[name], n_known, group))
    if data.n_shared:
        console.note(texts.shared_note(data.n_shared, plan.files))
    if plan.model == "deepfm" and plan.fields is None and data.fields is None:
        console.note(
            f"{texts.names_of(plan.files)} names no fields, so the network is fed with vectors of the whole row; "
            "--fields says which columns belong together"
        )


def _save(plan: Plan, estimator: Any, data: texts.TextSets) -> None:
    estimator.id_map_ = data.id_map
    if data.fields is not None:
        estimator.fields_ = data.fields
    if plan.out is not None:
        estimator.save(plan.out, include_optimizer=plan.include_optimizer)


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Let a second Ctrl-C not undo what the first one asked for."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not the main thread, which alone is interrupted
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _check(plan: Plan, groups: dict[str, list[str]]) -> None:
    """All that can be said of the options before a file is read."""
    validation.check_choice("model", plan.model, ["fm", "deepfm"])
    validation.check_choice("task", plan.task, _METRICS)
    if plan.model != "deepfm":
        given = [option_name(name) for name in _OF_NETWORKS if name in plan.hyper_parameters]
        given += ["--fields"] if plan.fields is not None else []
        if given:
            raise validation.other_model_error(given)
    plan.ids.check()
    for name, task in (("class_weight", "binary"), ("clip", "regression")):
        if name in plan.hyper_parameters and plan.task != task:
            raise validation.other_task_error(option_name(name), task)
    for name in ("early_stopping_rounds", "eval_metric"):
        if name in plan.hyper_parameters and plan.valid is None:
            raise validation.unwatched_error(option_name(name))
    paths = [path for group in groups.values() for path in group]
    texts.check_inputs(paths)
    if plan.out is not None:
        texts.check_output(plan.out, paths)
    elif plan.include_optimizer:
        raise validation.InputError("--include-optimizer needs --out, the model file to keep it in.")


def _new_estimator(plan: Plan) -> Any:
    import fastfm_deep
    from fastfm_deep.estimators import evaluation

    kind: Any = getattr(fastfm_deep, _CLASSES[plan.model, plan.task])
    defaults = {"eval_metric": list(_METRICS[plan.task][1:])} if plan.valid is not None else {}
    estimator: Any = kind(**(defaults | plan.hyper_parameters))
    estimator._check_hyperparameters()
    evaluation.choose_metrics(estimator.eval_metric, kind._task, kind._default_metric)
    if "class_weight" in plan.hyper_parameters:
        validation.check_choice("class_weight", estimator.class_weight, ["balanced"])
    return estimator


def _layout(plan: Plan) -> FieldLayout | None:
    """The fields that were given, unless they are to be those of the text, or none."""
    if plan.fields is None or plan.fields == layouts.NONE:
        return None
    layout = layouts.read_layout(plan.fields)
    layouts.check_width(plan.fields, layout, plan.ids)
    return layout


def _check_network(estimator: Any, layout: FieldLayout | None) -> None:
    """See that there is room for a network of so many fields; libffm text may have more, and is measured later."""
    units = tuple(getattr(estimator, "dnn_hidden_units", ()))
    if units:
        from fastfm_deep.estimators.network_defaults import batch_rows, check_room_for_network
        from fastfm_deep.nn.mlp import MLPShape

        n_inputs = estimator.n_factors * (1 if layout is None else layout.n_fields)
        shape = MLPShape(n_inputs, units, estimator.dnn_activation, 0.0, False)
        check_room_for_network(shape, batch_rows(estimator.batch_size, 1 << 62))


def _check_labels(groups: dict[str, list[str]], data: texts.TextSets) -> None:
    """Labels of all files, before training; messages name the file."""
    from fastfm_deep.estimators import targets

    classes = np.unique(data.sets["train"].y)
    if len(classes) != 2:
        raise validation.label_count_error(texts.names_of(groups["train"]), classes.tolist())
    for name, rows in data.sets.items():
        targets.signs(rows.y, classes, f"labels of {texts.names_of(groups[name])}")


def _heading(data: texts.TextSets, seconds: float) -> str:
    X = data.sets["train"].X
    sizes = ", ".join(f"{rows.X.shape[0]:,} {name}" for name, rows in data.sets.items())
    return (
        f"{sizes} rows; {X.shape[1]:,} features ({_ids(data)}), "
        f"{X.nnz / max(1, X.shape[0]):.1f} values a row; read in {seconds:.1f} s\n"
    )


def _ids(data: texts.TextSets) -> str:
    """How features come from ids, and fields if there are any."""
    kind, base = data.id_map.kind, data.id_map.base
    ids = {"offset": f"ids from {base}", "hash": "hashed ids", "table": "the ids that occur"}[kind]
    return ids if data.fields is None else f"{ids}, {data.fields.n_fields:,} fields"


def _settings(estimator: Any, given: dict[str, Any]) -> str:
    """The hyper-parameters that matter most and those that were given, as they are called in Python."""
    always: tuple[str, ...] = (
        "n_factors",
        "optimizer",
        "learning_rate",
        "n_epochs",
        "l2_reg_linear",
        "l2_reg_factors",
        "init_std",
    )
    values = estimator.get_params()
    if hasattr(estimator, "dnn_hidden_units"):
        from fastfm_deep.estimators.network_defaults import table_rate

        always += ("dnn_hidden_units", "dnn_activation")
        values["learning_rate"] = table_rate(estimator)
    shown = [f"{name}={values[name]}" for name in dict.fromkeys([*always, *given])]
    text = f"{type(estimator).__name__}: {', '.join(shown)}"
    return textwrap.fill(text, 100, subsequent_indent="  ", break_on_hyphens=False) + "\n"


def _fit(plan: Plan, estimator: Any, data: texts.TextSets, console: Console) -> bool:
    """Train with a table of the epochs; whether Ctrl-C ended it with something learned."""
    train, valid = data.sets["train"], data.sets.get("valid")
    table = epoch_table(estimator, console, watched=valid is not None)
    try:
        estimator.fit(train.X, train.y, eval_set=None if valid is None else [tuple(valid)], callbacks=[table])
    except KeyboardInterrupt:
        if not estimator.__sklearn_is_fitted__():
            raise
        return True
    return False


def epoch_table(estimator: Any, console: Console, *, watched: bool) -> tables.EpochTable:
    """Table for a fit of this estimator."""
    from fastfm_deep.training.metrics import METRICS

    names: Sequence[str] = estimator.eval_metric or () if watched else ()
    return tables.EpochTable(
        console.show,
        names,
        greater_is_better=bool(names) and METRICS[names[-1]].greater_is_better,
        live=console.live,
    )


def _interruption(plan: Plan, estimator: Any) -> str:
    """What to say after Ctrl-C: which weights there are, and where."""
    epoch = len(estimator.history_) + 1
    best = plan.hyper_parameters.get("early_stopping_rounds") is not None and estimator.best_score_ is not None
    weights = f"the best weights so far, those of epoch {estimator.best_epoch_}," if best else "the weights so far"
    if plan.out is None:
        return f"interrupted in epoch {epoch}; without --out nothing was saved"
    return f"interrupted in epoch {epoch}; {weights} were saved to {plan.out}"


def measure(estimator: Any, rows: texts.Rows) -> dict[str, float]:
    """The metrics of the task on some rows, the usual one first."""
    from fastfm_deep.estimators import targets
    from fastfm_deep.training.metrics import METRICS

    if hasattr(estimator, "classes_"):
        answers, y, task = estimator.decision_function(rows.X), targets.signs(rows.y, estimator.classes_), "binary"
    else:
        answers, y, task = estimator.predict(rows.X), rows.y, "regression"
    return {name: METRICS[name].compute(y, answers, None) for name in reversed(_METRICS[task])}
