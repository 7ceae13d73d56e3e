"""Categories and their feature ids: what a sparse column has learned, and what its rule for unknown ones is.

An *id* is the feature of a category, a column of the encoded rows; -1 stands for none. Ids never move: categories
that are learned later get later ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep import validation
from fastfm_deep.data.feature_columns import SparseFeat, VarLenSparseFeat
from fastfm_deep.data.key_dict import KeyDict
from fastfm_deep.data.keys import KINDS, NoCategoryError, key_of, keys_of, value_of
from fastfm_deep.data.passes import passes
from fastfm_deep.data.python_values import is_missing
from fastfm_deep.data.stored_vocabulary import check_contents
from fastfm_deep.data.values import MISSING, TEXT, Categories, Numbers, Objects, Texts
from fastfm_deep.data.vocabulary import Contents, SingleValues, Vocabulary, adapted, adapted_value, row_with, taken
from fastfm_deep.kernels.key_layout import Keys, hash_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWN_NAME = "<unknown>"
MISSING_NAME = "<missing>"


class CategoryIds:
    """The categories of one column, and their ids.

    Parameters
    ----------
    column : SparseFeat or VarLenSparseFeat
    plain : bool
        Do without compiled code, out of a file: nothing can be learned; see `data.passes`.
    """

    plain = False  # of what was pickled before there was a choice

    def __init__(self, column: SparseFeat | VarLenSparseFeat, plain: bool = False) -> None:
        self.column = column
        self.plain = plain
        self.vocabulary: Vocabulary | KeyDict = KeyDict() if plain else Vocabulary()
        self.ids = np.empty(0, np.int64)
        """The id of each code of the vocabulary; -1 for rare categories."""
        self.bucket_id = -1
        self.first_hash_id = -1
        self._hash_kinds: frozenset[int] = frozenset()
        self._lookup: tuple[NDArray[np.int64], NDArray[np.int32]] | None = None  # and the ids that it is of

    @property
    def is_hashed(self) -> bool:
        """Whether there is no vocabulary."""
        return self.column.hash_buckets is not None

    @property
    def first_kinds(self) -> frozenset[int]:
        """The kinds of what was learned first; see `Vocabulary.first_kinds`."""
        return self._hash_kinds if self.is_hashed else self.vocabulary.first_kinds

    @property
    def _has_bucket(self) -> bool:
        return self.column.handle_unknown == "bucket"

    def learn(self, values: SingleValues, row_of: Callable[[int], int] = int) -> NDArray[np.int32] | None:
        """Take in the categories of some rows; their codes, or None where they are hashed."""
        if not self.is_hashed:
            assert isinstance(self.vocabulary, Vocabulary)
            return self.vocabulary.add(values, self.column.name, row_of)
        keys = self._keys(values, row_of)
        if not self._hash_kinds:
            self._hash_kinds = frozenset(np.unique(keys.kinds).tolist()) - {MISSING}
        return None

    def settle(self, next_id: int) -> int:
        """Give ids from `next_id` on to what has none and is to have one; returns the next id that is free."""
        if self.is_hashed:
            if self.first_hash_id < 0:
                self.first_hash_id = next_id
                next_id += int(self.column.hash_buckets or 0)
            return next_id
        if self._has_bucket and self.bucket_id < 0:
            self.bucket_id = next_id
            next_id += 1
        is_new = self._new_codes()
        n_new = int(is_new.sum())
        ids = np.full(len(is_new), -1, np.int64)
        ids[: len(self.ids)] = self.ids
        ids[is_new] = np.arange(next_id, next_id + n_new)
        self.ids = ids
        return next_id + n_new

    @property
    def n_new(self) -> int:
        """How many ids `settle` is going to give."""
        if self.is_hashed:
            return 0 if self.first_hash_id >= 0 else int(self.column.hash_buckets or 0)
        return int(self._new_codes().sum()) + (self._has_bucket and self.bucket_id < 0)

    def _new_codes(self) -> NDArray[np.bool_]:
        """Which codes have no id, and are to have one."""
        is_new: NDArray[np.bool_] = self.vocabulary.counts >= self.column.min_count
        is_new[: len(self.ids)] &= self.ids < 0
        missing = int(self.vocabulary.code_of_missing())
        if missing >= 0 and not self._has_bucket:
            is_new[missing] = False
        return is_new

    def find(
        self,
        values: SingleValues,
        codes: NDArray[np.int32] | None = None,
        row_of: Callable[[int], int] = int,
    ) -> NDArray[np.int32]:
        """Ids of the values, int32 (n,); -1 for those that are left out.

        Parameters
        ----------
        values : Texts, Numbers, Objects or Categories
        codes : int32 array (n,), optional
            What `learn` gave for them.
        row_of : callable
            The row of a place in `values`, for the message.

        Raises
        ------
        InputError
            A value is unknown or missing, and handle_unknown="error".
        """
        if self.is_hashed:
            return self._hashed(values, row_of)
        if codes is None:
            codes = self.vocabulary.find(values, self.column.name, row_of)
        found = taken(codes, self.lookup(), self.plain)
        if self.column.handle_unknown == "error":
            self._refuse(found, values, row_of, codes)
        return found

    def lookup(self) -> NDArray[np.int32]:
        """Ids by code, and at the end the one of an unknown category."""
        ids, kept = self.ids, self._lookup
        # Each time that something is learned, in whatever thread, there are new ids.
        if kept is None or kept[0] is not ids:
            lookup = np.append(ids, -1)
            lookup[lookup < 0] = self.bucket_id
            kept = self._lookup = ids, lookup.astype(np.int32)
        return kept[1]

    def _hashed(self, values: SingleValues, row_of: Callable[[int], int]) -> NDArray[np.int32]:
        if isinstance(values, Categories):
            known = self._hashed_keys(self._keys(values, row_of))
            by_category = np.append(known, np.int32(self._hash_of_missing()))
            places = np.asarray(values.codes, np.int64)
            found = by_category[np.where(places < 0, len(by_category) - 1, places)]
        else:
            found = self._hashed_keys(self._keys(values, row_of))
        if self.column.handle_unknown == "error":
            self._refuse(found, values, row_of, None)
        return found

    def _keys(self, values: SingleValues, row_of: Callable[[int], int]) -> Keys:
        """The keys of values, or of the categories that they are given by."""
        if isinstance(values, Categories):
            given = values
            return self._keys(values.values, lambda place: row_of(row_with(given, place)))
        return keys_of(adapted(values, self._hash_kinds), self.column.name, row_of)

    def _hashed_keys(self, keys: Keys) -> NDArray[np.int32]:
        found = np.empty(len(keys.kinds), np.int64)
        passes(self.plain).hash_keys(keys, self.column.hash_buckets, found)
        found += self.first_hash_id
        if not self._has_bucket:
            found[keys.kinds == MISSING] = -1
        return found.astype(np.int32)

    def _hash_of_missing(self) -> int:
        return self.id_of_hash(MISSING, b"") if self._has_bucket else -1

    def id_of_hash(self, kind: int, content: bytes) -> int:
        """Id of a key where categories are hashed."""
        assert self.column.hash_buckets is not None
        return self.first_hash_id + hash_key(kind, content) % self.column.hash_buckets

    def _refuse(
        self,
        found: NDArray[np.int32],
        values: SingleValues,
        row_of: Callable[[int], int],
        codes: NDArray[np.int32] | None,
    ) -> None:
        bad = found < 0
        if bad.any():
            at = int(np.argmax(bad))
            is_rare = codes is not None and bool(codes[at] >= 0)
            raise self.refusal(python_value(values, at), row_of(at), is_rare)

    def refusal(self, value: Any, row: int, is_rare: bool) -> validation.InputError:
        """What is said of a value that handle_unknown="error" forbids."""
        shown = None if is_missing(value) else value
        return validation.unknown_category_error(self.column.name, row, shown, self.column.min_count, is_rare)

    def checked_id(self, value: Any) -> int:
        """The id of one value, that of a row by itself; -1 where it is left out.

        Raises
        ------
        InputError
            It is no category, or unknown or missing, and handle_unknown="error".
        """
        try:
            number = self.id_of(value)
        except NoCategoryError:
            raise validation.no_category_error(self.column.name, 0, value) from None
        if number < 0 and self.column.handle_unknown == "error":
            raise self.refusal(value, 0, not self.is_hashed and bool(self.vocabulary.code_of(value) >= 0))
        return number

    def id_of(self, value: Any) -> int:
        """The id of one value; -1 where it is left out, or where handle_unknown="error" forbids it.

        Raises
        ------
        NoCategoryError
            It cannot be one.
        """
        if self.is_hashed:
            kind, content = key_of(adapted_value(value, self._hash_kinds))
            if kind == MISSING and not self._has_bucket:
                return -1
            return self.id_of_hash(kind, content)
        return int(self.lookup()[self.vocabulary.code_of(value)])

    def values_of(self, ids: NDArray[np.integer]) -> list[Any]:
        """The categories that ids stand for: None for missing ones and for the bucket of unknown ones.

        A hashed category comes back as the text "bucket 17".
        """
        if self.is_hashed:
            return [f"bucket {number}" for number in (ids - self.first_hash_id).tolist()]
        order = np.argsort(self.ids, kind="stable")
        place = np.searchsorted(self.ids, ids, sorter=order)
        place = np.minimum(place, len(order) - 1) if len(order) else place
        found: list[Any] = [None] * len(ids)
        for at, number in enumerate(ids.tolist()):
            if len(order) and self.ids[order[place[at]]] == number:
                found[at] = next(self.vocabulary.iterate([order[place[at]]]))
        return found

    def named_ids(self) -> Iterator[tuple[int, Any, str]]:
        """Each id with its category and its name: "rare and unknown" has no category."""
        if self.is_hashed:
            for number in range(int(self.column.hash_buckets or 0)):
                yield self.first_hash_id + number, number, f"bucket {number}"
            return
        if self.bucket_id >= 0:
            yield self.bucket_id, None, UNKNOWN_NAME
        codes = np.flatnonzero(self.ids >= 0)
        for number, value in zip(self.ids[codes].tolist(), self.vocabulary.iterate(codes.tolist()), strict=True):
            yield number, value, MISSING_NAME if value is None else str(value)

    def mark(self) -> tuple[Any, ...]:
        """The state now, for `reset`."""
        vocabulary = self.vocabulary
        state = vocabulary.n, vocabulary.counts, vocabulary.first_kinds
        return state, self.ids, self.bucket_id, self.first_hash_id, self._hash_kinds

    def reset(self, mark: tuple[Any, ...]) -> None:
        """Forget what has been learned since."""
        of_vocabulary, self.ids, self.bucket_id, self.first_hash_id, self._hash_kinds = mark
        assert isinstance(self.vocabulary, Vocabulary)
        self.vocabulary.forget(*of_vocabulary)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What a model file holds: plain values and arrays."""
        plain = {
            "bucket_id": self.bucket_id,
            "first_hash_id": self.first_hash_id,
            "first_kinds": sorted(self.first_kinds),
        }
        return plain, {} if self.is_hashed else {**self.vocabulary.contents()._asdict(), "ids": self.ids}

    def set_state(self, plain: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        """Take what `state` gave.

        Raises
        ------
        ValueError, KeyError, TypeError
            It contradicts itself.
        """
        self.bucket_id, self.first_hash_id = int(plain["bucket_id"]), int(plain["first_hash_id"])
        kinds = frozenset(int(kind) for kind in plain["first_kinds"])
        if not kinds <= set(KINDS):
            raise ValueError(f"found the kinds {sorted(kinds)}")
        if (self.bucket_id >= 0) != (self._has_bucket and not self.is_hashed):
            raise ValueError(f"found bucket_id={self.bucket_id}")
        if self.is_hashed:
            self._hash_kinds = kinds
            return
        contents = Contents(*(arrays[name] for name in Contents._fields))
        check_contents(contents)
        self.vocabulary = (KeyDict if self.plain else Vocabulary).from_contents(contents, kinds)
        self.ids = np.array(arrays["ids"])
        if self.ids.dtype != np.int64 or self.ids.shape != (self.vocabulary.n,) or self.ids.min(initial=0) < -1:
            raise ValueError(f"found ids of shape {self.ids.shape} and {self.ids.dtype}")

    @property
    def n_owned(self) -> int:
        """How many ids this column has."""
        if self.is_hashed:
            return int(self.column.hash_buckets or 0)
        return int((self.ids >= 0).sum()) + (self.bucket_id >= 0)

    def owned_ids(self) -> NDArray[np.int64]:
        """All ids of this column."""
        if self.is_hashed:
            return np.arange(self.first_hash_id, self.first_hash_id + self.n_owned)
        owned = self.ids[self.ids >= 0]
        return np.append(owned, self.bucket_id) if self.bucket_id >= 0 else owned


def python_value(values: SingleValues, at: int) -> Any:
    """One of the values, as Python has it."""
    if isinstance(values, Categories):
        code = int(values.codes[at])
        return None if code < 0 else python_value(values.values, code)
    if isinstance(values, Objects):
        return values.objects[at]
    if values.missing is not None and values.missing[at]:
        return None
    if isinstance(values, Texts):
        return value_of(TEXT, values.data[values.offsets[at] : values.offsets[at + 1]].tobytes())
    part = keys_of(Numbers(values.numbers[at : at + 1], values.kind, None), "")
    return value_of(int(part.kinds[0]), part.data.tobytes())
