"""Vocabularies: codes in order of first appearance, counts, growth, and what is read as a number or as text."""

from __future__ import annotations

import pickle
import threading
import uuid

import joblib
import numpy as np
import pytest
from encoder_tools import EXAMPLES, MAYBE_VALUES, SMALL_VALUES
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_encoder import ReferenceCategories, is_missing, name_of

from fastfm_deep import InputError, SparseFeat, TableTooLargeError
from fastfm_deep.data import vocabulary
from fastfm_deep.data.python_values import read_objects
from fastfm_deep.data.stored_vocabulary import check_contents
from fastfm_deep.data.values import BOOL, INT, TEXT, Categories, Numbers, Objects, Texts
from fastfm_deep.data.vocabulary import Contents, Vocabulary


def form_of(values):
    return read_objects(values, "c")


def vocabulary_of(*chunks):
    found = Vocabulary()
    for chunk in chunks:
        found.add(form_of(chunk), "c")
    return found


@given(st.lists(st.lists(st.one_of(SMALL_VALUES, MAYBE_VALUES), max_size=8), min_size=1, max_size=4))
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_codes_and_counts_are_those_of_a_dict(chunks):
    reference, got = ReferenceCategories(SparseFeat("c")), Vocabulary()
    for chunk in chunks:
        codes = got.add(form_of(chunk), "c")
        reference.learn(chunk)
        numbers = {name: number for number, name in enumerate(reference.counts)}
        names = [reference.name(value) for value in chunk]
        assert codes.tolist() == [numbers[name] for name in names]
        assert got.counts.tolist() == list(reference.counts.values())
        assert got.find(form_of(chunk), "c").tolist() == codes.tolist()
        assert [int(got.code_of(value)) for value in chunk] == codes.tolist()
    assert [name_of(value) for value in got.values()] == list(reference.counts)


def test_a_vocabulary_grows_over_all_its_arrays():
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 50_000, 200_000)
    got = Vocabulary()
    codes = np.concatenate([got.add(Numbers(part, INT, None), "c") for part in np.array_split(numbers, 7)])
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    expected = np.empty(len(first), np.int64)
    expected[np.argsort(first)] = np.arange(len(first))
    np.testing.assert_array_equal(codes, expected[inverse])
    np.testing.assert_array_equal(got.counts, np.bincount(codes))
    np.testing.assert_array_equal(got.find(Numbers(numbers, INT, None), "c"), codes)
    assert got.n == len(first)


def test_a_very_long_text_is_a_category():
    long = "x" * 1_000_000
    got = vocabulary_of(["a", long, long + "y", "b"])
    assert got.find(form_of(["b", long + "y", long, long + "z"]), "c").tolist() == [3, 2, 1, -1]
    assert got.values()[1] == long


def test_equal_numbers_of_different_types_are_one_category():
    got = vocabulary_of([1, "a", True, 1.0, "1", False, 0, -0.0, None, float("nan")])
    assert got.values() == [1, "a", "1", False, None]
    assert got.counts.tolist() == [3, 1, 1, 3, 2]


@pytest.mark.parametrize(
    ("first", "asked", "codes"),
    [
        ([5, 7], ["5", "7", "05", "x", None], [0, 1, -1, -1, -1]),
        ([5.0, 7.5], ["5", "5.0", "7.5", "7.50"], [0, 0, 1, -1]),
        ([5, None], ["5", 5.0, None], [0, 0, 1]),
        (["5", "7.5"], [5, 5.0, 7.5, True], [0, 0, 1, -1]),
        (["True", "False", "1"], [True, np.bool_(False), 1], [0, 1, 2]),
        ([True, False], ["True", "False", 1, "0"], [0, 1, 0, 1]),
        (["5", 7], ["5", 5, 7, "7"], [0, -1, 1, -1]),
        ([10**400, 1], ["1" + "0" * 400], [0]),
        (["1"], [10**400, 1], [-1, 0]),
        ([b"5"], ["5", 5], [-1, -1]),
    ],
    ids=str,
)
def test_numbers_and_text_stand_for_each_other_where_there_is_only_one_of_them(first, asked, codes):
    got = vocabulary_of(first)
    assert got.find(form_of(asked), "c").tolist() == codes
    assert got.find(Objects(np.array(asked, object)), "c").tolist() == codes
    assert [int(got.code_of(value)) for value in asked] == codes


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (Numbers(np.array([1, 0]), BOOL, None), ["True", "False"]),
        (Numbers(np.array([1, 0]), INT, np.array([False, True])), ["1", None]),
        (Numbers(np.array([0.5, np.nan, 2.0]), 3, None), ["0.5", None, "2"]),
    ],
)
def test_columns_of_numbers_where_all_is_text(values, texts):
    got = vocabulary_of(["True", "False", "1", "0.5", "2", None])
    assert got.find(values, "c").tolist() == got.find(form_of(texts), "c").tolist()


def test_what_came_first_decides_how_later_values_are_read():
    got = vocabulary_of([None], [5, 6], ["5", "x", "7"], ["x", "7", 5], ["6"])
    assert got.values() == [None, 5, 6, "x", 7]
    assert got.counts.tolist() == [1, 3, 2, 2, 2]
    assert got.first_kinds == {INT}
    assert vocabulary_of(["a"], [5], ["5"]).values() == ["a", "5"]
    assert vocabulary_of([None], [None]).first_kinds == frozenset()


# ----------------------------------------------------------------------------------------------------- categories


def test_categories_are_numbered_as_they_appear_and_unused_ones_not_at_all():
    values = Categories(np.array([2, -1, 0, 2, -1], np.int8), form_of(["a", "b", "c"]))
    got = Vocabulary()
    assert got.add(values, "c").tolist() == [0, 1, 2, 0, 1]
    assert got.values() == ["c", None, "a"]
    assert got.counts.tolist() == [2, 2, 1]
    assert got.find(Categories(np.array([1, 0, -1]), values.values), "c").tolist() == [-1, 2, 1]
    assert got.find(form_of(["b", "a", None]), "c").tolist() == [-1, 2, 1]


def test_categories_may_repeat_each_other():
    values = Categories(np.array([1, 0, 2]), Objects(np.array([1, 1.0, True], object)))
    got = Vocabulary()
    assert got.add(values, "c").tolist() == [0, 0, 0]
    assert got.counts.tolist() == [3]


@pytest.mark.parametrize("codes", [[], [-1, -1]])
def test_categories_without_any(codes):
    values = Categories(np.array(codes, np.int64), Texts(np.empty(0, np.uint8), np.zeros(1, np.int64), None))
    got = Vocabulary()
    assert got.add(values, "c").tolist() == [0] * len(codes)
    assert got.find(values, "c").tolist() == [0] * len(codes)


def test_categories_stand_for_numbers_too():
    got = vocabulary_of([5, 6])
    assert got.find(Categories(np.array([1, 0]), form_of(["5", "6"])), "c").tolist() == [1, 0]


def test_a_category_that_is_none_is_named_with_its_row():
    values = Categories(np.array([0, 0, 1]), Objects(np.array(["a", uuid.UUID(int=0)], object)))
    for call in (Vocabulary().add, vocabulary_of(["a"]).find):
        with pytest.raises(InputError, match=r"Column 'c' holds UUID\(.*\) in row 2, a UUID, but categories are"):
            call(values, "c")


# ------------------------------------------------------------------------------------------------- back, and away


def test_what_has_been_added_can_be_forgotten():
    got = vocabulary_of(["a", "b"])
    state = got.n, got.counts, got.first_kinds
    before = pickle.dumps(got.contents())
    got.add(form_of([str(number) for number in range(1000)] + ["a"]), "c")
    got.forget(*state)
    assert pickle.dumps(got.contents()) == before
    assert got.find(form_of(["b", "5", "a"]), "c").tolist() == [1, -1, 0]
    assert got.add(form_of(["c", "5"]), "c").tolist() == [2, 3]


def test_who_reads_is_not_disturbed_when_something_is_forgotten():
    got = vocabulary_of([str(number) for number in range(1000)])
    asked, wrong, done = form_of(["7", "x"]), [], threading.Event()

    def read():
        while not done.is_set():
            wrong.extend(code for code in got.find(asked, "c").tolist() if code not in (7, -1))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(200):
        state = got.n, got.counts, got.first_kinds
        got.add(form_of(["x", "y"]), "c")
        got.forget(*state)
    done.set()
    reader.join()
    assert set(wrong) <= {1000}


def test_a_vocabulary_is_pickled(tmp_path):
    got = vocabulary_of([None, "a", 5, 2**70] + [f"text {number}" for number in range(3000)])
    joblib.dump(got, tmp_path / "v")
    for other in (
        pickle.loads(pickle.dumps(got)),
        joblib.load(tmp_path / "v"),
        joblib.load(tmp_path / "v", mmap_mode="r"),
    ):
        assert other.values() == got.values()
        assert other.add(form_of(["new", "a"]), "c").tolist() == [got.n, 1]
        assert other.n == got.n + 1


def test_a_vocabulary_comes_back_from_its_contents():
    got = vocabulary_of([None, "a", 5, True, 0.5, 2**70, b"x"])
    contents = Contents(*(part.copy() for part in got.contents()))
    check_contents(contents)
    again = Vocabulary.from_contents(contents, got.first_kinds)
    assert again.values() == got.values()
    assert again.counts.tolist() == got.counts.tolist()
    assert again.add(form_of(["b", "a"]), "c").tolist() == [7, 1]
    empty = Vocabulary.from_contents(Vocabulary().contents(), frozenset())
    assert empty.find(form_of(["a"]), "c").tolist() == [-1]
    assert empty.add(form_of(["a"]), "c").tolist() == [0]


def test_a_key_that_comes_twice_is_found():
    data = np.frombuffer(b"abab", np.uint8)
    with pytest.raises(ValueError, match="found a category twice"):
        Vocabulary.from_contents(
            Contents(data, np.array([0, 2, 4]), np.full(2, TEXT, np.uint8), np.ones(2, np.int64)),
            frozenset({TEXT}),
        )


def test_too_many_categories(monkeypatch):
    monkeypatch.setattr(vocabulary, "_MOST_KEYS", 64)
    with pytest.raises(
        TableTooLargeError, match=r"A column has more than 64 categories; hash them \(hash_buckets="
    ):
        vocabulary_of(list(range(65)))


def test_no_memory_for_more_categories(monkeypatch):
    monkeypatch.setattr(vocabulary, "free_memory", lambda: 100)
    monkeypatch.setattr(vocabulary, "_MUCH", 0)
    with pytest.raises(
        TableTooLargeError, match="A column has more than 64 categories, and there is no memory left"
    ):
        vocabulary_of(list(range(65)))


def test_missing_values_of_every_sort_are_one():
    values = [None, float("nan"), np.float32("nan"), np.datetime64("NaT")]
    assert all(is_missing(value) for value in values)
    got = vocabulary_of([*values, "a"])
    assert got.counts.tolist() == [4, 1]
    assert int(got.code_of_missing()) == 0
