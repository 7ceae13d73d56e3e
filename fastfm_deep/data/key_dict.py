"""Keys out of a file, found by Python's dicts: what a `Vocabulary` is for looking up, without compiled code.

A dict is made when a column is first asked for a key, not when the file is read: a third of a microsecond a key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastfm_deep.data.keys import key_of, keys_of, value_of
from fastfm_deep.data.values import BIG_INT, BYTES, MISSING, TEXT, Categories
from fastfm_deep.data.vocabulary import Contents, SingleValues, adapted, adapted_value, row_with
from fastfm_deep.kernels.key_layout import plain_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastfm_deep.kernels.key_layout import Keys

_OF_ANY_LENGTH = (TEXT, BYTES, BIG_INT)
_NO_CONTENTS = Contents(np.empty(0, np.uint8), np.zeros(1, np.int64), np.empty(0, np.uint8), np.empty(0, np.int64))


class KeyDict:
    """The keys of a column; may be asked by several threads at once.

    Attributes
    ----------
    n, counts, first_kinds
        As of `Vocabulary`.
    """

    def __init__(self) -> None:
        self._contents = _NO_CONTENTS
        self.n = 0
        self.counts = _NO_CONTENTS.counts
        self.first_kinds: frozenset[int] = frozenset()
        self._codes: dict[int, dict[bytes, int]] | None = None

    @classmethod
    def from_contents(cls, contents: Contents, first_kinds: frozenset[int]) -> KeyDict:
        """Keys out of a file, whose contents have been checked.

        A key that comes twice, as in no file that this package has written, is known by its first code.
        """
        found = cls()
        found._contents, found.n, found.counts = contents, len(contents.kinds), contents.counts
        found.first_kinds = first_kinds
        return found

    def contents(self) -> Contents:
        """The keys, for a file."""
        return self._contents

    def find(self, values: SingleValues, column: str, row_of: Callable[[int], int] = int) -> NDArray[np.int32]:
        """Codes of the values, int32 (n,), -1 for those that are not known; as `Vocabulary.find`."""
        if isinstance(values, Categories):
            given = values
            codes = self.find(values.values, column, lambda place: row_of(row_with(given, place)))
            return np.append(codes, self.code_of_missing())[np.asarray(values.codes)].astype(np.int32)
        keys = keys_of(adapted(values, self.first_kinds), column, row_of)
        codes = np.empty(len(keys.kinds), np.int32)
        for kind in np.unique(keys.kinds).tolist():
            chosen = np.flatnonzero(keys.kinds == kind)
            codes[chosen] = self._find_kind(keys, kind, chosen)
        return codes

    def _find_kind(self, keys: Keys, kind: int, chosen: NDArray[np.int64]) -> NDArray[np.int32]:
        """Codes of the keys at some places, all of one kind."""
        code_of = self._dicts().get(plain_kind(kind), {})
        if kind == MISSING:
            return np.full(len(chosen), code_of.get(b"", -1), np.int32)
        starts, data = keys.offsets[:-1][chosen], keys.data
        if kind not in _OF_ANY_LENGTH:
            # Each number once, however often it occurs.
            whole = len(chosen) == len(keys.kinds) and keys.offsets[0] == 0
            words = data[: 8 * len(chosen)] if whole else data[starts[:, None] + np.arange(8)]
            known, inverse = np.unique(np.ascontiguousarray(words).view("<i8").reshape(-1), return_inverse=True)
            content = known.tobytes()
            found = [code_of.get(content[at : at + 8], -1) for at in range(0, len(content), 8)]
            return np.array(found, np.int32)[inverse]
        content = data.tobytes()
        bounds = zip(starts.tolist(), keys.offsets[1:][chosen].tolist(), strict=True)
        return np.fromiter((code_of.get(content[a:b], -1) for a, b in bounds), np.int32, len(chosen))

    def _dicts(self) -> dict[int, dict[bytes, int]]:
        """The codes of keys by their bytes, for each kind."""
        found = self._codes
        if found is None:
            # Two threads may both make them: the same ones.
            found = self._codes = _codes_by_kind(self._contents)
        return found

    def code_of_missing(self) -> np.int32:
        """The code of a missing value, -1 where none has occurred."""
        # Asked for when a file is read, and no reason to make the dicts.
        at = np.flatnonzero(self._contents.kinds == MISSING)
        return np.int32(at[0] if len(at) else -1)

    def code_of(self, value: Any) -> int:
        """The code of one value, -1 if it is not known.

        Raises
        ------
        NoCategoryError
            It cannot be one.
        """
        kind, content = key_of(adapted_value(value, self.first_kinds))
        return self._dicts().get(plain_kind(kind), {}).get(content, -1)

    def values(self, codes: NDArray[np.integer] | None = None) -> list[Any]:
        """The Python values of some codes, of all by default."""
        return list(self.iterate(range(self.n) if codes is None else codes.tolist()))

    def iterate(self, codes: Any) -> Iterator[Any]:
        """The Python values of codes, one by one."""
        data, offsets, kinds, _ = self._contents
        for code in codes:
            yield value_of(int(kinds[code]), data[offsets[code] : offsets[code + 1]].tobytes())


def _codes_by_kind(contents: Contents) -> dict[int, dict[bytes, int]]:
    found: dict[int, dict[bytes, int]] = {}
    content, offsets = contents.data.tobytes(), contents.offsets
    for kind in np.unique(contents.kinds).tolist():
        codes = np.flatnonzero(contents.kinds == kind)[::-1]  # so that the first of two stays
        bounds = zip(offsets[:-1][codes].tolist(), offsets[1:][codes].tolist(), codes.tolist(), strict=True)
        # True and 1 have one dict: only one of them can be a key.
        found.setdefault(plain_kind(kind), {}).update({content[a:b]: code for a, b, code in bounds})
    return found
