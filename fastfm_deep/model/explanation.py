"""What a score is made of: intercept, linear terms, pairs and network, told by groups of features.

A *group* is what is told as one, a field of many features or a single one: with s_a = Σ x_i v_i over group a, the
pairs of two groups add s_a · s_b to the score, and those within one ½ (|s_a|² − Σ |x_i v_i|²).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastfm_deep import validation
from fastfm_deep.model.blas import one_blas_thread
from fastfm_deep.nn.mlp import MLP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastfm_deep.data.rows import CsrRows
    from fastfm_deep.model.deep import DeepPart
    from fastfm_deep.model.params import FMModel

MOST_GROUPS = 4096
"""Groups whose pairs are told: a matrix of them takes 128 MiB."""
OTHER_FEATURES = "other features"

_ROOM = 1 << 20  # numbers of a block in one array, so that several arrays of it take some tens of megabytes
_NAME_WIDTH = 48


class Groups(NamedTuple):
    """The group of each feature.

    Attributes
    ----------
    of_feature : integer array (n_features,)
        -1 for a feature that is told with none: it adds nothing to any score.
    names : tuple of str (n_groups,)
    mixes : bool array (n_groups,)
        Whether one row is known to hold several features of the group.
    """

    of_feature: NDArray[np.integer]
    names: tuple[str, ...]
    mixes: NDArray[np.bool_]


def groups_of(
    field_of_feature: NDArray[np.integer],
    names: Sequence[str],
    mixes: NDArray[np.bool_],
    occurs: NDArray[np.uint8],
) -> Groups:
    """Fields as groups; features in no field are one more, if any of them occurred in training.

    Those that did not have neither weight nor factors.
    """
    rest = (field_of_feature < 0) & (occurs > 0)
    if not rest.any():
        return _checked(Groups(field_of_feature, tuple(names), mixes))
    of_feature = np.where(rest, len(names), field_of_feature)
    return _checked(Groups(of_feature, (*names, OTHER_FEATURES), np.append(mixes, True)))


def _checked(groups: Groups) -> Groups:
    if len(groups.names) > MOST_GROUPS:
        raise validation.many_groups_error("n_fields", len(groups.names), MOST_GROUPS)
    return groups


class RowExplanation(NamedTuple):
    """The parts of the score of one row, which add up to `raw`; `print` it to read it.

    Attributes
    ----------
    intercept : float
    linear : float64 array (n_groups,)
    pairs : float64 array (n_groups, n_groups)
        In the upper triangle; on the diagonal pairs within a group, as of two tags of a bag.
    deep : float
        What the network adds; 0 where there is none.
    raw : float
        The score before the link function, or the prediction before it is clipped.
    names : tuple of str (n_groups,)
    """

    intercept: float
    linear: NDArray[np.float64]
    pairs: NDArray[np.float64]
    deep: float
    raw: float
    names: tuple[str, ...]

    def to_text(self, top: int = 10) -> str:
        """The largest parts, one a line, and their shares of the sum of all absolute values."""
        items = [("intercept", self.intercept), *named_parts(self)]
        return "\n".join([f"raw score {self.raw:.6g}", *_lines(items, top, "+.6g")]) + "\n"

    def __str__(self) -> str:
        return self.to_text()


class ModelExplanation(NamedTuple):
    """How much the parts of a model add to scores: means of absolute values over rows; `print` it to read it.

    Attributes
    ----------
    names : tuple of str (n_groups,)
    linear : float64 array (n_groups,)
    pairs : float64 array (n_groups, n_groups), in the upper triangle
    deep : float
    n_rows : int
    """

    names: tuple[str, ...]
    linear: NDArray[np.float64]
    pairs: NDArray[np.float64]
    deep: float
    n_rows: int

    def to_text(self, top: int = 10) -> str:
        """The largest parts, one a line, and their shares of the sum of all."""
        head = f"mean absolute contributions to the raw score over {self.n_rows:,} rows"
        return "\n".join([head, *_lines(named_parts(self), top, ".6g")]) + "\n"

    def __str__(self) -> str:
        return self.to_text()


def named_parts(found: RowExplanation | ModelExplanation) -> list[tuple[str, float]]:
    """The parts that are not 0: linear terms by group, pairs as "city & user", and the network."""
    names = found.names
    parts = [(names[at], float(found.linear[at])) for at in np.flatnonzero(found.linear)]
    first, second = np.nonzero(found.pairs)
    values = found.pairs[first, second].tolist()
    parts += [
        (f"{names[a]} & {names[b]}", value)
        for a, b, value in zip(first.tolist(), second.tolist(), values, strict=True)
    ]
    return parts + [("network", found.deep)] * (found.deep != 0.0)


def _lines(items: list[tuple[str, float]], top: int, form: str) -> list[str]:
    items = sorted(items, key=lambda item: -abs(item[1]))
    total = sum(abs(value) for _, value in items) or 1.0
    shown, others = items[:top], items[top:]
    rows = [(shortened(name, _NAME_WIDTH), format(value, form), abs(value)) for name, value in shown]
    if others:
        size = sum(abs(value) for _, value in others)
        label = "1 other" if len(others) == 1 else f"{len(others):,} others"
        rows.append((label, format(sum(value for _, value in others), form), size))
    width = max((len(name) for name, _, _ in rows), default=0)
    return [f"  {name:<{width}}{value:>14}{size / total:>8.1%}" for name, value, size in rows]


def shortened(name: str, width: int) -> str:
    """A name that fits on a line, whatever a category is."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in name)
    return plain if len(plain) <= width else plain[: width - 3] + "..."


def explain_entries(
    model: FMModel,
    columns: NDArray[np.integer],
    values: NDArray[np.floating],
    group: NDArray[np.integer],
    names: tuple[str, ...],
    shift: float = 0.0,
) -> RowExplanation:
    """The parts of the score of one row.

    Parameters
    ----------
    model : FMModel
    columns, values : arrays (nnz,)
        Pooled; no column twice, no value 0.
    group : integer array (nnz,)
        Of each of them; -1 for what adds nothing.
    names : tuple of str (n_groups,)
    shift : float
        What is added to each answer of the model.
    """
    if len(names) > MOST_GROUPS:
        raise validation.many_groups_error("non-zeros", len(names), MOST_GROUPS)
    entries = _Entries(np.zeros(len(columns), np.int64), columns, group, values.astype(np.float64))
    network = None if model.deep is None else _Network(model.deep, 1)
    linear, pairs, deep = (part[0] for part in _parts(model, entries, 1, len(names), network))
    pairs = np.triu(pairs)
    intercept = model.intercept() + shift
    raw = intercept + float(linear.sum()) + float(pairs.sum()) + float(deep)
    return RowExplanation(intercept, linear, pairs, float(deep), raw, names)


class MeanSizes:
    """Adds up the absolute parts of rows, block by block.

    Parameters
    ----------
    model : FMModel
    groups : Groups
    """

    def __init__(self, model: FMModel, groups: Groups) -> None:
        n_groups = len(groups.names)
        self._model, self._groups = model, groups
        self._linear, self._pairs = np.zeros(n_groups), np.zeros((n_groups, n_groups))
        self._deep, self._n_rows = 0.0, 0
        width = n_groups * (n_groups + model.n_factors)
        deep = model.deep
        if deep is not None:
            width = max(width, deep.shape.n_inputs, 2 * sum(deep.shape.hidden_units))
        self._block_rows = max(1, _ROOM // max(1, width))
        self._network = None if deep is None else _Network(deep, self._block_rows)

    def add(self, rows: CsrRows) -> None:
        """Take in rows, of any number; pooled, with columns within the width of the model."""
        with one_blas_thread() if self._model.n_factors else contextlib.nullcontext():
            for start, stop in self._blocks(rows.indptr):
                self._add_block(rows, start, stop)

    def _blocks(self, indptr: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """Rows whose groups fit into the room, and their non-zeros as well unless it is one row."""
        n_rows, n_entries = len(indptr) - 1, _ROOM // max(1, self._model.n_factors)
        start = 0
        while start < n_rows:
            fitting = int(np.searchsorted(indptr, indptr[start] + n_entries, side="right")) - 1
            stop = min(n_rows, start + self._block_rows, max(start + 1, fitting))
            yield start, stop
            start = stop

    def _add_block(self, rows: CsrRows, start: int, stop: int) -> None:
        entries = _entries_of(rows, start, stop, self._groups.of_feature)
        # Only groups that are there: of a thousand fields a row may fill ten.
        present = np.zeros(len(self._linear) + 1, bool)
        present[entries.group] = True  # -1 falls on the last one
        groups = np.flatnonzero(present[:-1])
        number = np.append(np.cumsum(present[:-1]) - 1, -1)
        entries = entries._replace(group=number[entries.group])
        linear, pairs, deep = _parts(self._model, entries, stop - start, len(groups), self._network)
        self._linear[groups] += np.abs(linear, out=linear).sum(axis=0)
        self._pairs[np.ix_(groups, groups)] += np.abs(pairs, out=pairs).sum(axis=0)
        self._deep += float(np.abs(deep).sum())
        self._n_rows += stop - start

    def mean(self) -> ModelExplanation:
        """Over all rows so far; of none 0."""
        n_rows = max(1, self._n_rows)
        pairs = np.triu(self._pairs)
        pairs /= n_rows
        return ModelExplanation(
            self._groups.names, self._linear / n_rows, pairs, self._deep / n_rows, self._n_rows
        )


class _Entries(NamedTuple):
    """Non-zeros of a block of rows, each array (nnz,)."""

    row: NDArray[np.int64]
    columns: NDArray[np.integer]
    group: NDArray[np.integer]
    values: NDArray[np.float64]


def _entries_of(rows: CsrRows, start: int, stop: int, of_feature: NDArray[np.integer]) -> _Entries:
    indptr = rows.indptr[start : stop + 1]
    values = rows.values[indptr[0] : indptr[-1]].astype(np.float64)
    kept = values != 0.0
    columns = rows.indices[indptr[0] : indptr[-1]][kept]
    row = np.repeat(np.arange(stop - start), np.diff(indptr))[kept]
    return _Entries(row, columns, of_feature[columns], values[kept])


def _parts(
    model: FMModel, entries: _Entries, n_rows: int, n_groups: int, network: _Network | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Linear terms (n_rows, n_groups), pairs (n_rows, n_groups, n_groups) and network (n_rows,) in float64.

    In the units of the answers; the pairs of two groups stand in both triangles.
    """
    params, k, scale = model.params, model.n_factors, model.scale
    columns, values = entries.columns, entries.values
    if len(params.inverse_scale):
        values = values * params.inverse_scale[columns]
    known = np.flatnonzero(entries.group >= 0)
    place = entries.row[known] * n_groups + entries.group[known]
    terms = params.linear[columns, 0] * values
    linear = scale * _counted(place, terms[known], n_rows, n_groups)
    if not k:
        return linear, np.zeros((n_rows, n_groups, n_groups)), np.zeros(n_rows)
    products = params.factors[columns, :k] * values[:, None]
    sums = _reduced(np.add, products[known], place, n_rows * n_groups).reshape(n_rows, n_groups, k)
    pairs = sums @ sums.transpose(0, 2, 1)
    squares = np.einsum("ij,ij->i", products[known], products[known])
    within = 0.5 * (np.einsum("rgg->rg", pairs) - _counted(place, squares, n_rows, n_groups))
    # One value alone forms no pair: without this, rounding would leave something.
    within[_counted(place, None, n_rows, n_groups) < 2] = 0.0
    np.einsum("rgg->rg", pairs)[...] = within
    pairs *= scale
    deep = np.zeros(n_rows) if network is None else scale * network.answers(entries, products, n_rows)
    return linear, pairs, deep


def _counted(
    place: NDArray[np.int64], weights: NDArray[np.float64] | None, n_rows: int, n_groups: int
) -> NDArray[Any]:
    return np.bincount(place, weights, n_rows * n_groups).reshape(n_rows, n_groups)


def _reduced(
    reduce: np.ufunc, vectors: NDArray[np.float64], place: NDArray[np.int64], n_places: int
) -> NDArray[np.float64]:
    """Vectors that share a place brought together, (n_places, k); 0 where there are none."""
    out = np.zeros((n_places, vectors.shape[1]))
    if len(place):
        order = np.argsort(place, kind="stable")
        place = place[order]
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        out[place[starts]] = reduce.reduceat(vectors[order], starts, axis=0)
    return out


class _Network:
    """A network in float64, and room for blocks of rows.

    It is what `model.deep.exact_deep_score` computes for one row.
    """

    def __init__(self, deep: DeepPart, n_rows: int) -> None:
        self._layout = deep.layout
        network = MLP(deep.shape, deep.parameters.astype(np.float64), deep.running.astype(np.float64))
        self._workspace = network.workspace(n_rows)

    def answers(self, entries: _Entries, products: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
        """What it says to rows, whose x_i v_i are `products` (nnz, k)."""
        out, _ = self._workspace.forward(self._vectors(entries, products, n_rows), training=False)
        return out[:n_rows]

    def _vectors(self, entries: _Entries, products: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
        layout = self._layout
        if layout is None:
            sums = _reduced(np.add, products, entries.row, n_rows)
            squares = _reduced(np.add, products**2, entries.row, n_rows)
            return np.hstack([sums, 0.5 * (sums**2 - squares)])
        field = layout.field_of_column[entries.columns]
        vectors = np.zeros((n_rows * layout.n_fields, products.shape[1]))
        maxed = layout.fields_with("max")
        for reduce, chosen in ((np.add, ~maxed), (np.maximum, maxed)):
            at = np.flatnonzero((field >= 0) & chosen[field])
            place = entries.row[at] * layout.n_fields + field[at]
            # No place gets both.
            vectors += _reduced(reduce, products[at], place, len(vectors))
        return vectors.reshape(n_rows, -1)
