"""Columns that lack a weight or factors: what is absent stays 0, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from deepfm_tools import POOLINGS, Kernels, assert_same_network, random_deepfm
from fit_tools import OPTIMIZERS, new_model, small_data
from reference import ReferenceFM, Settings
from reference_deepfm import DenseSettings
from table_tools import (
    INTERPRETED,
    LANES_RUN,
    assert_same_model,
    copy_of,
    fit,
    random_model,
    random_rows,
    random_targets,
    read_only,
    row_dicts,
    step_of,
    tables_of,
    targets_of,
)

from fastfm_deep import DeepFMClassifier, DeepFMRegressor, FMClassifier, FMRegressor, load_model
from fastfm_deep.data.fields import FieldLayout
from fastfm_deep.data.rows import CsrRows
from fastfm_deep.datasets import make_ctr
from fastfm_deep.estimators.base import BaseFM
from fastfm_deep.kernels import fm, micro_batch
from fastfm_deep.kernels._jit import kernel
from fastfm_deep.kernels.hot_columns import N_SLOTS, HotColumns
from fastfm_deep.kernels.parts import HAS_BOTH, HAS_FACTORS, HAS_WEIGHT
from fastfm_deep.kernels.updates import RULES
from fastfm_deep.model import params as model_params
from fastfm_deep.model.deep import DeepPart
from fastfm_deep.model.file import read_model_file, write_model_file
from fastfm_deep.model.params import FMModel, allocate, blocks_for, for_training, grown, lanes_for, with_parts
from fastfm_deep.model.score import raw_scores
from fastfm_deep.nn.mlp import MLPShape, start_running
from fastfm_deep.nn.optimizers import DenseOptimizer
from fastfm_deep.training.deepfm_step import DeepFMStep, DenseStep, new_slots
from fastfm_deep.training.fm_step import FMStep
from fastfm_deep.training.loop import Schedule, Training
from fastfm_deep.validation import DivergenceError, ModelFileError, TableTooLargeError

PLAIN_FIT_ROWS = kernel(fm.fit_rows_plain)
NEEDS_LANES = pytest.mark.skipif(not LANES_RUN, reason="the plain loops stand in for the lanes here")
ALL_RULES = pytest.mark.parametrize("rule", RULES)
RATES = {"sgd": 0.02, "adam": 0.01}


def mixed_parts(n_features):
    """Every kind of column, in turn; the last two have a weight alone."""
    parts = np.array([HAS_BOTH, HAS_WEIGHT, HAS_FACTORS, HAS_BOTH, 0, HAS_FACTORS], np.uint8)
    parts = np.resize(parts, n_features)
    parts[-2:] = HAS_WEIGHT
    return parts


class ReferenceWithParts(ReferenceFM):
    """The slow twin, which passes over what is absent."""

    parts: np.ndarray

    def _weight(self, name, value, *arguments):
        if name != "w0" and not self.parts[name[1]] & HAS_WEIGHT:
            return value
        return super()._weight(name, value, *arguments)

    def update_factors(self, i, gradient, settings):
        if self.parts[i] & HAS_FACTORS:
            super().update_factors(i, gradient, settings)


def with_reference_parts(model, parts):
    """A reference whose columns have these parts."""
    divided = ReferenceWithParts(model.intercept, model.weights, model.factors, model.inverse_scale)
    divided.parts = parts
    divided.weights[parts & HAS_WEIGHT == 0] = 0.0
    divided.factors[parts & HAS_FACTORS == 0] = 0.0
    return divided


def settings_of(rule, loss="logistic", **changes):
    chosen = {"l2_linear": 0.02, "l2_factors": 0.03, "l1_linear": 0.01, "max_gradient": 8.0} | changes
    return Settings(loss, rule, RATES.get(rule, 0.05), **chosen)


def case(seed, n_factors, rule, loss="logistic", **rows_like):
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, **rows_like)
    model = with_reference_parts(random_model(rng, n_factors=n_factors, scaled=seed % 2 == 1), mixed_parts(12))
    n_rows = len(rows.indptr) - 1
    targets = random_targets(rng, n_rows, loss, weighted=True)
    order = rng.permutation(np.repeat(np.arange(n_rows, dtype=np.int32), 2))
    return rows, model, targets, order, with_parts(tables_of(model, rule), model.parts)


def assert_absent_parts_are_zero(params, parts=None):
    parts = params.parts if parts is None else parts
    assert not params.linear[parts & HAS_WEIGHT == 0, 0].any()
    if params.padded_factors:
        assert not params.factors[parts & HAS_FACTORS == 0, : params.padded_factors].any()


def assert_present_parts_are_not(params, n_factors):
    assert params.linear[params.parts & HAS_WEIGHT > 0, 0].all()
    if n_factors:
        assert params.factors[params.parts & HAS_FACTORS > 0, :n_factors].any(axis=1).all()


@ALL_RULES
@pytest.mark.parametrize("n_factors", [3, 16])
def test_updates_match_the_reference(n_factors, rule):
    for seed, loss in enumerate(("logistic", "squared")):
        rows, model, targets, order, tables = case(seed, n_factors, rule, loss)
        dicts, chosen = row_dicts(rows), settings_of(rule, loss)
        expected = sum(model.update(dicts[row], targets.y[row], chosen, targets.weight[row]) for row in order)
        got = fit(rows, targets, order, tables, chosen, n_factors)
        np.testing.assert_allclose(got, [expected, targets.weight[order].sum()], rtol=2e-5)
        assert_same_model(tables, model)
        assert_absent_parts_are_zero(tables)
        assert_present_parts_are_not(tables, n_factors)


@NEEDS_LANES
@ALL_RULES
@pytest.mark.parametrize("n_factors", [3, 16])
def test_lanes_do_what_the_plain_loops_do(n_factors, rule):
    rows, _, targets, order, got = case(3, n_factors, rule, "squared", n_rows=80, most=9)
    expected, chosen = copy_of(got), settings_of(rule, "squared")
    tallies = [
        fit(rows, targets, order, got, chosen, n_factors),
        fit(rows, targets, order, expected, chosen, n_factors, fit_rows=PLAIN_FIT_ROWS),
    ]
    np.testing.assert_allclose(*tallies, rtol=1e-5)
    for name in ("intercept", "linear", "factors"):  # the states as well
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("rule", ["adagrad", "ftrl"])
def test_without_any_factors_in_the_model(rule):
    rows, model, targets, order, tables = case(4, 0, rule)
    dicts, chosen = row_dicts(rows), settings_of(rule)
    for row in order:
        model.update(dicts[row], targets.y[row], chosen, targets.weight[row])
    fit(rows, targets, order, tables, chosen, 0)
    assert_same_model(tables, model)
    assert_absent_parts_are_zero(tables)


@NEEDS_LANES
@pytest.mark.parametrize("rule", ["adagrad", "adagrad_rowwise"])
def test_copies_of_hot_columns_have_the_same_parts(rule):
    rows, _, targets, order, tables = case(5, 16, rule, n_rows=700)
    private, chosen = copy_of(tables), settings_of(rule)
    tags = np.full(N_SLOTS, -1, np.int32)
    tags[:12] = np.arange(12)
    hot = HotColumns(tags, tags[:12].copy(), np.sort(2 ** (np.arange(12) % 4)).astype(np.int32))
    expected = fit(rows, targets, order, tables, chosen, 16)
    np.testing.assert_allclose(fit(rows, targets, order, private, chosen, 16, hot=hot), expected, rtol=1e-5)
    np.testing.assert_allclose(private.linear, tables.linear, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(private.factors, tables.factors, rtol=1e-4, atol=1e-5)
    assert_absent_parts_are_zero(private)


@pytest.mark.parametrize("pooling", ["whole row", "sum", "mixed"])
@ALL_RULES
def test_updates_by_micro_batches_match_the_reference(rule, pooling):
    """With `pooling` "sum" the first layer goes by columns."""
    rng = np.random.default_rng(6)
    parts = mixed_parts(12)
    reference = random_deepfm(rng, pooling=POOLINGS[pooling])
    reference.fm = with_reference_parts(reference.fm, parts)
    rows = random_rows(rng)
    targets = random_targets(rng, len(rows.indptr) - 1, "squared")
    order = rng.permutation(np.arange(len(rows.indptr) - 1))
    chosen, network = settings_of(rule, "squared", max_gradient=1.5), DenseSettings("sgd", 0.05, 0.01)
    kernels = Kernels(reference, rule, network)
    kernels.params = with_parts(kernels.params, parts)
    dicts = row_dicts(rows)
    for start in range(0, len(order), 7):
        batch = order[start : start + 7]
        reference.update([dicts[i] for i in batch], targets.y[batch], np.ones(len(batch)), chosen, network)
    kernels.fit(rows, targets, order, chosen, 7, eagerness=np.inf if pooling == "sum" else 0.0)
    assert_same_model(kernels.params, reference.fm, 1e-4)
    assert_same_network(kernels, reference, 1e-4)
    assert_absent_parts_are_zero(kernels.params)
    assert_present_parts_are_not(kernels.params, 3)


@NEEDS_LANES
@ALL_RULES
def test_lanes_update_columns_as_the_plain_loop_does(rule):
    rng = np.random.default_rng(7)
    model = with_reference_parts(random_model(rng), mixed_parts(12))
    got = with_parts(tables_of(model, rule), model.parts)
    expected, padded = copy_of(got), got.padded_factors
    slots = new_slots(12, padded)
    slots.columns[:] = rng.permutation(12)
    slots.place[:] = np.arange(12)
    slots.counts[:] = rng.integers(1, 5, 12)
    slots.gradients.linear[:] = rng.normal(0, 1, 12)
    slots.gradients.factors[:] = rng.normal(0, 1, (12, padded))
    step = step_of(settings_of(rule), 4)
    update_plain = kernel(micro_batch.update_columns_plain)
    for tables, update in ((got, micro_batch.update_columns), (expected, update_plain)):
        for _ in range(3):
            update(slots, 12, tables, step, lanes_for(padded), blocks_for(padded))
    for name in ("linear", "factors"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=1e-5, atol=1e-6, err_msg=name)
    assert_absent_parts_are_zero(got)
    assert_absent_parts_are_zero(expected)


N_FEATURES = 60
LAYOUT = np.repeat(np.arange(6, dtype=np.int32), 10)


def ctr_rows(n_rows=None, seed=0):
    """Rows of 6 fields, as the gate of the estimators hands them on, and targets of ±1."""
    n_rows = n_rows or (200 if INTERPRETED else 8_000)
    X, y, _ = make_ctr(n_rows, n_fields=6, n_features=N_FEATURES, random_state=seed)
    values = np.full(len(X.indices), 0.5, np.float32)
    rows = CsrRows(X.indptr.astype(np.int64), X.indices.astype(np.int32), values)
    return read_only(rows), targets_of(2.0 * y - 1.0)


def model_of(rule, parts, n_factors=4, n_features=N_FEATURES, deep=False):
    """A model that has seen nothing."""
    params = with_parts(allocate(n_features, n_factors, rule), parts)
    model = FMModel(params, n_factors, rule, np.zeros(n_features, np.uint8))
    if deep:
        layout = None
        if deep == "fields":
            # What has no factors feeds no input.
            field_of_column = np.append(LAYOUT, np.zeros(n_features - N_FEATURES, np.int32))
            layout = FieldLayout(np.where(parts & HAS_FACTORS, field_of_column, -1).astype(np.int32), 6, ())
        shape = MLPShape(n_factors * (6 if layout else 2), (4,), "relu", 0.0, False)
        parameters = np.zeros(shape.n_parameters, np.float32)
        optimizer = DenseOptimizer("adam", shape.n_parameters)
        model.deep = DeepPart(layout, shape, parameters, start_running(shape), optimizer)
    return model


def train(model, rows, targets, n_threads=1, n_epochs=2, chosen=None, seed=0):
    """Train in place, as estimators do."""
    chosen = chosen or settings_of(model.rule, l1_linear=0.0)
    arguments = model, rows, targets, step_of(chosen, model.n_factors), 0.1, seed, n_threads
    dense = DenseStep(32, 0.01, 0.0)
    step = FMStep(*arguments) if model.deep is None else DeepFMStep(*arguments, dense=dense)
    Training(step, Schedule(n_epochs, chosen.learning_rate)).run()
    model.epochs += n_epochs
    return step


def assert_same_tables(got, expected, n=None):
    for name in ("factors", "linear"):
        np.testing.assert_array_equal(getattr(got, name)[:n], getattr(expected, name)[:n], err_msg=name)
    np.testing.assert_array_equal(got.intercept, expected.intercept)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("deep", [False, "whole row", "fields"])
@ALL_RULES
def test_what_is_absent_stays_zero(rule, deep, n_threads):
    rows, targets = ctr_rows()
    parts = mixed_parts(N_FEATURES)
    model = model_of(rule, parts, deep=deep)
    step = train(model, rows, targets, n_threads)
    assert model.params.parts is not None
    assert_absent_parts_are_zero(model.params, parts)
    occurs = model.occurs > 0
    assert model.params.linear[occurs & (parts & HAS_WEIGHT > 0), 0].all()
    assert model.params.factors[occurs & (parts & HAS_FACTORS > 0), :4].all()
    if LANES_RUN and not deep and n_threads == 2 and rule.startswith("adagrad"):
        hot = step._plan_exchanges(0)  # some columns of each kind are trained in copies
        assert set(parts[hot.columns]) == {0, HAS_WEIGHT, HAS_FACTORS, HAS_BOTH}


@ALL_RULES
def test_weights_alone_are_a_linear_model(rule):
    rows, targets = ctr_rows()
    models = [
        model_of(rule, np.full(N_FEATURES, HAS_WEIGHT, np.uint8)),
        model_of(rule, None, n_factors=0),
    ]
    for model in models:
        train(model, rows, targets)
    got, expected = (raw_scores(model, rows) for model in models)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@ALL_RULES
def test_parts_of_every_column_are_as_none(rule):
    rows, targets = ctr_rows(200)
    models = [model_of(rule, parts) for parts in (None, np.full(N_FEATURES, HAS_BOTH, np.uint8))]
    for model in models:
        assert model.params.parts is None
        train(model, rows, targets)
    assert_same_tables(models[1].params, models[0].params)


@pytest.mark.parametrize("deep", [False, "fields"])
def test_after_a_divergence_what_is_absent_is_zero(deep):
    rows, targets = ctr_rows(200)
    targets = targets._replace(y=targets.y * 1e30)
    model = model_of("sgd", mixed_parts(N_FEATURES), deep=deep)
    wild = Settings("squared", "sgd", 1e10)
    with pytest.raises(DivergenceError), np.errstate(all="ignore"):
        train(model, rows, targets, chosen=wild)
    assert_absent_parts_are_zero(model.params)


def test_parts_must_fit():
    params = allocate(5, 3, "adagrad")
    parts = np.array([0, 1, 2, 3, 3], np.uint8)
    got = with_parts(params, parts).parts
    assert got is not parts
    assert got.flags.writeable
    assert got.tolist() == [0, 1, 2, 3, 3]
    assert with_parts(with_parts(params, parts), None).parts is None
    for wrong in (parts[:4], parts.astype(np.int64), np.append(parts, np.uint8(3)), parts[None]):
        with pytest.raises(ValueError, match=r"parts of shape .* for 5 columns"):
            with_parts(params, wrong)
    with pytest.raises(ValueError, match="parts=4 of a column, which has at most 3"):
        with_parts(params, parts + np.uint8(1))


def test_a_model_of_another_rule_has_the_same_parts():
    rows, targets = ctr_rows(200)
    parts = mixed_parts(N_FEATURES)
    model = model_of("adagrad", parts)
    train(model, rows, targets)
    other = for_training(model, "adam")
    assert other.params.parts.tolist() == parts.tolist()
    train(other, rows, targets)
    assert_absent_parts_are_zero(other.params)


@pytest.fixture
def parted(monkeypatch):
    """Estimators train columns of mixed parts."""
    original = BaseFM._model_to_train

    def model_to_train(self, n_features, goal, anew):
        model = original(self, n_features, goal, anew)
        if anew:
            model.params = with_parts(model.params, mixed_parts(n_features))
        return model

    monkeypatch.setattr(BaseFM, "_model_to_train", model_to_train)


EVERY = pytest.mark.parametrize("kind", [FMClassifier, FMRegressor, DeepFMClassifier, DeepFMRegressor])


def fitted(kind, **changes):
    X, y = small_data(kind, 150)
    deep = (
        {"fields": [10] * 6, "dnn_hidden_units": (4,)}
        if issubclass(kind, DeepFMClassifier | DeepFMRegressor)
        else {}
    )
    return new_model(kind, **deep, n_jobs=1, **changes).fit(X, y), X, y


def assert_same_params(got, expected):
    for name in ("factors", "linear", "intercept", "parts"):
        assert getattr(got._model.params, name).tobytes() == getattr(expected._model.params, name).tobytes(), name


@EVERY
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_files_hold_parts(tmp_path, parted, kind, optimizer):
    model, X, y = fitted(kind, optimizer=optimizer)
    assert_absent_parts_are_zero(model._model.params)
    model.save(tmp_path / "m", include_optimizer=True)
    got = load_model(tmp_path / "m")
    assert_same_params(got, model)
    assert got.predict(X).tobytes() == model.predict(X).tobytes()
    for each in (model, got):
        each.partial_fit(X, y)
    assert_same_params(got, model)
    assert_absent_parts_are_zero(got._model.params)
    model.save(tmp_path / "m")  # without states
    assert load_model(tmp_path / "m").predict(X).tobytes() == model.predict(X).tobytes()


def test_files_of_ordinary_models_hold_none(tmp_path):
    fitted(FMClassifier)[0].save(tmp_path / "m")
    assert "parts" not in read_model_file(tmp_path / "m")[1]


@pytest.mark.parametrize(
    "wrong",
    [np.ones(3, np.uint8), np.ones(N_FEATURES, np.int32), np.full(N_FEATURES, 4, np.uint8)],
    ids=["short", "of another type", "of a third kind"],
)
def test_files_with_wrong_parts(tmp_path, parted, wrong):
    fitted(FMClassifier)[0].save(tmp_path / "m")
    header, arrays = read_model_file(tmp_path / "m")
    write_model_file(tmp_path / "m", arrays | {"parts": wrong}, header)
    with pytest.raises(ModelFileError, match=r"can build \(ValueError: .*parts"):
        load_model(tmp_path / "m")


NARROW = 40


def split_rows():
    """Rows of the first columns alone, then rows of all."""
    rows, targets = ctr_rows(400 if INTERPRETED else 2_000)
    X = sp.csr_array((rows.values, rows.indices, rows.indptr), (rows.n_rows, N_FEATURES))
    former = X[: rows.n_rows // 2].copy()
    former.data[former.indices >= NARROW] = 0.0
    former.eliminate_zeros()
    chunks = []
    for part, start in ((former, 0), (X[rows.n_rows // 2 :], rows.n_rows // 2)):
        arrays = part.indptr.astype(np.int64), part.indices.astype(np.int32), part.data.astype(np.float32)
        y = targets.y[start : start + part.shape[0]]
        chunks.append((read_only(CsrRows(*arrays)), targets_of(y)))
    return chunks


@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("deep", [False, "fields"])
@ALL_RULES
def test_growth_is_as_if_the_width_had_been_there(rule, deep, divided):
    """Bit for bit: the columns that are new draw the same numbers."""
    parts = mixed_parts(N_FEATURES) if divided else np.full(N_FEATURES, HAS_BOTH, np.uint8)
    first, second = split_rows()
    wide = model_of(rule, parts, deep=deep)
    train(wide, *first)
    narrow = model_of(rule, parts, deep=deep)
    narrow.params = with_parts(allocate(NARROW, 4, rule), parts[:NARROW])
    narrow.occurs = narrow.occurs[:NARROW].copy()
    if deep:
        layout = narrow.deep.layout
        narrow.deep.layout = FieldLayout(layout.field_of_column[:NARROW].copy(), 6, ())
    train(narrow, *first)
    before = raw_scores(narrow, first[0])
    model = grown(narrow, N_FEATURES, parts)
    if deep:
        model.deep.layout = layout
    assert model.n_features == N_FEATURES
    assert not model.params.linear[NARROW:, 0].any()
    assert not model.params.factors[NARROW:, :4].any()
    assert raw_scores(model, first[0]).tobytes() == before.tobytes()
    for each in (model, wide):
        train(each, *second)
    assert_same_tables(model.params, wide.params)
    np.testing.assert_array_equal(model.occurs, wide.occurs)
    if deep:
        np.testing.assert_array_equal(model.deep.parameters, wide.deep.parameters)
    new = slice(NARROW, None)
    assert model.params.linear[new][parts[new] & HAS_WEIGHT > 0, 0].any()
    assert model.params.factors[new, :4][parts[new] & HAS_FACTORS > 0].any()
    assert_absent_parts_are_zero(model.params, parts)


@pytest.mark.parametrize("n_factors", [0, 4])
@pytest.mark.parametrize("rule", [None, "adam"])
def test_growth_keeps_units_and_gives_new_columns_both_parts(rule, n_factors):
    model = model_of(rule, mixed_parts(N_FEATURES), n_factors)
    scales = np.linspace(0.1, 1.0, N_FEATURES, dtype=np.float32)
    model.params = model.params._replace(inverse_scale=scales)
    model.occurs[:] = 1
    model.epochs, model.scale = 3, 2.0
    got = grown(model, N_FEATURES + 2, None)
    assert got.params.inverse_scale.tolist() == [*scales.tolist(), 1.0, 1.0]
    assert got.params.parts.tolist() == [*mixed_parts(N_FEATURES).tolist(), HAS_BOTH, HAS_BOTH]
    assert got.occurs.tolist() == [1] * N_FEATURES + [0, 0]
    assert (got.n_features, got.rule, got.n_factors, got.epochs, got.scale) == (62, rule, n_factors, 3, 2.0)
    assert model.n_features == len(model.occurs) == N_FEATURES


def test_growth_that_makes_no_sense():
    model = model_of("adagrad", None)
    with pytest.raises(ValueError, match="n_features=59 of a model that has 60"):
        grown(model, 59, None)
    parts = np.full(61, HAS_BOTH, np.uint8)
    parts[0] = HAS_WEIGHT
    with pytest.raises(ValueError, match="parts of present columns differ"):
        grown(model, 61, parts)
    with pytest.raises(ValueError, match="parts of shape"):
        grown(model, 61, np.full(60, HAS_BOTH, np.uint8))


def test_growth_beyond_memory(monkeypatch):
    model = model_of("adagrad", None)
    monkeypatch.setattr(model_params, "free_memory", lambda: 100)
    with pytest.raises(TableTooLargeError, match="n_features=1000 with n_factors=4"):
        grown(model, 1000, None)
