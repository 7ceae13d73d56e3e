"""Made click data: the shape of the rows, the law of the ids, and what the labels can teach."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from fastfm_deep import FMClassifier
from fastfm_deep.datasets import _score_terms, make_ctr
from fastfm_deep.validation import InputError


@pytest.fixture(scope="module")
def made():
    return make_ctr(60_000, n_fields=12, n_features=3000, random_state=0, return_truth=True)


def test_every_row_has_one_id_of_each_field_in_ascending_order(made):
    X, y, fields, _ = made
    assert X.shape == (60_000, 3000)
    assert (X.format, X.dtype, X.indices.dtype, y.dtype) == ("csr", np.float32, np.int32, np.int64)
    assert np.all(X.data == 1)
    assert np.array_equal(X.indptr, np.arange(60_001) * 12)
    assert len(fields) == 12
    assert all(type(size) is int for size in fields)
    assert sum(fields) == 3000
    ends = np.cumsum(fields)
    ids = X.indices.reshape(-1, 12)
    assert np.all(ids < ends)
    assert np.all(ids >= ends - fields)
    assert set(np.unique(y)) == {0, 1}


def test_field_sizes_run_from_a_few_ids_to_a_large_part_of_all():
    fields = sorted(make_ctr(1, random_state=0)[2])
    assert len(fields) == 39
    assert sum(fields) == 1_000_000
    assert fields[0] <= 4
    assert fields[-1] >= 200_000


@pytest.mark.parametrize(
    ("n_fields", "n_features"), [(1, 1), (1, 7), (5, 5), (5, 9), (5, 10), (5, 13), (3, 10_001)]
)
def test_field_sizes_add_up_whatever_the_numbers(n_fields, n_features):
    X, _, fields = make_ctr(20, n_fields, n_features, random_state=3)
    assert len(fields) == n_fields
    assert min(fields) >= 1
    assert sum(fields) == n_features == X.shape[1]
    assert X.nnz == 20 * n_fields


@pytest.mark.parametrize("positive_rate", [0.03, 0.25, 0.9])
def test_the_positive_rate_is_what_was_asked_for(positive_rate):
    _, y, _, p = make_ctr(20_000, 8, 500, positive_rate=positive_rate, random_state=1, return_truth=True)
    assert p.mean() == pytest.approx(positive_rate, abs=1e-4)
    assert y.mean() == pytest.approx(positive_rate, abs=0.01)


def test_labels_follow_the_probabilities(made):
    _, y, _, p = made
    for part in np.array_split(np.argsort(p), 10):
        assert y[part].mean() == pytest.approx(p[part].mean(), abs=0.025)


def test_one_seed_makes_the_same_data_and_another_makes_other():
    first, again, other = (make_ctr(500, 6, 100, random_state=seed, return_truth=True) for seed in (5, 5, 6))
    assert np.array_equal(first[0].indices, again[0].indices)
    assert np.array_equal(first[1], again[1])
    assert first[2] == again[2]
    assert np.array_equal(first[3], again[3])
    assert not np.array_equal(first[0].indices, other[0].indices)


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_generators_are_taken_and_go_on(make):
    rng = make(7)
    first, second = (make_ctr(200, 6, 100, random_state=rng)[0].indices for _ in range(2))
    expected = make_ctr(200, 6, 100, random_state=make(7))[0].indices
    assert np.array_equal(first, expected)
    assert not np.array_equal(second, expected)


def test_no_seed_makes_new_data_each_time():
    first, second = (make_ctr(200, 6, 100)[0].indices for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("zipf", [0.0, 1.1, 2.0])
def test_ids_follow_the_law_of_zipf_and_frequent_ones_lie_anywhere(zipf):
    X, _, (size,) = make_ctr(100_000, 1, 400, zipf=zipf, random_state=2)
    counts = np.bincount(X.indices, minlength=size)
    law = np.arange(1, size + 1) ** -zipf
    got = np.sort(counts)[::-1][:10].sum() / len(X.indices)
    # Of equal chances the ten luckiest are a little above their share.
    assert got == pytest.approx(law[:10].sum() / law.sum(), abs=0.01)
    if zipf:
        assert list(np.argsort(-counts)[:5]) != [0, 1, 2, 3, 4]
        assert counts[np.argsort(-counts)[0]] == pytest.approx(1e5 / law.sum(), rel=0.02)


def test_the_truth_is_far_above_the_best_linear_model(made):
    X, y, _, p = made
    linear = LogisticRegression(C=0.1, max_iter=300).fit(X[:40_000], y[:40_000])
    q = linear.predict_proba(X[40_000:])[:, 1]
    truth_auc, linear_auc = (roc_auc_score(y[40_000:], scores) for scores in (p[40_000:], q))
    assert truth_auc == pytest.approx(0.80, abs=0.02)
    assert truth_auc - linear_auc > 0.06
    assert log_loss(y[40_000:], q) - log_loss(y[40_000:], p[40_000:]) > 0.03


def test_order_one_can_be_learned_by_a_linear_model():
    X, y, _, p = make_ctr(60_000, 12, 600, order=1, random_state=0, return_truth=True)
    linear = LogisticRegression(C=1.0, max_iter=300).fit(X[:40_000], y[:40_000])
    q = linear.predict_proba(X[40_000:])[:, 1]
    assert roc_auc_score(y[40_000:], p[40_000:]) - roc_auc_score(y[40_000:], q) < 0.01


def test_noise_lowers_what_can_be_reached():
    losses = []
    for noise in (0.0, 1.0, 3.0, 50.0):
        _, y, _, p = make_ctr(30_000, 10, 500, noise=noise, random_state=4, return_truth=True)
        losses.append(log_loss(y, p))
    assert losses == sorted(losses)
    assert losses[-1] == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75), abs=0.01)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_planted_terms_are_sums_over_all_sets_of_fields(degree):
    rng = np.random.default_rng(0)
    tables = [rng.normal(size=(size, 3)).astype(np.float32) for size in (2, 5, 9, 4)]
    ranks = [rng.integers(len(table), size=6) for table in tables]
    got = _score_terms(tables, ranks, degree)
    vectors = [table[rank].astype(np.float64) for table, rank in zip(tables, ranks, strict=True)]
    expected = sum(np.prod(group, axis=0).sum(axis=1) for group in combinations(vectors, degree))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def losses_of(order: int) -> tuple[float, float, float]:
    """Logloss on rows not seen of a linear model, a factorization machine and the truth."""
    X, y, _, p = make_ctr(60_000, 8, 80, order=order, random_state=0, return_truth=True)
    found = []
    for n_factors in (0, 8):
        model = FMClassifier(n_factors, n_epochs=10, random_state=0).fit(X[:40_000], y[:40_000])
        found.append(log_loss(y[40_000:], model.predict_proba(X[40_000:])[:, 1]))
    return found[0], found[1], log_loss(y[40_000:], p[40_000:])


def test_a_factorization_machine_beats_a_linear_model_and_comes_near_the_truth():
    linear, machine, truth = losses_of(order=2)
    assert linear - machine > 0.04
    assert 0 < machine - truth < 0.02


def test_triples_are_more_than_pairs_can_tell():
    linear, machine, truth = losses_of(order=3)
    assert linear - machine > 0.02
    assert machine - truth > 0.025


def test_a_million_rows_take_seconds():
    """A quarter of them here, which takes about a second."""
    started = time.process_time()
    X = make_ctr(250_000, random_state=0)[0]
    assert X.shape == (250_000, 1_000_000)
    assert time.process_time() - started < 8


def test_fields_of_one_id_leave_nothing_to_tell_rows_apart():
    X, _, fields, p = make_ctr(50, 4, 4, random_state=0, return_truth=True)
    assert fields == [1, 1, 1, 1]
    assert np.all(X.toarray() == 1)
    assert p == pytest.approx(np.full(50, 0.25), abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_rows": 0}, "n_rows=0 must be at least 1."),
        ({"n_rows": 2.5}, "n_rows=2.5 must be an integer of at least 1."),
        ({"n_fields": 0}, "n_fields=0 must be at least 1."),
        (
            {"n_fields": 9, "n_features": 8},
            "n_features=8 must be at least n_fields=9, one feature a field; raise n_features or lower",
        ),
        ({"n_features": 2**31}, "n_features=2147483648 must be less than 2**31."),
        ({"n_factors": 0}, "n_factors=0 must be at least 1."),
        ({"order": 0}, "order=0 must be at least 1."),
        ({"order": 4}, "order=4 must be 1 (linear), 2 (pairs) or 3 (triples)."),
        ({"zipf": -0.1}, "zipf=-0.1 must be at least 0."),
        ({"zipf": float("nan")}, "zipf=nan must be a finite number at least 0."),
        ({"noise": -1}, "noise=-1 must be at least 0."),
        ({"positive_rate": 0}, "positive_rate=0 must be greater than 0."),
        ({"positive_rate": 1}, "positive_rate=1.0 must be less than 1."),
        ({"random_state": -1}, "random_state=-1 must be None, an integer of at least 0, a numpy.random."),
        ({"random_state": 0.5}, "random_state=0.5 must be None, an integer"),
        ({"random_state": True}, "random_state=True must be None, an integer"),
        ({"random_state": "a"}, "random_state='a' must be None, an integer"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(InputError) as caught:
        make_ctr(**({"n_rows": 10, "n_fields": 3, "n_features": 30} | arguments))
    assert str(caught.value).startswith(message)
