"""Encoders in model files: files that were altered are refused, before a kernel trusts what they say."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import safetensors.numpy
from encoder_tools import CLICKED, CLICKS, click_columns, learned

from fastfm_deep import DenseFeat, FMClassifier, SparseFeat, TableEncoder, VarLenSparseFeat, load_model
from fastfm_deep.data.encoders import Encoding
from fastfm_deep.model.file import read_model_file, write_model_file
from fastfm_deep.validation import ModelFileError

SETTINGS = {"n_factors": 2, "n_epochs": 1, "n_jobs": 1, "random_state": 0}
# Fields 0 to 8: a vocabulary of text, numbers, integers, a bag, hashes, buckets, a vocabulary of everything.
COLUMNS = [
    *click_columns(),
    SparseFeat("hashed", hash_buckets=7),
    DenseFeat("buckets", buckets=3),
    SparseFeat("all", handle_unknown="ignore"),
]
TABLE = CLICKS | {
    "hashed": list("abcdefgh"),
    "buckets": list(range(8)),
    "all": [None, True, 0.5, 2**70, "a", b"a", 3, "żółw"],
}
TEXT, NUMBER, BAG, HASHED, BUCKETS, ALL = 0, 1, 3, 4, 5, 6


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "m"
    FMClassifier(encoder=TableEncoder(COLUMNS), **SETTINGS).fit(TABLE, CLICKED).save(path)
    return path


def column(field, **values):
    """Change what the header says of a column; None for a key that is to go."""

    def change(header, arrays):
        stored = header["encoder"]["columns"][field]
        for name, value in values.items():
            if value is DROPPED:
                del stored[name]
            else:
                stored[name] = value

    return change


def declared(field, **values):
    def change(header, arrays):
        header["encoder"]["columns"][field]["column"].update(values)

    return change


def encoder(**values):
    def change(header, arrays):
        for name, value in values.items():
            if value is DROPPED:
                del header["encoder"][name]
            else:
                header["encoder"][name] = value

    return change


def array(name, change_array):
    def change(header, arrays):
        found = change_array(np.array(arrays[f"encoder.{name}"]))
        if found is DROPPED:
            del arrays[f"encoder.{name}"]
        else:
            arrays[f"encoder.{name}"] = found

    return change


def at(place, value):
    def change(found):
        found[place] = value
        return found

    return change


DROPPED = object()


def dropped(found):
    return DROPPED


def longer(found):
    return np.append(found, found[-1:])


ALTERED = {
    "no encoder": lambda header, arrays: header.update(encoder=None),
    "encoder is a list": lambda header, arrays: header.update(encoder=[]),
    "no columns": encoder(columns=DROPPED),
    "columns are text": encoder(columns="city"),
    "no column at all": encoder(columns=[]),
    "one column less": lambda header, arrays: header["encoder"]["columns"].pop(),
    "columns in another order": lambda header, arrays: header["encoder"]["columns"].reverse(),
    "one column twice": lambda header, arrays: header["encoder"]["columns"].append(
        header["encoder"]["columns"][0]
    ),
    "no number of columns": encoder(n_columns=DROPPED),
    "number of columns is text": encoder(n_columns="many"),
    "threads are text": encoder(n_jobs="many"),
    "unknown type": declared(TEXT, type="tree"),
    "another type": declared(TEXT, type="dense"),
    "two names alike": declared(TEXT, name="user"),
    "no name": declared(TEXT, name=""),
    "unknown option": declared(TEXT, depth=1),
    "unknown rule": declared(TEXT, handle_unknown="guess"),
    "another rule": declared(TEXT, handle_unknown="ignore"),
    "a vocabulary that is hashed": declared(TEXT, hash_buckets=7),
    "hashes with a vocabulary": declared(HASHED, hash_buckets=None),
    "fewer hashes": declared(HASHED, hash_buckets=6),
    "hashes beyond memory": declared(HASHED, hash_buckets=2**31 - 2),
    "hashes from nowhere": column(HASHED, first_hash_id=-1),
    "hashes elsewhere": column(HASHED, first_hash_id=1),
    "hashes far away": column(HASHED, first_hash_id=2**62),
    "kinds that are none": column(TEXT, first_kinds=[99]),
    "kinds are text": column(HASHED, first_kinds="all"),
    "no kinds": column(TEXT, first_kinds=DROPPED),
    "no bucket": column(TEXT, bucket_id=-1),
    "bucket is text": column(TEXT, bucket_id="first"),
    "bucket of another": column(TEXT, bucket_id=10**6),
    "a bucket too many": column(ALL, bucket_id=0),
    "no text flag": column(BAG, as_text=DROPPED),
    "offsets that do not start at 0": array("0.offsets", at(0, 1)),
    "offsets that fall": array("0.offsets", at(1, 10**6)),
    "negative offsets": array("0.offsets", at(1, -5)),
    "offsets beyond the data": array("0.offsets", at(-1, 10**12)),
    "offsets before the end": array("0.data", longer),
    "one offset more": array("0.offsets", longer),
    "offsets of another type": array("0.offsets", lambda found: found.astype(np.int32)),
    "no offsets": array("0.offsets", dropped),
    "offsets as a table": array("0.offsets", lambda found: found[:, None]),
    "data of another type": array("0.data", lambda found: found.astype(np.int8)),
    "no data": array("0.data", dropped),
    "data as a table": array("0.data", lambda found: found[:, None]),
    "text that is none": array("0.data", at(0, 0xFF)),
    "text that begins within a character": array("6.data", at(-7, 0x80)),
    "a category twice": array("0.data", at(slice(0, 4), np.frombuffer(b"shsh", np.uint8))),
    "a kind that is none": array("0.kinds", at(0, 77)),
    "text as a number": array("0.kinds", at(0, 2)),
    "a number as missing": array("2.kinds", at(0, 0)),
    "truth that is neither": array("6.data", at(1, 9)),
    "text as a large integer": array("6.kinds", lambda found: np.where(found == 11, 10, found)),
    "a large integer that is small": array("6.data", lambda found: altered_digits(found)),
    "not a number": array("6.data", lambda found: altered_float(found)),
    "one kind more": array("0.kinds", longer),
    "kinds of another type": array("0.kinds", lambda found: found.astype(np.int64)),
    "negative counts": array("0.counts", at(0, -1)),
    "one count more": array("0.counts", longer),
    "counts of another type": array("0.counts", lambda found: found.astype(np.float64)),
    "no counts": array("0.counts", dropped),
    "an id of another column": array("0.ids", at(0, 10**6)),
    "an id twice": array("0.ids", at(0, 3)),
    "a very negative id": array("0.ids", at(0, -7)),
    "a lost id": array("0.ids", at(0, -1)),
    "one id more": array("0.ids", longer),
    "ids of another type": array("0.ids", lambda found: found.astype(np.float64)),
    "no ids": array("0.ids", dropped),
    "no fields": array("field_of_feature", dropped),
    "one field more": array("field_of_feature", longer),
    "fields of another type": array("field_of_feature", lambda found: found.astype(np.int64)),
    "a feature 0 with a field": array("field_of_feature", at(0, 0)),
    "a feature without": array("field_of_feature", at(3, -1)),
    "a feature of no field": array("field_of_feature", at(3, 99)),
    "no feature at all": array("field_of_feature", lambda found: found[:0]),
    "number elsewhere": column(NUMBER, id=10**6),
    "number nowhere": column(NUMBER, id=-1),
    "no indicator": column(NUMBER, indicator_id=-1),
    "indicator elsewhere": column(NUMBER, indicator_id=1),
    "other rule for missing ones": declared(NUMBER, missing="mean"),
    "negative count": column(NUMBER, count=-1),
    "count is text": column(NUMBER, count="many"),
    "mean is missing": column(NUMBER, mean=None),
    "negative squares": column(NUMBER, squares=-1.0),
    "range is missing": column(NUMBER, range=None),
    "range is short": column(NUMBER, range=[1.0]),
    "range is upside down": column(NUMBER, range=[2.0, 1.0]),
    "range of nothing": column(NUMBER, count=0),
    "edges that fall": array("5.edges", lambda found: found[::-1].copy()),
    "edges alike": array("5.edges", at(0, 5.0)),
    "an infinite edge": array("5.edges", at(-1, np.inf)),
    "an edge of NaN": array("5.edges", at(0, np.nan)),
    "one edge less": array("5.edges", lambda found: found[:1]),
    "one edge more": array("5.edges", lambda found: np.append(found, 100.0)),
    "no edges": array("5.edges", dropped),
    "edges of another type": array("5.edges", lambda found: found.astype(np.float32)),
    "edges as a table": array("5.edges", lambda found: found[:, None]),
    "edges without buckets": declared(BUCKETS, buckets=None),
}


def altered_digits(data):
    """2**70 becomes 1000...0 with a leading zero, which no writer makes."""
    text = bytes(data)
    return np.frombuffer(text.replace(str(2**70).encode(), b"0" + str(2**70).encode()[1:]), np.uint8)


def altered_float(data):
    half, none = np.float64(0.5).tobytes(), np.float64("nan").tobytes()
    return np.frombuffer(bytes(data).replace(half, none), np.uint8)


@pytest.mark.parametrize("what", ALTERED)
def test_files_that_are_whole_but_make_no_sense(saved, tmp_path, what):
    header, arrays = read_model_file(saved)
    header = json.loads(json.dumps(header))
    ALTERED[what](header, arrays)
    write_model_file(tmp_path / "m", arrays, header)
    with pytest.raises(
        ModelFileError, match=r"m' holds no estimator that .* can build \(.*\); save the model again"
    ):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    "values",
    [{"mean": np.inf}, {"mean": np.nan}, {"squares": np.nan}, {"range": [1.0, np.inf]}, {"range": [np.nan, 1.0]}],
    ids=str,
)
def test_numbers_that_only_other_writers_of_json_know(saved, values):
    plain, arrays = load_model(saved).encoder_.encoding_.state()
    Encoding.from_state(plain, arrays)
    plain[NUMBER].update(values)
    with pytest.raises(ValueError, match="found"):
        Encoding.from_state(plain, arrays)


def test_the_file_as_it_is(saved, tmp_path):
    model = load_model(saved)
    header, arrays = read_model_file(saved)
    write_model_file(tmp_path / "m", arrays, header)
    again = load_model(tmp_path / "m")
    assert learned(again.encoder_) == learned(model.encoder_)
    assert again.encoder_.feature_dictionary_ == model.encoder_.feature_dictionary_
    assert again.encoder_.columns == COLUMNS
    assert again.encoder_.n_features_in_ == len(TABLE)
    assert again.predict_proba(TABLE).tobytes() == model.predict_proba(TABLE).tobytes()


def test_vocabularies_are_arrays_that_any_reader_opens(saved):
    arrays = safetensors.numpy.load_file(saved)
    data, offsets = arrays["encoder.0.data"].tobytes(), arrays["encoder.0.offsets"]
    texts = [data[a:b].decode() for a, b in itertools.pairwise(offsets)]
    assert texts == ["bj", "sh", "", "żółw", "gz"]
    assert arrays["encoder.0.counts"].tolist() == [3, 2, 1, 1, 1]


def test_names_that_are_no_utf_8(tmp_path):
    table = {"\ud800": ["a", "\ud801"], "b\0": ["x\ud800y", "z"]}
    encoder = TableEncoder([SparseFeat("\ud800"), VarLenSparseFeat("b\0", separator="\ud800")])
    model = FMClassifier(encoder=encoder, **SETTINGS).fit(table, [0, 1])
    model.save(tmp_path / "m")
    got = load_model(tmp_path / "m")
    assert got.encoder_.columns == model.encoder.columns
    assert got.encoder_.feature_dictionary_ == model.encoder_.feature_dictionary_
    assert list(got.encoder_.feature_dictionary_["b\0"]) == ["x", "y", "z"]
    assert got.predict_proba(table).tobytes() == model.predict_proba(table).tobytes()


@pytest.mark.parametrize("scaling", ["standard", "log1p", "minmax", "none"])
def test_numbers_that_were_never_seen_or_are_huge(tmp_path, scaling):
    for numbers in ([None, None], [1e300, -1e299] if scaling in ("log1p", "minmax") else [1e30, 1.0]):
        encoder = TableEncoder([DenseFeat("d", scaling=scaling, missing="mean"), SparseFeat("c")])
        table = {"d": numbers, "c": [1, 2]}
        model = FMClassifier(encoder=encoder, **SETTINGS).fit(table, [0, 1])
        model.save(tmp_path / "m")
        assert learned(load_model(tmp_path / "m").encoder_) == learned(model.encoder_)
