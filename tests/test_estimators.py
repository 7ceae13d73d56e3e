"""scikit-learn's own checks, on every estimator."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from fastfm_deep import FMClassifier, FMRegressor

ESTIMATORS = [FMClassifier(), FMRegressor()]

# scikit-learn's own SGD estimators list the same two.
_TWO_UPDATES = "a row of weight 2 is one update, a row given twice is two"
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": _TWO_UPDATES,
    "check_sample_weight_equivalence_on_sparse_data": _TWO_UPDATES,
}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_no_other_check_fails_and_these_do(estimator):
    """A check that begins to pass must leave the list."""
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 40
    failed = {result["check_name"] for result in results if result["status"] == "failed"}
    assert failed == set(EXPECTED_FAILURES)
    for result in results:
        if result["status"] == "failed":  # unequal numbers, not a crash of another kind
            assert "not equivalent to fitting with removed or repeated data points" in str(result["exception"])
