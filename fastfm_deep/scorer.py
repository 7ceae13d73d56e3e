"""The scorer: a model file that answers, from any thread of a process that lives for long.

It loads neither what trains models nor scikit-learn, and with `backend="numpy"` no compiled code.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.model.candidates import Candidates, context_row, prepare, rank
from fastfm_deep.model.loaded import LoadedModel
from fastfm_deep.model.shards import thread_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.id_map import IdMap

BACKENDS = ("numba", "numpy")

_ONES = np.ones(4096, np.float32)
_ONES.flags.writeable = False
_DOUBLE = np.dtype(np.float64)
_NAN = float("nan")


class Ranked(NamedTuple):
    """The best candidates, the best first.

    Attributes
    ----------
    ids : int64 array (n,)
        Rows of the candidates.
    scores : float64 array (n,)
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float64]


class Scorer:
    """A trained model that scores rows; made by `Scorer.load`.

    Any number of threads may ask it at once. No call takes a lock or changes anything, and rows in bulk are scored
    without the GIL; a single row is over before it could be handed on. What it answers is, to the rounding of
    float32, what the saved estimator does: the probability of the second class by a classifier, the prediction
    of a regressor, or with `raw=True` the score before link function and clipping (`decision_function`).

    Attributes
    ----------
    path : str
    backend : "numba" or "numpy"
    n_features, n_factors : int
    dtype : str
        How factors are stored: "float32", "bfloat16" or "int8".
    classes : array (2,), or None for a regressor
    columns : list of str
        The columns of a model that was fitted to a table, else none.
    id_map : IdMap, or None
        Of a model of text: `id_map.columns(ids)` are the features of ids as they stand in the text.

    Examples
    --------
    >>> from fastfm_deep import Scorer
    >>> scorer = Scorer.load("clicks.safetensors").warm_up()  # doctest: +SKIP
    >>> scorer.score_row([3, 17, 99])  # doctest: +SKIP
    0.0312
    """

    def __init__(self, path: str, mmap: bool, backend: str, n_jobs: int | None) -> None:
        self.backend = backend
        self._mmap = mmap
        self._n_jobs = n_jobs
        self._take(LoadedModel(path, mmap, backend == "numpy"))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        mmap: bool = True,
        backend: str = "numba",
        n_jobs: int | None = None,
    ) -> Scorer:
        """Load a model that `save` wrote.

        Parameters
        ----------
        path : str or path
        mmap : bool, default True
            Map the tables instead of reading them, so that processes share their memory; on systems other than
            Linux they are read. Tables whose n_factors is no multiple of 8, nor 4, are copied, as compiled code
            reads whole vectors.
        backend : {"numba", "numpy"}
            "numpy" scores with NumPy alone: it starts in a fraction of the time, and is slower.
        n_jobs : int, optional
            Threads for `score`, `score_into` and `rank`; None: as many as the work is worth, -1: all cores. Small
            batches are scored in the caller's thread whatever it says.

        Raises
        ------
        ModelFileError
            The file is damaged, cut off, of a newer version, or no model at all.
        FileNotFoundError
            There is no such file; also an InputError.
        """
        validation.check_choice("backend", backend, BACKENDS)
        if n_jobs is not None:
            validation.check_jobs(n_jobs)
        return cls(os.path.abspath(os.fsdecode(path)), validation.check_flag("mmap", mmap), backend, n_jobs)

    def _take(self, loaded: LoadedModel) -> None:
        """Answer by this model from now on: by one assignment, so that no call sees parts of two."""
        self._loaded = loaded

    @property
    def path(self) -> str:
        """The file that answers, as an absolute path."""
        return self._loaded.path

    @property
    def n_features(self) -> int:
        """Width of the rows it takes."""
        return self._loaded.n_features

    @property
    def n_factors(self) -> int:
        """Factors of a feature."""
        return self._loaded.stored.n_factors

    @property
    def dtype(self) -> str:
        """How factors are stored."""
        return self._loaded.stored.storage

    @property
    def classes(self) -> NDArray[Any] | None:
        """The two labels of a classifier; scores are probabilities of the second."""
        return self._loaded.stored.classes

    @property
    def columns(self) -> list[str]:
        """Names of the columns that a table must have."""
        return self._loaded.columns

    @property
    def id_map(self) -> IdMap | None:
        """How ids of text become features."""
        return self._loaded.stored.id_map

    def warm_up(self) -> Scorer:
        """Load or compile what scoring needs, so that no later call waits for it; returns itself.

        That is rows of the usual types, single (int32 and int64), in bulk (CSR of int32) and of tables, and
        rankings. What comes in other ways, CSC say, is compiled at the first call.
        """
        loaded = self._loaded
        engine: Any = loaded.engine
        if not loaded.plain:
            engine.warm_up()
        ones = CsrRows(np.zeros(2, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
        for part in ones:
            part.flags.writeable = False
        loaded.pooled(ones)
        engine.answers(ones, False, 1)
        if not engine.can_join:  # then whole rows are ranked
            engine.raw_of(ones, 1)
        if loaded.encoding is not None:
            row = dict.fromkeys(name for column in loaded.encoding.learned for name in column.names_read())
            with contextlib.suppress(validation.InputError):  # columns that must not miss a value
                loaded.answer_dict(row, False)
                loaded.rows([row])
        loaded.check()
        return self

    def score(self, X: Any, raw: bool = False, n_jobs: int | None = None) -> NDArray[np.float64]:
        """Scores of rows.

        Parameters
        ----------
        X : matrix (n_rows, n_features), table, dict, or list of dicts
            What the estimator takes. For a model that was fitted to a table any such table, where a dict of single
            values is one row, or sparse rows of its encoder. Else any matrix, or dicts {feature: value}, by number
            or by name where the model knows names. CSR whose values are float32 or float64 is read in place.
        raw : bool
            Scores before link function and clipping.
        n_jobs : int, optional
            In place of the scorer's own.

        Returns
        -------
        float64 array (n_rows,); empty where X has no rows

        Raises
        ------
        InputError
            X is not such as the model takes; the message names row and column.
        """
        loaded, raw = self._loaded, _flag(raw)
        rows = loaded.csr_arrays(X)
        if rows is not None:
            out = np.empty(rows.n_rows)
            if self._answered_csr(loaded, rows, out, raw, n_jobs):
                loaded.check()
                return out
        n_threads = self._table_threads(n_jobs)
        found = loaded.engine.answers(loaded.rows(X, n_threads), raw, self._jobs(n_jobs))
        loaded.check()
        return found

    def score_into(self, X: Any, out: NDArray[Any], raw: bool = False, n_jobs: int | None = None) -> None:
        """`score`, into an array that is there already; for CSR nothing as long as X is allocated.

        Parameters
        ----------
        X, raw, n_jobs
            As for `score`.
        out : float64 or float32 array (n_rows,)
            After an error some of it may have been written to.

        Raises
        ------
        InputError
            As `score`; or `out` is no such array.
        """
        loaded, raw = self._loaded, _flag(raw)
        rows = loaded.csr_arrays(X)
        if rows is not None:
            _check_out(out, rows.n_rows)
            if self._answered_csr(loaded, rows, out, raw, n_jobs):
                loaded.check()
                return
        else:
            _check_out(out, None)
        found = loaded.rows(X, self._table_threads(n_jobs))
        _check_out(out, found.n_rows)
        out[...] = loaded.engine.answers(found, raw, self._jobs(n_jobs))
        loaded.check()

    def _answered_csr(
        self, loaded: LoadedModel, rows: CsrRows, out: NDArray[Any], raw: bool, n_jobs: int | None
    ) -> bool:
        """Whether the rows of a matrix have been answered without looking at them before."""
        answer = getattr(loaded.engine, "answer_csr", None)
        return answer is not None and answer(rows, out, raw, self._jobs(n_jobs))

    def score_row(self, indices: Any, values: Any = None, raw: bool = False) -> float:
        """The score of one row, in microseconds; lists and arrays of other types take ten times as long.

        Parameters
        ----------
        indices : int32 or int64 array (n,), or list
            Features, in any order; those that are named twice are added up.
        values : float32 or float64 array (n,), or list, optional
            By default 1 for each.
        raw : bool
            As for `score`.

        Raises
        ------
        InputError
            A feature is none of the model's, a value no finite number, or there are more of one than of the other.
        """
        loaded, raw = self._loaded, raw if raw is False else _flag(raw)
        scorer = loaded.row_scorers[raw]
        try:
            if values is None:
                numbers = _ONES[: len(indices)]
            else:
                numbers = _as_float32(values) if values.dtype is _DOUBLE else values
            found = scorer.answer(indices, numbers)
        except (AttributeError, TypeError, ValueError):  # lists, or indices of a type that has not come before
            found = _NAN
            if type(indices) is np.ndarray:
                scorer.take_type(indices.dtype)
        if found == found and loaded.asks_itself:
            return found
        if found != found:
            found = loaded.answer_arrays(indices, values, raw)
        loaded.check()
        return found

    def score_dict(self, row: Mapping[Any, Any], raw: bool = False) -> float:
        """The score of one row, a dict from columns to values; see `score`.

        Raises
        ------
        InputError
            A column is missing, or holds what it must not.
        """
        loaded = self._loaded
        found = loaded.answer_dict(row, _flag(raw))
        loaded.check()
        return found

    def prepare(self, candidates: Any, n_jobs: int | None = None) -> Candidates:
        """Encode and add up candidates once, for many calls of `rank`; they serve until `reload`."""
        found = prepare(self._loaded, candidates, self._jobs(n_jobs), self._table_threads(n_jobs))
        found.loaded.check()
        return found

    def rank(
        self, context: Any, candidates: Any, n: int = 10, raw: bool = False, n_jobs: int | None = None
    ) -> Ranked:
        """The best candidates for a context: items for a user, say.

        What is the context's alone is computed once.

        Parameters
        ----------
        context : dict, or table or matrix of one row
            The columns that all rows have in common, or for a model that was fitted to a matrix the entries.
        candidates : table, list of dicts, or matrix (n_candidates, n_features); or what `prepare` gave
            All other columns, or what is added to the context's entries.
        n : int, default 10
            How many of them, at most.
        raw, n_jobs
            As for `score`.

        Returns
        -------
        Ranked
            `ids`, rows of the candidates, and `scores`, those of the whole rows by `score`; unpacks into both.
            In the order of raw scores; of equal ones the one that stands first comes first.

        Raises
        ------
        InputError
            A column is in both or in none, or holds what it must not.
        """
        validation.check_integer("n", n, minimum=1)
        loaded, raw = self._loaded, _flag(raw)
        if isinstance(candidates, Candidates):
            if candidates.loaded is not loaded:
                raise validation.foreign_candidates_error()
            given = candidates
        else:
            given = prepare(loaded, candidates, self._jobs(n_jobs), self._table_threads(n_jobs))
        if not len(given):
            return Ranked(np.empty(0, np.int64), np.empty(0))
        best = rank(context_row(loaded, context, given), given, n, self._jobs(n_jobs))
        units = loaded.units[raw]
        found = Ranked(best.places, units.answers(np.array(best.raw)))
        loaded.check()
        return found

    def reload(self, path: str | os.PathLike[str] | None = None) -> Scorer:
        """Take the file as it is now, or another one; returns itself.

        The new model is loaded beside the present one, made ready, and takes its place at once: a call that other
        threads have begun is answered by the one it began with, and after an error the present one stays.

        Parameters
        ----------
        path : str or path, optional
            By default the file that was loaded; write to it as `save` does, which replaces it.
        """
        name = self.path if path is None else os.path.abspath(os.fsdecode(path))
        fresh = Scorer(name, self._mmap, self.backend, self._n_jobs).warm_up()
        self._take(fresh._loaded)
        return self

    def _jobs(self, n_jobs: int | None) -> int | None:
        return self._n_jobs if n_jobs is None else validation.check_jobs(n_jobs)

    def _table_threads(self, n_jobs: int | None) -> int:
        jobs = self._jobs(n_jobs)
        return 1 if jobs is None else thread_count(jobs, 0.0, 1.0)

    def __repr__(self) -> str:
        return f"Scorer({self.path!r}, backend={self.backend!r})"

    def __reduce__(self) -> Any:
        """Another process loads the file itself."""
        return Scorer, (self.path, self._mmap, self.backend, self._n_jobs)


def _flag(raw: Any) -> bool:
    return raw if raw is True or raw is False else validation.check_flag("raw", raw)


def _as_float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is beyond float32 is found later
        return values.astype(np.float32)


def _check_out(out: Any, n_rows: int | None) -> None:
    """See that scores can be written to an array; None: of whatever length."""
    is_fit = type(out) is np.ndarray and out.ndim == 1 and out.dtype in (np.float64, np.float32)
    if not is_fit or not out.flags.writeable or n_rows not in (None, len(out)):
        raise validation.out_array_error(out, n_rows)
