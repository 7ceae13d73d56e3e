"""Keys by Python's dicts, and plain passes: the same as the compiled vocabulary and kernels give."""

from __future__ import annotations

import numpy as np
import pytest
from encoder_tools import ABSENT, EXAMPLES, MAYBE_VALUES, SMALL_VALUES, TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import csr_rows

from fastfm_deep import InputError
from fastfm_deep.data.fields import POOLINGS, FieldLayout
from fastfm_deep.data.key_dict import KeyDict
from fastfm_deep.data.keys import NoCategoryError, keys_of
from fastfm_deep.data.passes import passes
from fastfm_deep.data.pooling import pooled_rows
from fastfm_deep.data.python_values import read_objects
from fastfm_deep.data.rows import as_csr_rows
from fastfm_deep.data.values import Categories, Lists
from fastfm_deep.data.vocabulary import Vocabulary

COMPILED, PLAIN = passes(), passes(plain=True)
VALUE_LISTS = st.one_of(
    st.lists(MAYBE_VALUES, max_size=12),
    st.lists(SMALL_VALUES, max_size=12),
    st.lists(st.one_of(TEXTS, ABSENT), max_size=12),
    st.lists(st.integers(-3, 3), max_size=12),
    st.lists(st.floats(-2, 2).map(lambda x: round(2 * x) / 2), max_size=12),
)


def values_of(objects):
    """The form that a column takes; None where it holds lists."""
    values = read_objects(objects, "c")
    return None if isinstance(values, Lists) else values


def found_or_refused(action):
    try:
        return action().tolist()
    except InputError as error:
        return str(error)


@given(VALUE_LISTS, VALUE_LISTS)
@settings(max_examples=6 * EXAMPLES, deadline=None)
def test_it_finds_what_the_vocabulary_finds(first, more):
    vocabulary = Vocabulary()
    vocabulary.add(values_of(first), "c")
    found = KeyDict.from_contents(vocabulary.contents(), vocabulary.first_kinds)
    assert (found.n, found.first_kinds) == (vocabulary.n, vocabulary.first_kinds)
    np.testing.assert_array_equal(found.counts, vocabulary.counts)
    assert found.code_of_missing() == vocabulary.code_of_missing()
    # NaN never equals itself.
    assert list(map(repr, found.values())) == list(map(repr, vocabulary.values()))
    for objects in (first, more, first + more):
        values = values_of(objects)
        codes = found_or_refused(lambda values=values: vocabulary.find(values, "c"))
        assert found_or_refused(lambda values=values: found.find(values, "c")) == codes
        for value in objects:
            assert found.code_of(value) == vocabulary.code_of(value)


def test_categories_are_found_by_their_codes():
    vocabulary = Vocabulary()
    vocabulary.add(values_of(["a", None, "b"]), "c")
    found = KeyDict.from_contents(vocabulary.contents(), vocabulary.first_kinds)
    given = Categories(np.array([1, -1, 0, 2, 1], np.int8), values_of(["b", "a", "new"]))
    assert found.find(given, "c").tolist() == vocabulary.find(given, "c").tolist() == [0, 1, 2, -1, 0]


def test_what_is_no_category_is_refused():
    with pytest.raises(NoCategoryError):
        KeyDict().code_of({1})
    assert KeyDict().code_of("a") == -1
    assert KeyDict().find(values_of(["a", None, "b"]), "c").tolist() == [-1, -1, -1]


def test_a_key_that_comes_twice_has_its_first_code():
    vocabulary = Vocabulary()
    vocabulary.add(values_of(["a", "b", "c"]), "c")
    contents = vocabulary.contents()
    contents.data[:] = np.frombuffer(b"aba", np.uint8)
    found = KeyDict.from_contents(contents, vocabulary.first_kinds)
    assert found.find(values_of(["a", "b", "c"]), "c").tolist() == [0, 1, -1]


# --------------------------------------------------------------------------------------------------------- passes


@given(VALUE_LISTS.filter(bool), st.sampled_from([1, 2, 7, 1 << 20, 3**19]))
@settings(max_examples=4 * EXAMPLES, deadline=None)
def test_hashes(objects, n_buckets):
    keys = keys_of(values_of(objects), "c")
    got, expected = (np.empty(len(keys.kinds), np.int64) for _ in range(2))
    PLAIN.hash_keys(keys, n_buckets, got)
    COMPILED.hash_keys(keys, n_buckets, expected)
    assert got.tolist() == expected.tolist()


@st.composite
def bags(draw):
    """Offsets, ids and weights of bags."""
    lengths = draw(st.lists(st.integers(0, 5), max_size=6))
    n = sum(lengths)
    ids = draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n))
    weights = draw(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=n, max_size=n))
    return np.cumsum([0, *lengths]), np.array(ids, np.int32), np.array(weights, np.float32)


@given(bags(), st.booleans(), st.integers(0, 4))
@settings(max_examples=4 * EXAMPLES, deadline=None)
def test_bags(case, largest, most):
    offsets, ids, weights = case
    results = []
    for found in (PLAIN, COMPILED):
        own_ids, own, place = ids.copy(), weights.copy(), np.empty(5, np.int64)
        out, kept = np.empty(len(offsets), np.int64), np.empty(len(ids), np.bool_)
        n = found.close_bags(offsets, own_ids, own, largest, place, out)
        found.first_entries(offsets, most, kept)
        results.append((n, own_ids[:n].tolist(), own[:n].tolist(), out.tolist(), kept.tolist()))
    assert results[0] == results[1]


@given(st.lists(st.text("ab|ż", max_size=8), max_size=6), st.sampled_from(["|", "||", "ż", "ab"]))
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_pieces(texts, separator):
    encoded = [text.encode() for text in texts]
    data = np.frombuffer(b"".join(encoded), np.uint8)
    offsets, between = np.cumsum([0, *map(len, encoded)]), np.frombuffer(separator.encode(), np.uint8)
    results = []
    for found in (PLAIN, COMPILED):
        row_offsets = np.empty(len(texts) + 1, np.int64)
        n_bytes = found.count_pieces(data, offsets, between, row_offsets)
        out, out_offsets = np.empty(n_bytes, np.uint8), np.empty(int(row_offsets[-1]) + 1, np.int64)
        found.split_pieces(data, offsets, between, out, out_offsets)
        results.append((row_offsets.tolist(), out.tobytes(), out_offsets.tolist()))
    assert results[0] == results[1]


def gated(X, plain, n_features=None):
    """Rows, or the text of the refusal."""
    try:
        return [part.tolist() for part in as_csr_rows(X, n_features=n_features, plain=plain)]
    except InputError as error:
        return type(error), str(error)


@given(csr_rows(), st.sampled_from(["csr", "csc", "coo", "dense"]))
@settings(max_examples=4 * EXAMPLES, deadline=None)
def test_the_gate(X, kind):
    matrix = X.toarray() if kind == "dense" else X if kind == "csr" else X.asformat(kind)
    assert gated(matrix, True) == gated(matrix, False)


@given(csr_rows(min_rows=2), st.data())
@settings(max_examples=4 * EXAMPLES, deadline=None)
def test_the_gate_refuses_alike(X, data):
    what = data.draw(st.sampled_from(["pointer", "index", "value", "negative", "both"]))
    if what in ("pointer", "both"):
        X.indptr[data.draw(st.integers(0, X.shape[0]))] = data.draw(st.integers(-3, 2 * len(X.data) + 3))
    if len(X.indices) and what in ("index", "negative", "both"):
        X.indices[data.draw(st.integers(0, len(X.indices) - 1))] = -1 if what == "negative" else X.shape[1]
    if len(X.data) and what == "value" and X.data.dtype.kind == "f":
        X.data[data.draw(st.integers(0, len(X.data) - 1))] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    assert gated(X, True) == gated(X, False)


@given(csr_rows(repeated=False, n_features=8), st.data())
@settings(max_examples=4 * EXAMPLES, deadline=None)
def test_pooling(X, data):
    fields = data.draw(st.lists(st.integers(-1, 2), min_size=8, max_size=8).filter(lambda given: max(given) >= 0))
    pooling = [data.draw(st.sampled_from(POOLINGS)) for _ in range(max(fields) + 1)]
    layout, rows = FieldLayout.from_columns(fields, pooling), as_csr_rows(X)
    got, expected = pooled_rows(rows, layout, plain=True), pooled_rows(rows, layout)
    assert got.values.tobytes() == expected.values.tobytes()
