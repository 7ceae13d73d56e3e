"""What a fitted factorization machine answers: scores of rows and of tables, recommendations, its parameters.

An *answer* is the raw score in the units of the targets, before the link function.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from fastfm_deep import validation
from fastfm_deep.data.rows import CsrRows, as_csr_rows
from fastfm_deep.data.table_parts import fields_in
from fastfm_deep.estimators import recommending, table_input
from fastfm_deep.estimators.explaining import Explaining
from fastfm_deep.estimators.recommending import Catalogs, ItemCatalog, Recommendations
from fastfm_deep.estimators.table_encoder import TableEncoder
from fastfm_deep.model.params import FMModel
from fastfm_deep.model.row_score import RowScorer
from fastfm_deep.model.score import raw_scores, work_of_model
from fastfm_deep.model.shards import thread_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Multiplications that a thread is worth being started for.
_SCORING_WORTH = 20_000_000
# Made when it is first asked for, and dropped when the model changes.
_OF_THIS_PROCESS = ("_row_scorer", "_items")


class FittedFM(Explaining, BaseEstimator):
    """The part of the estimators that needs a model, and changes nothing of it."""

    n_jobs: int | None
    # Set by a fit.
    _model: FMModel
    # Set by a fit with an encoder.
    encoder_: TableEncoder

    def _drop_prepared(self) -> None:
        """Forget what was prepared for scoring with an earlier state of the model."""
        for name in _OF_THIS_PROCESS:
            self.__dict__.pop(name, None)

    def _check_jobs(self) -> None:
        if self.n_jobs is not None and validation.check_integer("n_jobs", self.n_jobs, minimum=-(2**31)) == 0:
            raise validation.InputError("n_jobs=0 must be None, a number of threads, or -1 for all cores.")

    def _read_rows(self, X: Any, reset: bool) -> CsrRows:
        if hasattr(self, "encoder_"):
            return table_input.table_rows(self.encoder_, X)
        rows = as_csr_rows(X)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return rows

    def _shift(self) -> float:
        """What is added to each answer of the model, before the link function."""
        return 0.0

    def _raw_scores(self, X: Any) -> NDArray[np.float64]:
        """Answers to rows before the link function, float64 (n_rows,)."""
        check_is_fitted(self)
        self._check_jobs()
        model = self._model
        rows = self._read_rows(X, reset=False)
        if hasattr(self, "encoder_"):
            rows = table_input.known_rows(rows, model.n_features)
        threads = thread_count(self.n_jobs, rows.n_rows * work_of_model(model, rows), _SCORING_WORTH)
        return (model.center + self._shift()) + model.scale * raw_scores(model, rows, threads)

    def _raw_score_of_row(self, row: Any) -> float:
        """The same of one row of a table, a dict of raw values."""
        if not self.__sklearn_is_fitted__():  # asked by hand: scikit-learn's check takes as long as the rest
            check_is_fitted(self)
        if not hasattr(self, "encoder_"):
            raise validation.no_encoder_error("score_row_dict")
        model, scorer = self._model, self.__dict__.get("_row_scorer")
        if scorer is None or scorer.model is not model or scorer.epochs != model.epochs:
            scorer = self._row_scorer = RowScorer(model)
        ids, values = self.encoder_.encoding_.encode_row(row, pooled=True)
        if ids and max(ids) >= model.n_features:  # of training that goes on in another thread
            known = [at for at, number in enumerate(ids) if number < model.n_features]
            ids, values = [ids[at] for at in known], [values[at] for at in known]
        return (model.center + self._shift()) + model.scale * scorer.score(ids, values)

    def prepare_items(self, items: Any) -> ItemCatalog:
        """Encode a table of items once, for many calls of `recommend`.

        Parameters
        ----------
        items : table
            The columns of the encoder that are the items' own.

        Returns
        -------
        ItemCatalog
            For `recommend`, as long as the model is not trained further.
        """
        catalogs = self._catalogs("prepare_items")
        table = self.encoder_.table_of(items, "items")
        return catalogs.prepared(
            table, fields_in(self.encoder_.encoding_, table), self._ranking_threads(table.n_rows)
        )

    def recommend(self, users: Any, items: Any, n: int = 10, exclude: Any = None) -> Recommendations:
        """The best items for each user.

        What is the user's alone, of linear terms, pairs and the network's first layer, is computed once a user;
        what is the items' alone once a table of items, also over calls with the same items.

        Parameters
        ----------
        users : table (n_users, ...)
            Columns of the encoder that are the users' own, or of the moment: one row for each ranking.
        items : table (n_items, ...), or what `prepare_items` gave
            All other columns of the encoder.
        n : int, default 10
            Items for each user; no more than there are.
        exclude : table, matrix (n_users, n_items) or list, optional
            What not to recommend. A table of pairs, the clicks so far, say: a pair is left out where all columns
            that it shares with `users` and with `items` are equal to theirs. Or a sparse or dense matrix, not 0
            where an item is left out for a user. Or for each user a list of rows of items.

        Returns
        -------
        Recommendations
            `ids` and `scores`, (n_users, n) both, into which it unpacks; `to_table()` makes a table of them.
            Scores are those of the whole rows by `predict_proba` or `predict`; ties go to the item that stands
            first.

        Raises
        ------
        InputError
            A column is in both tables or in none, or holds what it must not.
        """
        catalogs = self._catalogs("recommend")
        ids, raw, table = recommending.recommend(catalogs, users, items, n, exclude, self._ranking_threads)
        answers = (self._model.center + self._shift()) + self._model.scale * raw
        return Recommendations(ids, self._answers_of_raw(answers), table)

    def _catalogs(self, what: str) -> Catalogs:
        check_is_fitted(self)
        self._check_jobs()
        if not hasattr(self, "encoder_"):
            raise validation.no_encoder_error(what)
        found: Catalogs | None = self.__dict__.get("_items")
        if found is None:
            found = self._items = Catalogs(self._model, self.encoder_.encoding_)
        return found

    def _ranking_threads(self, n_items: int) -> int:
        work = 50.0 + self._model.n_factors + (0.0 if self._model.deep is None else self._model.deep.work_per_row)
        return thread_count(self.n_jobs, n_items * work, _SCORING_WORTH)

    def _answers_of_raw(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """What scores are told as."""
        raise NotImplementedError

    @property
    def coef_(self) -> NDArray[np.float32]:
        """Linear weights (n_features,), in the units of X and of the answer."""
        check_is_fitted(self)
        return self._model.coef()

    @property
    def factors_(self) -> NDArray[np.float32]:
        """Factors (n_features, n_factors), likewise."""
        check_is_fitted(self)
        # Without factors the table has no rows.
        return self._model.factors().reshape(self._model.n_features, self._model.n_factors)

    @property
    def intercept_(self) -> float:
        """The raw answer to an empty row."""
        check_is_fitted(self)
        return self._model.intercept() + self._shift()

    def save(
        self,
        path: str | os.PathLike[str],
        include_optimizer: bool = False,
        dtype: str = "float32",
        prune: float | None = None,
    ) -> None:
        """Write the fitted model to a file that `fastfm_deep.load_model` reads; whole, or not at all.

        Parameters
        ----------
        path : str or path
            A safetensors file, which any reader of that format opens; it replaces an earlier one only once it
            is complete.
        include_optimizer : bool
            Write the states of the optimizer too (about twice the size), so that `partial_fit` goes on
            exactly where it stopped.
        dtype : {"float32", "bfloat16", "int8"}, default "float32"
            The numbers in which factors are stored, for a file, and a `Scorer`, of a half or a quarter of the
            size. "bfloat16" rounds each factor by at most 1/256 of itself, "int8" by at most 1/254 of the largest
            of its feature. Weights and the network are kept in full.
        prune : float, optional
            Leave out the features whose absolute `coef_` and `factors_` are all at most this; they add nothing to
            scores then. 0.0 leaves out those that add nothing anyway, and changes no score.

        Notes
        -----
        What `dtype` and `prune` take away is lost: `load_model` gives float32 numbers again, but the rounded ones.
        docs/scoring.md says how much that is worth; keep a plain file for training. Files with either of them need
        this version of the package or a later one.

        Raises
        ------
        InputError
            The folder does not exist, or `path` is no regular file; `dtype` or `prune` are none of these, or go
            together with `include_optimizer`.
        OSError
            The disk is full; the previous file is whole.
        """
        from fastfm_deep.estimators.saved import save_model

        check_is_fitted(self)
        save_model(self, path, include_optimizer, dtype, prune)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    def __getstate__(self) -> dict[str, Any]:
        """Without what is prepared for scoring in this process."""
        state: dict[str, Any] = dict(super().__getstate__())
        for name in _OF_THIS_PROCESS:
            state.pop(name, None)
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
