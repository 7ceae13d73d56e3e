"""The report: every figure is on the page, nothing on it comes from elsewhere, odd models and rows have theirs."""

from __future__ import annotations

import importlib
import os

import numpy as np
import pytest
import scipy.sparse
from plot_tools import explanation_of, read_page
from sklearn.exceptions import NotFittedError

from fastfm_deep import (
    DeepFMClassifier,
    DeepFMRegressor,
    DenseFeat,
    FieldLayout,
    FMClassifier,
    FMRegressor,
    InputError,
    SparseFeat,
    TableEncoder,
    VarLenSparseFeat,
    load_model,
    report,
)
from fastfm_deep.datasets import make_ctr
from fastfm_deep.estimators.fitted import FittedFM

OPTIONS = {"n_epochs": 2, "random_state": 0, "n_jobs": 1}
CLASS_FIGURES = ["history-0", "roc", "calibration", "scores"]
NUMBER_FIGURES = ["history-0", "errors", "residuals", "scores"]
FIELD_FIGURES = ["importance", "interactions"]

module = importlib.import_module("fastfm_deep.plots.report")


@pytest.fixture(scope="module")
def data():
    X, y, sizes = make_ctr(900, n_fields=5, n_features=80, random_state=0)
    return X, np.where(y > 0, "click <&> buy", "none"), sizes


@pytest.fixture(scope="module")
def deep(data):
    X, y, sizes = data
    model = DeepFMClassifier(
        4, fields=sizes, dnn_hidden_units=(4,), dnn_dropout=0.1, eval_metric=["auc", "logloss"], **OPTIONS
    )
    return model.fit(X[:600], y[:600], eval_set=(X[600:], y[600:]))


def page_of(tmp_path, *arguments, **options):
    out = tmp_path / "report.html"
    assert report(*arguments, out=out, **options) == out
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".safetensors") == ["report.html"]
    return read_page(out)


def test_everything_of_a_classifier(data, deep, tmp_path):
    X, y, _ = data
    page = page_of(tmp_path, deep, X[600:], y[600:])
    assert list(page.figures) == ["history-0", "history-1", "roc", "calibration", "scores", *FIELD_FIGURES]
    assert "DeepFMClassifier" in page.texts["facts"]
    assert "click <&> buy and none; probabilities are those of none" in page.texts["facts"]
    assert "20 → 4 → 1, fed with a vector of each field; relu, dropout 0.1" in page.texts["facts"]
    assert "2 epochs of 600 rows" in page.texts["facts"]
    changed = [
        "eval_metric=(auc, logloss)",
        "dnn_dropout=0.1",
        "dnn_hidden_units=(4)",
        "n_factors=4",
        "n_epochs=2",
    ]
    assert all(text in page.texts["facts"] for text in changed)
    assert "learning_rate" not in page.texts["facts"]
    assert all(name in page.texts["metrics"] for name in ("logloss", "AUC", "Brier score", "base rate"))
    assert "pairs-table" in page.texts
    assert page.figures["interactions"]["class"] == ""
    assert f"The network adds {deep.explain(X[600:]).deep:.3g}, which" in page.figures["importance"]["caption"]


def test_a_model_file_tells_the_same(data, deep, tmp_path):
    X, y, _ = data
    deep.save(tmp_path / "m.safetensors")
    first = page_of(tmp_path, deep, X, y)
    second = page_of(tmp_path, load_model(tmp_path / "m.safetensors"), X, y)
    assert {**first.texts, "facts": ""} == {**second.texts, "facts": ""}
    assert first.texts["facts"] == second.texts["facts"]
    assert first.figures == second.figures


def test_the_page_is_the_same_each_time(data, deep, tmp_path, monkeypatch):
    X, y, _ = data
    pages = []
    for name in ("a.html", "b.html"):
        text = report(deep, X, y, out=tmp_path / name).read_text()
        pages.append(text[: text.index("<footer>")])
    assert pages[0] == pages[1]


@pytest.mark.parametrize("kind", [FMRegressor, DeepFMRegressor])
def test_everything_of_a_regressor(kind, data, tmp_path):
    X, y, sizes = data
    numbers = 3.0 + 2.0 * (y == "none")
    model = kind(3, **OPTIONS)
    if kind is DeepFMRegressor:
        model.set_params(fields=sizes, dnn_hidden_units=(4,))
    page = page_of(tmp_path, model.fit(X, numbers), X, numbers)
    assert list(page.figures) == NUMBER_FIGURES + (FIELD_FIGURES if kind is DeepFMRegressor else [])
    assert all(name in page.texts["metrics"] for name in ("RMSE", "MAE", "MSE", "R²"))
    if kind is FMRegressor:
        assert "does not know which features belong together" in page.texts["no-importance"]
        assert "does not know which features belong together" in page.texts["no-interactions"]


def test_few_features_need_no_fields(data, tmp_path):
    X, y, _ = data
    model = FMClassifier(2, **OPTIONS).fit(X[:, :20], y)
    page = page_of(tmp_path, model, X[:, :20], y)
    assert list(page.figures) == CLASS_FIGURES + FIELD_FIGURES
    assert "20 features" in page.figures["importance"]["alt"]
    assert "feature 3" in page.texts["importance-table"]


def test_constant_numbers(data, tmp_path):
    X, *_ = data
    model = FMRegressor(0, **OPTIONS).fit(X, np.full(X.shape[0], 7.0))
    page = page_of(tmp_path, model, X[:1], [7.0])
    assert list(page.figures) == NUMBER_FIGURES
    assert "R²" not in page.texts["metrics"]


def test_tables(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    table = {
        "user <b>": rng.integers(9, size=n),
        "$city$": np.array(["Rome", "用户", "x" * 300], object)[rng.integers(3, size=n)],
        "price": rng.normal(size=n),
        "tags": ["|".join(rng.choice(["a", "b", "c"], rng.integers(1, 4), replace=False)) for _ in range(n)],
    }
    columns = [SparseFeat("user <b>"), SparseFeat("$city$"), DenseFeat("price"), VarLenSparseFeat("tags")]
    model = FMClassifier(3, encoder=TableEncoder(columns), **OPTIONS).fit(table, rng.integers(2, size=n))
    page = page_of(tmp_path, model, table, rng.integers(2, size=n), title="Clicks & <views>")
    assert list(page.figures) == CLASS_FIGURES + FIELD_FIGURES
    assert "4: user <b>, $city$, price, tags" in page.texts["facts"]
    assert "user <b>" in page.texts["importance-table"]
    text = (tmp_path / "report.html").read_text()
    assert "<title>Clicks &amp; &lt;views&gt;</title>" in text
    # Rows that the encoder has made do as well.
    encoded = page_of(tmp_path, model, model.encoder_.transform(table), rng.integers(2, size=n))
    assert list(encoded.figures) == CLASS_FIGURES + FIELD_FIGURES


def test_one_class_alone(data, deep, tmp_path):
    X, y, _ = data
    rows = y == "none"
    page = page_of(tmp_path, deep, X[rows], y[rows])
    assert "roc" not in page.figures
    assert page.texts["no-roc"] == (
        "The ROC curve is left out: it needs rows of both classes, and all are of none."
    )
    assert "no AUC" in page.texts["no-auc"]
    assert {"calibration", "scores"} <= set(page.figures)


def test_weights(data, deep, tmp_path):
    X, y, _ = data
    weight = np.ones(len(y))
    weight[:300] = 0
    odd = y.copy()
    weighted = page_of(tmp_path, deep, X, odd, sample_weight=weight)
    plain = page_of(tmp_path, deep, X[300:], y[300:])
    assert weighted.texts["metrics"] == plain.texts["metrics"]
    assert weighted.figures["roc"] == plain.figures["roc"]


def test_one_row(data, deep, tmp_path):
    X, y, _ = data
    page = page_of(tmp_path, deep, X[:1], y[:1])
    assert {"calibration", "scores", *FIELD_FIGURES} <= set(page.figures)


def test_models_without_pairs_and_of_one_field(data, tmp_path):
    X, y, sizes = data
    linear = FMClassifier(0, **OPTIONS).fit(X, y)
    linear.fields_ = FieldLayout.from_sizes(sizes)
    page = page_of(tmp_path, linear, X, y)
    assert "importance" in page.figures
    assert "pairs add nothing" in page.texts["no-interactions"]
    assert "none: a linear model" in page.texts["facts"]
    single = FMClassifier(2, **OPTIONS).fit(X, y)
    single.fields_ = FieldLayout.from_sizes([X.shape[1]])
    page = page_of(tmp_path, single, X, y)
    assert "one field alone" in page.texts["no-interactions"]


def test_constant_probabilities(data, tmp_path):
    X, y, _ = data
    model = FMClassifier(0, **OPTIONS).fit(X, y)
    model._model.params.linear[:] = 0
    assert list(page_of(tmp_path, model, X, y).figures) == CLASS_FIGURES


@pytest.mark.parametrize("n_fields", [39, 200])
def test_many_fields(n_fields, data, deep, tmp_path, monkeypatch):
    """The map is moved sideways on a narrow screen, and the page stays small."""
    X, y, _ = data
    monkeypatch.setattr(FittedFM, "explain", lambda self, X: explanation_of(n_fields, deep=0.5))
    page = page_of(tmp_path, deep, X, y)
    assert page.figures["interactions"]["class"] == "wide"
    assert "moves sideways" in page.figures["interactions"]["caption"]
    assert ("140 fields with weaker" in page.figures["interactions"]["caption"]) == (n_fields == 200)
    assert "fields are not shown" in page.figures["importance"]["caption"]


def test_some_of_many_rows_are_explained(data, deep, tmp_path, monkeypatch):
    X, y, _ = data
    seen = []
    monkeypatch.setattr(module, "_EXPLAINED_ROWS", 100)
    monkeypatch.setattr(FittedFM, "explain", lambda self, X: seen.append(X) or explanation_of(5))
    for rows in (X, scipy.sparse.coo_array(X), X.toarray(), X.toarray().tolist()):
        page_of(tmp_path, deep, rows, y)
    dense = [part.toarray() if scipy.sparse.issparse(part) else np.asarray(part) for part in seen]
    assert all(part.shape == (100, X.shape[1]) for part in dense)
    for part in dense[1:]:
        np.testing.assert_array_equal(part, dense[0])


def test_frames_keep_their_names(data, tmp_path):
    """Without a warning of scikit-learn's that names are missing."""
    pandas = pytest.importorskip("pandas")
    X, y, sizes = data
    frame = pandas.DataFrame(X.toarray(), columns=[f"x{column}" for column in range(X.shape[1])])
    model = DeepFMClassifier(2, fields=sizes, dnn_hidden_units=(2,), **OPTIONS).fit(frame, y)
    assert "interactions" in page_of(tmp_path, model, frame, y).figures
    some = module._some_rows
    try:
        module._EXPLAINED_ROWS, kept = 50, module._EXPLAINED_ROWS
        assert list(some(frame).columns) == list(frame.columns)
    finally:
        module._EXPLAINED_ROWS = kept


def test_settings_of_matplotlib_do_not_matter(data, deep, tmp_path):
    import matplotlib as mpl

    X, y, _ = data
    first = page_of(tmp_path, deep, X, y)
    with mpl.rc_context({"text.color": "red", "axes.labelcolor": "red", "axes.facecolor": "yellow"}):
        second = page_of(tmp_path, deep, X, y)
    assert first.figures == second.figures
    assert "#ff0000" not in (tmp_path / "report.html").read_text()


# Bad input


def test_bad_input(data, deep, tmp_path):
    X, y, _ = data
    out = tmp_path / "report.html"
    out.write_text("before")
    cases = [
        ((deep, X, y[:5]), {}, "y has 5 entries, but X has inconsistent"),
        ((deep, X, np.array(["other"] * len(y))), {}, "other"),
        ((deep, X, None), {}, "y is None"),
        ((deep, X[:, :7], y), {}, "X has 7 features, but"),
        ((deep, X, y), {"sample_weight": np.zeros(len(y))}, "sample_weight is zero for every row"),
        ((deep, X, y), {"sample_weight": -np.ones(len(y))}, "sample_weight"),
        ((deep, X, y), {"title": 3}, "title=3 must be text, or None"),
        ((deep, X[:0], y[:0]), {}, "0 sample"),
        ((3, X, y), {}, "model=3 must be a fitted FMClassifier"),
        ((FMClassifier, X, y), {}, "must be a fitted FMClassifier"),
    ]
    for arguments, options, text in cases:
        with pytest.raises(ValueError, match=text) as caught:
            report(*arguments, out=out, **options)
        # How many columns there are is looked at by scikit-learn.
        assert isinstance(caught.value, InputError) or "7 features" in text
    with pytest.raises(NotFittedError):
        report(FMClassifier(), X, y, out=out)
    assert out.read_text() == "before"
    assert os.listdir(tmp_path) == ["report.html"]


def test_bad_targets_of_numbers(data, tmp_path):
    X, *_ = data
    model = FMRegressor(2, **OPTIONS).fit(X, np.arange(X.shape[0]) / 100)
    with pytest.raises(InputError, match="y contains NaN"):
        report(model, X, np.full(X.shape[0], np.nan), out=tmp_path / "r.html")


def test_places_that_cannot_be_written(data, deep, tmp_path, monkeypatch):
    """Told before any work."""
    X, y, _ = data
    monkeypatch.setattr(FittedFM, "_raw_scores", None)
    with pytest.raises(InputError, match=r"lies in the folder .* which does not exist"):
        report(deep, X, y, out=tmp_path / "none" / "r.html")
    with pytest.raises(InputError, match="is a folder"):
        report(deep, X, y, out=tmp_path)


def test_a_page_appears_whole_or_not_at_all(data, deep, tmp_path, monkeypatch):
    X, y, _ = data
    out = tmp_path / "report.html"
    out.write_text("before")

    def stop(self, X):
        raise KeyboardInterrupt

    monkeypatch.setattr(FittedFM, "explain", stop)
    with pytest.raises(KeyboardInterrupt):
        report(deep, X, y, out=out)
    assert out.read_text() == "before"
    assert os.listdir(tmp_path) == ["report.html"]
