"""The slow, obvious twin of the table encoder: plain Python dicts, one row and one value at a time.

It knows a category by a *name*, a tuple that is equal where the categories are: Python says so itself of numbers,
dates and times. Pooling is left out, as `transform` leaves it to the model.
"""

from __future__ import annotations

import bisect
import datetime as dt
import math
import statistics

import numpy as np

from fastfm_deep import DenseFeat, SparseFeat, VarLenSparseFeat
from fastfm_deep.data.keys import key_of
from fastfm_deep.kernels.key_layout import hash_key

MISSING = ("missing",)


class RefusalError(Exception):
    """A value that its column forbids; `args` are column and row."""


def is_missing(value):
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def name_of(value):
    """What is the same for equal categories."""
    if not isinstance(value, list) and is_missing(value):
        return MISSING
    if isinstance(value, str):
        return ("text", value)
    if isinstance(value, bytes):
        return ("bytes", value)
    if isinstance(value, np.datetime64):  # of nanoseconds
        number = int(value.astype("datetime64[ns]").astype(np.int64))
        return ("time", number)
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            return ("time", 1000 * round((value - dt.datetime(1970, 1, 1)) / dt.timedelta(microseconds=1)))
        return ("instant", value)
    if isinstance(value, dt.date):
        return ("date", value)
    return ("number", value)


def number_in(text):
    """The number that Python writes so."""
    if text in ("True", "False"):
        return text == "True"
    return next((found for kind in (int, float) if (found := parsed(text, kind)) is not None), None)


def parsed(text, kind):
    try:
        is_so = str(kind(text)) == text and (kind is int or math.isfinite(float(text)))
    except ValueError:
        return None
    return kind(text) if is_so else None


def text_of(number):
    if isinstance(number, bool | int):
        return str(number)
    return str(int(number)) if float(number).is_integer() else str(float(number))


def moment_in(text, tags):
    """The date or time that Python writes so."""
    kind = dt.date if tags == {"date"} else dt.datetime
    try:
        found = kind.fromisoformat(text)
    except ValueError:
        return text
    return text if str(found) != text or getattr(found, "tzinfo", None) is not None else found


class ReferenceCategories:
    """Vocabulary, ids and the rule for what is unknown."""

    def __init__(self, column):
        self.column = column
        self.counts = {}
        self.ids = {}
        self.bucket = None
        self.first_hash = None
        self.first_tags = set()

    def name(self, value):
        """By what a value is known: as what came first, where that was all numbers or all text."""
        if self.first_tags == {"number"} and isinstance(value, str):
            number = number_in(value)
            value = value if number is None else number
        if isinstance(value, str) and self.first_tags in ({"date"}, {"time"}):
            value = moment_in(value, self.first_tags)
        found = name_of(value)
        if self.first_tags == {"text"} and found[0] == "number":
            return ("text", text_of(value))
        if self.first_tags == {"text"} and found[0] in ("date", "time"):
            if isinstance(value, np.datetime64):
                value = value if found[1] % 1000 else value.astype("datetime64[us]").item()
            if isinstance(value, dt.date) and not getattr(value, "nanosecond", 0):
                return ("text", str(value))
        return found

    def learn(self, values):
        names = [self.name(value) for value in values]
        for name in names:
            self.counts[name] = self.counts.get(name, 0) + 1
        if not self.first_tags:
            self.first_tags = {name[0] for name in names} - {"missing"}

    def settle(self, next_id):
        if self.column.hash_buckets:
            if self.first_hash is None:
                self.first_hash = next_id
                next_id += self.column.hash_buckets
            return next_id
        has_bucket = self.column.handle_unknown == "bucket"
        if has_bucket and self.bucket is None:
            self.bucket = next_id
            next_id += 1
        for name, count in self.counts.items():
            if name not in self.ids and count >= self.column.min_count and (has_bucket or name != MISSING):
                self.ids[name] = next_id
                next_id += 1
        return next_id

    def id_of(self, value, row):
        """An id, or None for nothing."""
        name = self.name(value)
        has_bucket = self.column.handle_unknown == "bucket"
        if self.column.hash_buckets and (has_bucket or name != MISSING):
            kind, content = key_of(name[1] if len(name) > 1 and name[0] in ("number", "text") else value)
            return self.first_hash + hash_key(kind, content) % self.column.hash_buckets
        if name in self.ids:
            return self.ids[name]
        if self.column.handle_unknown == "error":
            raise RefusalError(self.column.name, row)
        return self.bucket


class ReferenceSparse(ReferenceCategories):
    def learn_column(self, columns):
        self.learn(columns[self.column.name])

    def entries(self, columns, row):
        found = self.id_of(columns[self.column.name][row], row)
        return [] if found is None else [(found, 1.0)]


class ReferenceDense:
    def __init__(self, column):
        self.column = column
        self.id = None
        self.numbers = []
        self.edges = []

    def learn_column(self, columns):
        numbers = [float(x) for x in columns[self.column.name] if not is_missing(x)]
        if self.column.buckets and not self.numbers and self.id is None and numbers:
            ordered = sorted(numbers)
            places = [
                math.ceil(len(ordered) * part / self.column.buckets) for part in range(1, self.column.buckets)
            ]
            self.edges = sorted({ordered[place - 1] for place in places} - {ordered[-1]})
        self.numbers += numbers

    def settle(self, next_id):
        if self.id is None:
            self.id = next_id
            next_id += len(self.edges) + 1
            if self.column.missing == "indicator":
                next_id += 1
        return next_id

    def entries(self, columns, row):
        x = columns[self.column.name][row]
        if is_missing(x):
            if self.column.missing == "indicator":
                return [(self.id + len(self.edges) + 1, 1.0)]
            if self.column.missing == "error":
                raise RefusalError(self.column.name, row)
            x = statistics.fmean(self.numbers) if self.numbers else 0.0
        x = float(x)
        if self.column.buckets:
            return [(self.id + bisect.bisect_left(self.edges, x), 1.0)]
        return [(self.id, self.scaled(x))]

    def scaled(self, x):
        if self.column.scaling == "log1p":
            return math.copysign(math.log1p(abs(x)), x)
        if self.column.scaling == "none" or not self.numbers:
            return x
        if self.column.scaling == "minmax":
            low, high = min(self.numbers), max(self.numbers)
            return (x - low) / (high - low or 1.0)
        deviation = statistics.pstdev(self.numbers)
        return (x - statistics.fmean(self.numbers)) / (deviation or 1.0)


class ReferenceBag(ReferenceCategories):
    def items(self, cell, separator):
        if isinstance(cell, str):
            return [piece for piece in cell.split(separator) if piece]
        if isinstance(cell, list):
            return cell
        return [None if is_missing(cell) else cell]

    def learn_column(self, columns):
        cells = columns[self.column.name]
        self.learn(
            [item for cell in cells for item in self.items(cell, self.column.separator)[: self.column.max_length]]
        )

    def entries(self, columns, row):
        cell = columns[self.column.name][row]
        items = self.items(cell, self.column.separator)
        weights = [1.0] * len(items)
        if self.column.weights and (isinstance(cell, str | list) or not is_missing(cell)):
            given = columns[self.column.weights][row]
            weights = [float(x) for x in self.items(given, self.column.separator)] if given is not None else []
            assert len(weights) == len(items)
        found = {}
        for item, weight in list(zip(items, weights, strict=True))[: self.column.max_length]:
            number = self.id_of(item, row)
            if number is None:
                continue
            if self.column.pooling == "max":
                found[number] = max(found.get(number, -math.inf), weight)
            else:
                found[number] = found.get(number, 0.0) + weight
        return list(found.items())


TWINS = {SparseFeat: ReferenceSparse, DenseFeat: ReferenceDense, VarLenSparseFeat: ReferenceBag}


class ReferenceEncoder:
    """The whole: columns are a dict of lists."""

    def __init__(self, columns):
        self.twins = [TWINS[type(column)](column) for column in columns]
        self.n_features = 1
        self.field_of_feature = [-1]

    def learn(self, columns):
        for twin in self.twins:
            twin.learn_column(columns)
        for field, twin in enumerate(self.twins):
            free = twin.settle(self.n_features)
            self.field_of_feature += [field] * (free - self.n_features)
            self.n_features = free
        return self

    def rows(self, columns):
        """Entries of each row, in the order of the columns."""
        n_rows = len(next(iter(columns.values())))
        return [[entry for twin in self.twins for entry in twin.entries(columns, row)] for row in range(n_rows)]
