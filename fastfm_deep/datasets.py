"""Made data: click logs whose labels come from a planted model, so that the reachable loss is known.

A *field* is a block of one-hot columns, such as "site" or "age class"; each row has one id of each field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse

from fastfm_deep import validation

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows drawn at a time: their scores stay in the cache while the fields pass by. Part of what a seed means.
_CHUNK = 32_768
# Variance of the raw score, and the share of each order in it, for order=1, 2 and 3. With noise=1 and a
# quarter of the rows positive, the probabilities then have an AUC of about 0.80.
_VARIANCE = 2.6
_SHARES = ((1.0,), (0.5, 0.5), (0.25, 0.25, 0.5))

# An id seen in this share of the rows tells half of what a frequent one does, a rare one almost nothing: what
# hangs on ids seen once or twice no model can learn, and it would only pass for noise.
_HALF_STRENGTH = 5e-3

# By degree: how much fields differ in what they tell, the deviation of its logarithm. A few carry most of it;
# of triples there are thousands, and none could be learned if all were as weak as each other.
_SPREADS = (1.0, 1.0, 2.0)


def make_ctr(
    n_rows: int,
    n_fields: int = 39,
    n_features: int = 1_000_000,
    n_factors: int = 8,
    order: int = 2,
    zipf: float = 1.1,
    positive_rate: float = 0.25,
    noise: float = 1.0,
    random_state: Any = None,
    return_truth: bool = False,
) -> tuple[Any, ...]:
    """Make click-log-like rows with labels drawn from a planted factorization machine.

    The raw score of a row is `b + linear (+ pairs (+ triples))`. Pairs are those of a factorization machine,
    triples have factors of their own. With pairs half of the variance is linear, and half lies where no linear
    model sees it; with triples half lies where no model of pairs does, most of it in a few fields and their
    frequent ids, and a quarter each is linear and in pairs.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_fields : int
        Number of one-hot fields, hence of ones in each row.
    n_features : int
        Number of columns. The sizes of the fields grow geometrically, from a few ids to a large part of all.
    n_factors : int
        Length of the planted factor vectors.
    order : {1, 2, 3}
        Highest interaction that is planted: 1 linear, 2 pairs, 3 pairs and triples.
    zipf : float
        Ids within a field follow Zipf's law with this exponent; 0 draws them uniformly. Frequent ids lie
        anywhere in their field.
    positive_rate : float
        Mean of the probabilities, in 0 .. 1 exclusive.
    noise : float
        Standard deviation of a normal disturbance of the raw score that no column tells of; it lowers what
        the best of models can reach.
    random_state : int, Generator, RandomState or None
        Seed. The same integer makes the same ids again on every machine, and the same labels but for
        rounding in the last digit of a probability.
    return_truth : bool
        Hand out the probabilities too.

    Returns
    -------
    X : scipy.sparse.csr_array (n_rows, n_features)
        float32 ones; int32 column indices, ascending within the row.
    y : int64 array (n_rows,)
        Labels 0 and 1.
    fields : list of int (n_fields,)
        Number of columns of each field, in the order of the columns.
    p : float64 array (n_rows,)
        Only with `return_truth=True`: probability of y = 1 that the label was drawn with, the noise averaged
        over. No model can beat the logloss of p, up to chance.

    Raises
    ------
    InputError
        An argument breaks its rule; the message names it.

    Examples
    --------
    >>> X, y, fields = make_ctr(1000, n_fields=5, n_features=200, random_state=0)
    >>> X.shape, X.nnz, sum(fields)
    ((1000, 200), 5000, 200)
    """
    n_rows = validation.check_integer("n_rows", n_rows, minimum=1)
    n_factors = validation.check_integer("n_factors", n_factors, minimum=1)
    zipf = validation.check_real("zipf", zipf)
    noise = validation.check_real("noise", noise)
    positive_rate = validation.check_real("positive_rate", positive_rate, above=True)
    if positive_rate >= 1:
        raise validation.upper_bound_error("positive_rate", positive_rate, "less than 1")
    order = validation.check_integer("order", order, minimum=1)
    if order > len(_SHARES):
        raise validation.upper_bound_error("order", order, "1 (linear), 2 (pairs) or 3 (triples)")
    rng = _as_generator(random_state)
    fields = _draw_field_sizes(n_fields, n_features, rng)
    truth = _Truth([_make_field(size, zipf, rng) for size in fields], n_factors, order, rng)
    indices, raw = _draw_rows(n_rows, fields, truth, rng)
    p = _probabilities(raw, positive_rate, noise)
    y = (rng.random(n_rows) < p).astype(np.int64)
    indptr = np.arange(0, indices.size + 1, len(fields), dtype=indices.dtype)
    values = np.ones(indices.size, np.float32)
    X = scipy.sparse.csr_array((values, indices.reshape(-1), indptr), shape=(n_rows, sum(fields)))
    X.has_canonical_format = True
    return (X, y, fields, p) if return_truth else (X, y, fields)


def _as_generator(random_state: Any) -> np.random.Generator:
    if isinstance(random_state, np.random.RandomState):
        random_state = random_state.randint(0, 2**31, size=4, dtype=np.int64)
    elif isinstance(random_state, bool):
        raise validation.seed_error(random_state)
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise validation.seed_error(random_state) from error


def _draw_field_sizes(n_fields: Any, n_features: Any, rng: np.random.Generator) -> list[int]:
    """Sizes of at least 1 that add up to n_features: a geometric row from 2 upwards, in random order."""
    n_fields = validation.check_integer("n_fields", n_fields, minimum=1)
    n_features = validation.check_integer("n_features", n_features, minimum=1)
    if n_features < n_fields:
        raise validation.field_room_error(n_features, n_fields)
    if n_features > np.iinfo(np.int32).max:
        raise validation.upper_bound_error("n_features", n_features, "less than 2**31")
    low, high = 0.0, np.log(n_features)
    for _ in range(60):
        middle = (low + high) / 2
        sizes = _geometric_sizes(n_fields, middle)
        low, high = (middle, high) if sizes.sum() <= n_features else (low, middle)
    sizes = _geometric_sizes(n_fields, low)
    if sizes.sum() > n_features:  # not even two ids a field
        sizes = np.ones(n_fields, np.int64)
    share, left = divmod(n_features - int(sizes.sum()), n_fields)  # what rounding down has left over
    sizes += share
    sizes[n_fields - left :] += 1
    return [int(size) for size in rng.permutation(sizes)]


def _geometric_sizes(n_fields: int, log_ratio: float) -> NDArray[np.int64]:
    return (2 * np.exp(np.linspace(0, log_ratio, n_fields))).astype(np.int64)


class _Field(NamedTuple):
    """How often the ids of one field occur, the most frequent first (rank 0)."""

    cumulated: NDArray[np.float64]  # (size,) ends at 1
    frequency: NDArray[np.float64]  # (size,)
    column_of_rank: NDArray[np.int32]  # (size,) counted from the field's first column


def _make_field(size: int, zipf: float, rng: np.random.Generator) -> _Field:
    frequency = np.arange(1, size + 1, dtype=np.float64) ** -zipf
    frequency /= frequency.sum()
    cumulated = np.cumsum(frequency)
    cumulated /= cumulated[-1]
    return _Field(cumulated, frequency, rng.permutation(size).astype(np.int32))


class _Truth:
    """The planted weights, by field and rank.

    Vectors have mean zero over the ids of their field, as often as those occur. The order-n term then is
    uncorrelated with those of lower order: what a pair adds, no linear weight can express.
    """

    def __init__(self, fields: list[_Field], n_factors: int, order: int, rng: np.random.Generator) -> None:
        self.fields = fields
        # One table of vectors per order; the linear weights are vectors of length 1.
        self.tables = [
            _scaled_vectors(fields, 1 if degree == 1 else n_factors, degree, _VARIANCE * share, rng)
            for degree, share in enumerate(_SHARES[order - 1], start=1)
        ]


def _scaled_vectors(
    fields: list[_Field], length: int, degree: int, variance: float, rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    """Vectors (size, length) of each field whose terms of one degree have this variance."""
    strengths = rng.lognormal(0.0, _SPREADS[degree - 1], len(fields))
    vectors, covariances = [], []
    for field, strength in zip(fields, strengths, strict=True):
        table = rng.standard_normal((len(field.frequency), length), dtype=np.float32)
        table *= (strength * _id_strengths(field.frequency, degree))[:, None]
        table -= (field.frequency @ table).astype(np.float32)
        vectors.append(table)
        covariances.append((table.T * field.frequency) @ table)
    # The variance of a sum over all pairs (triples) of fields is the same symmetric polynomial of the
    # covariances, entry by entry, because the fields are independent and the means are zero.
    powers = [np.sum([covariance**n for covariance in covariances], axis=0) for n in (1, 2, 3)]
    found = float(_symmetric_polynomial(powers, degree).sum())
    if found > 0:
        for table in vectors:
            table *= np.float32((variance / found) ** (0.5 / degree))
    return vectors


def _id_strengths(frequency: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    if degree < 3:
        return np.sqrt(frequency / (frequency + _HALF_STRENGTH))
    # Three ids meet as seldom as the product of their frequencies: only of the most frequent often enough.
    return (frequency / (1.0 + frequency)) ** 2


def _symmetric_polynomial(powers: list[Any], degree: int) -> Any:
    """Sum over all sets of `degree` things of their product, from their power sums (Newton)."""
    if degree == 1:
        return powers[0]
    if degree == 2:
        return (powers[0] ** 2 - powers[1]) / 2
    return (powers[0] ** 3 - 3 * powers[0] * powers[1] + 2 * powers[2]) / 6


def _draw_rows(
    n_rows: int, sizes: list[int], truth: _Truth, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Column ids (n_rows, n_fields) and raw scores (n_rows,) without the intercept."""
    # SciPy wants one dtype for indices and row pointers; int32 unless those count beyond it.
    wide = n_rows * len(sizes) > np.iinfo(np.int32).max
    indices = np.empty((n_rows, len(sizes)), np.int64 if wide else np.int32)
    raw = np.zeros(n_rows, np.float32)
    first_columns = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for start in range(0, n_rows, _CHUNK):
        block, scores = indices[start : start + _CHUNK], raw[start : start + _CHUNK]
        ranks = []
        for number, field in enumerate(truth.fields):
            ranks.append(np.searchsorted(field.cumulated, rng.random(len(block)), side="right"))
            block[:, number] = field.column_of_rank[ranks[-1]] + first_columns[number]
        for degree, tables in enumerate(truth.tables, start=1):
            scores += _score_terms(tables, ranks, degree)
    return indices, raw


def _score_terms(
    tables: list[NDArray[np.float32]], ranks: list[NDArray[np.int64]], degree: int
) -> NDArray[np.float32]:
    """Terms of one degree, summed over all sets of fields and the length of the vectors."""
    sums = np.zeros((degree, len(ranks[0]), tables[0].shape[1]), np.float32)
    for table, rank in zip(tables, ranks, strict=True):
        vectors = table.take(rank, axis=0)
        power = vectors
        for n in range(degree):
            sums[n] += power
            power = power * vectors if n + 1 < degree else power
    terms: NDArray[np.float32] = _symmetric_polynomial(list(sums), degree).sum(axis=1)
    return terms


def _probabilities(raw: NDArray[np.float32], positive_rate: float, noise: float) -> NDArray[np.float64]:
    """Probabilities (n_rows,) with the mean asked for: the intercept is found by bisection."""
    counts, edges = np.histogram(raw, bins=2048)
    weights = counts / len(raw)
    middles = (edges[1:] + edges[:-1]) / 2
    span = 100 + float(np.abs(edges).max()) + 10 * noise
    low, high = -span, span
    for _ in range(60):
        intercept = (low + high) / 2
        too_low = weights @ _noisy_sigmoid(middles + intercept, noise) < positive_rate
        low, high = (intercept, high) if too_low else (low, intercept)
    return np.interp(raw, edges, _noisy_sigmoid(edges + intercept, noise))


def _noisy_sigmoid(raw: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Mean of sigmoid(raw + noise * N(0, 1)), by the trapezoid rule over +-6 standard deviations."""
    at = np.linspace(-6, 6, 97) if noise else np.zeros(1)
    weights = np.exp(-0.5 * at * at)
    shifted = raw[:, None] + noise * at
    return (0.5 + 0.5 * np.tanh(0.5 * shifted)) @ (weights / weights.sum())
