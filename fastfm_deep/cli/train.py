"""The work of `fastfm-deep train`: files read together, a fit that is watched, the model saved and measured.

Where the rows come from is the affair of a *source*: text or tables.
"""

from __future__ import annotations

import signal
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastfm_deep import validation
from fastfm_deep.cli import frames, tables, texts
from fastfm_deep.cli.console import Console
from fastfm_deep.cli.plans import METRICS_OF_TASK, Plan, check_plan
from fastfm_deep.cli.text_source import TextSource

# What --model and --task make together.
_CLASSES = {
    ("fm", "binary"): "FMClassifier",
    ("fm", "regression"): "FMRegressor",
    ("deepfm", "binary"): "DeepFMClassifier",
    ("deepfm", "regression"): "DeepFMRegressor",
}


def run_training(plan: Plan, console: Console) -> None:
    """Train, save and measure; everything that can be checked is checked first."""
    started = time.perf_counter()
    check_plan(plan)
    source = _source(plan)
    source.check()
    estimator = _new_estimator(plan)
    reading = time.perf_counter()
    source.read(estimator)
    console.show(_heading(source, time.perf_counter() - reading))
    console.show(_settings(estimator, plan.hyper_parameters) + "\n")
    source.tell(console)
    if _fit(source, estimator, console):
        with interrupts_ignored():
            _save(plan, estimator, source)
        raise KeyboardInterrupt(_interruption(plan, estimator))
    _save(plan, estimator, source)
    try:
        metrics = {name: _measured(plan, estimator, name, rows) for name, rows in source.sets.items()}
    except KeyboardInterrupt:
        where = f"saved to {plan.out}" if plan.out else "lost, for want of --out"
        raise KeyboardInterrupt(f"interrupted while measuring; the model is complete and was {where}") from None
    sizes = {name: len(rows.y) for name, rows in source.sets.items()}
    console.show("\n" + tables.metrics_table({name: (sizes[name], metrics[name]) for name in metrics}))
    if plan.out is not None:
        console.show(f"\nmodel saved to {plan.out}\n")
    if estimator.best_epoch_ < len(estimator.history_) and estimator.early_stopping_rounds is None:
        console.show(
            f"\nEpoch {estimator.best_epoch_} was the best on {plan.valid}; --early-stopping-rounds=N keeps the "
            "weights of the best epoch.\n"
        )
    console.result(_result(plan, estimator, source, metrics) | {"seconds": time.perf_counter() - started})


def _new_estimator(plan: Plan) -> Any:
    """An estimator with the hyper-parameters that were given."""
    import fastfm_deep
    from fastfm_deep.estimators import evaluation

    kind: Any = getattr(fastfm_deep, _CLASSES[plan.model, plan.task])
    defaults = {"eval_metric": list(METRICS_OF_TASK[plan.task][1:])} if plan.valid is not None else {}
    # Columns are looked at once it is known what there are.
    given = {name: value for name, value in plan.hyper_parameters.items() if not name.endswith("_columns")}
    estimator: Any = kind(**(defaults | given))
    estimator._check_hyperparameters()
    evaluation.choose_metrics(estimator.eval_metric, kind._task, kind._default_metric)
    if "class_weight" in plan.hyper_parameters:
        validation.check_choice("class_weight", estimator.class_weight, ["balanced"])
    return estimator


def _source(plan: Plan) -> Any:
    if not frames.are_tables(plan.paths()):
        return TextSource(plan)
    from fastfm_deep.cli.table_source import TableSource

    return TableSource(plan)


def _result(plan: Plan, estimator: Any, source: Any, metrics: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What --json tells."""
    left_out = {"fields"} if estimator.encoder is None else {"fields", "encoder"}
    parameters = estimator.get_params(deep=False)
    return {
        "model": plan.model,
        "task": plan.task,
        "n_rows": {name: len(rows.y) for name, rows in source.sets.items()},
        **source.result(estimator),
        "hyper_parameters": {name: value for name, value in parameters.items() if name not in left_out},
        "history": estimator.history_,
        "best_epoch": estimator.best_epoch_,
        "best_score": estimator.best_score_,
        "metrics": metrics,
        "out": plan.out,
    }


def _save(plan: Plan, estimator: Any, source: Any) -> None:
    source.attach(estimator)
    if plan.out is not None:
        estimator.save(plan.out, include_optimizer=plan.include_optimizer)


def _measured(plan: Plan, estimator: Any, name: str, rows: texts.Rows) -> dict[str, float]:
    with frames.about(texts.names_of(plan.groups()[name])):
        return measure(estimator, rows)


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


def _heading(source: Any, seconds: float) -> str:
    sizes = ", ".join(f"{len(rows.y):,} {name}" for name, rows in source.sets.items())
    return f"{sizes} rows; {source.heading()}; read in {seconds:.1f} s\n"


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


def _fit(source: Any, estimator: Any, console: Console) -> bool:
    """Train with a table of the epochs; whether Ctrl-C ended it with something learned."""
    train, valid = source.sets["train"], source.sets.get("valid")
    table = epoch_table(estimator, console, watched=valid is not None)
    try:
        with source.told():
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
    """The metrics of the task on some rows, the usual one first.

    The rows are taken to be sampled as those of training were, so `negative_downsampling` corrects nothing here.
    """
    from fastfm_deep.estimators import targets
    from fastfm_deep.training.metrics import METRICS

    if hasattr(estimator, "classes_"):
        answers, y, task = estimator.decision_function(rows.X), targets.signs(rows.y, estimator.classes_), "binary"
        answers = answers - estimator._shift()
    else:
        answers, y, task = estimator.predict(rows.X), rows.y, "regression"
    return {name: METRICS[name].compute(y, answers, None) for name in reversed(METRICS_OF_TASK[task])}
