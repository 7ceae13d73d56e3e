"""Model files as the commands use them, and how text and tables are to be read for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastfm_deep import validation
from fastfm_deep.cli import texts
from fastfm_deep.data.id_map import IdMap

_IDS = {"hash": "ids are hashed", "table": "ids are kept one by one"}


def open_model(path: str, n_jobs: int | None = None) -> Any:
    """The estimator of a model file."""
    from fastfm_deep.estimators.saved import load_model

    estimator = load_model(path)
    if n_jobs is not None:
        estimator.set_params(n_jobs=n_jobs)
    return estimator


def id_map_of(estimator: Any, path: str, base: str | None) -> IdMap:
    """How ids become features: settled when the model was trained, never found out anew.

    A model from Python may not know; `base` then says it, and may not contradict what is known.
    """
    kept: IdMap | None = getattr(estimator, "id_map_", None)
    if kept is None:
        if base is None:
            raise validation.unknown_base_error(path)
        return IdMap.by_offset(estimator.n_features_in_, int(base))
    if base is not None and kept.kind != "offset":
        raise validation.useless_base_error(path, base, _IDS[kept.kind])
    if base is not None and int(base) != kept.base:
        raise validation.other_base_error(path, base, kept.base)
    return kept


def check_kind(estimator: Any, model: str, path: str, is_table: bool) -> None:
    """See that a model of tables is given a table, and any other one text."""
    of_tables = hasattr(estimator, "encoder_")
    if of_tables and not is_table:
        raise validation.table_model_error(model, texts.names_of([path]))
    if is_table and not of_tables:
        raise validation.text_model_error(model, path)


def refuse_text_options(options: Sequence[str], path: str) -> None:
    """See that nothing is said of ids in text."""
    if options:
        raise validation.text_option_error(options, path)


def families_of_model(estimator: Any) -> dict[str, str]:
    """The columns that a model of tables reads, and their families."""
    from fastfm_deep.data.families import families_of

    return families_of(estimator.encoder_.encoding_)
