"""`inspect`: what is told of a model, and the search for its strongest pairs."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from cli_tools import TRAINING, make_files

from fastfm_deep import FMClassifier, FMRegressor, load_model, read_text
from fastfm_deep.cli import main, strongest


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return make_files(tmp_path_factory.mktemp("files"))


def all_pairs(factors, occurs):
    """Every pair of columns that occur, the strongest first: the slow way."""
    columns = np.flatnonzero(occurs)
    products = factors[columns].astype(np.float64) @ factors[columns].astype(np.float64).T
    first, second = np.triu_indices(len(columns), 1)
    strengths = products[first, second]
    order = np.argsort(-np.abs(strengths), kind="stable")
    return [(columns[first[at]], columns[second[at]], strengths[at]) for at in order if strengths[at]]


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(("n_features", "n_factors", "n"), [(2, 1, 5), (7, 4, 30), (300, 3, 1), (700, 8, 12)])
def test_pairs_are_the_strongest_of_all(n_features, n_factors, n, spread):
    rng = np.random.default_rng(n_features)
    factors = rng.normal(size=(n_features, n_factors)) * np.exp(spread * rng.normal(size=(n_features, 1)))
    wide = np.zeros((n_features, n_factors + 3), np.float32)
    wide[:, :n_factors] = factors
    scale = rng.uniform(0.5, 2, n_features).astype(np.float32)
    occurs = rng.random(n_features) < 0.8
    occurs[:2] = True
    expected = all_pairs(wide[:, :n_factors] * scale[:, None], occurs)[:n]
    got = strongest.strongest_pairs(wide[:, :n_factors], scale, occurs, n)
    assert got.is_complete
    assert [pair[:2] for pair in got.pairs] == [pair[:2] for pair in expected]
    assert [pair.strength for pair in got.pairs] == pytest.approx([pair[2] for pair in expected], rel=1e-4)
    assert strongest.strongest_pairs(wide[:, :n_factors], 2.0, occurs, 1).pairs[0].strength == pytest.approx(
        4 * all_pairs(wide[:, :n_factors], occurs)[0][2], rel=1e-4
    )


def test_a_search_that_cannot_be_complete_says_so(monkeypatch):
    monkeypatch.setattr(strongest, "MOST_FEATURES", 4)
    factors = np.eye(6, dtype=np.float32)
    factors[4:] *= 0.9
    factors[5, 4] = 0.1  # the only pair that is no zero
    assert strongest.strongest_pairs(factors, 1.0, np.ones(6), 1) == ([], False)
    factors[1, 0] = 1.0
    assert strongest.strongest_pairs(factors, 1.0, np.ones(6), 1) == ([(0, 1, 1.0)], False)
    factors[:2] *= 10
    assert strongest.strongest_pairs(factors, 1.0, np.ones(6), 1) == ([(0, 1, 100.0)], True)


@pytest.mark.parametrize(
    ("factors", "occurs"),
    [
        (np.zeros((5, 3), np.float32), np.ones(5)),
        (np.ones((5, 3), np.float32), np.zeros(5)),
        (np.ones((5, 3), np.float32), np.arange(5) == 2),
    ],
)
def test_no_pairs(factors, occurs):
    assert strongest.strongest_pairs(factors, 1.0, occurs, 10) == ([], True)


def test_the_work_is_bounded():
    """Of many equally long vectors no bound helps; the search ends nevertheless, and says that it did."""
    rng = np.random.default_rng(0)
    factors = rng.choice(np.float32([-1, 1]), (300_000, 4))
    found = strongest.strongest_pairs(factors, 1.0, np.ones(len(factors), np.uint8), 3)
    assert [abs(pair.strength) for pair in found.pairs] == [4, 4, 4]
    harder = strongest.strongest_pairs(rng.normal(size=(300_000, 4)), 1.0, np.ones(len(factors)), 3)
    assert len(harder.pairs) == 3


def test_weights():
    coef = np.float32([0, -3, 2, 9, -2, 1])
    occurs = np.array([1, 1, 1, 0, 1, 1])
    assert strongest.strongest_weights(coef, occurs, 3) == [(1, -3.0), (2, 2.0), (4, -2.0)]
    assert len(strongest.strongest_weights(coef, occurs, 99)) == 5
    assert strongest.strongest_weights(coef, occurs, 0) == []
    assert strongest.strongest_weights(coef, 0 * occurs, 3) == []


def test_json_tells_all(files, capsys):
    assert main(["inspect", files["model"], "--json", "-n", "7"]) == 0
    result = json.loads(capsys.readouterr().out)
    model = load_model(files["model"])
    occurs = model._model.occurs
    expected = {
        "path": files["model"],
        "bytes": os.path.getsize(files["model"]),
        "class": "FMClassifier",
        "classes": [0.0, 1.0],
        "n_features": 200,
        "n_features_that_occur": int(occurs.sum()),
        "n_factors": 4,
        "intercept": model.intercept_,
        "optimizer_states": None,
        "ids": {"kind": "offset", "base": 1, "n_ids": 0},
        "n_fields": None,
        "hyper_parameters": model.get_params(),
        "n_epochs_trained": 3,
        "best_epoch": model.best_epoch_,
        "best_score": model.best_score_,
        "last_epoch": model.history_[-1],
        "strongest_pairs_complete": True,
    }
    assert {name: value for name, value in result.items() if name in expected} == expected
    weights = strongest.strongest_weights(model.coef_, occurs, 7)
    assert result["strongest_weights"] == [{"id": item.column + 1, "weight": item.weight} for item in weights]
    pairs = all_pairs(model.factors_, occurs)[:7]
    got = result["strongest_pairs"]
    assert [(item["id"], item["other_id"]) for item in got] == [(i + 1, j + 1) for i, j, _ in pairs]
    assert [item["strength"] for item in got] == pytest.approx([pair[2] for pair in pairs], rel=1e-5)


def test_strengths_are_what_scores_gain(files, capsys):
    """Two features at value 1 add their weights and the strength of their pair to the raw score."""
    model = load_model(files["model"])
    assert main(["inspect", files["model"], "--json", "-n", "1"]) == 0
    pair = json.loads(capsys.readouterr().out)["strongest_pairs"][0]
    i, j = pair["id"] - 1, pair["other_id"] - 1
    rows = np.zeros((4, 200))
    rows[[1, 3], i] = rows[[2, 3], j] = 1
    none, first, second, both = model.decision_function(rows)
    assert pair["strength"] == pytest.approx(both - first - second + none, rel=1e-4)


def test_what_is_shown(files, capsys):
    assert main(["inspect", files["model"], "--top", "2"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0].startswith(f"{files['model']}: FMClassifier, ")
    facts = {line[2:20].strip(): line[20:] for line in lines[1:8]}
    model = load_model(files["model"])
    assert facts["features"] == f"200, of which {model._model.occurs.sum()} occur in training"
    assert facts["ids"] == "from 1 to 200"
    assert facts["classes"] == "0.0, 1.0"
    last = model.history_[-1]
    assert facts["training"].startswith(
        f"3 epochs of 2,000 rows, the last with train loss {last['train_loss']:.5f}"
    )
    assert facts["training"].endswith(f"; best epoch {model.best_epoch_}: {model.best_score_:.5f}")
    assert "n_factors=4" in captured.out
    head = lines.index("strongest linear weights")
    assert lines[head + 1].split() == ["id", "weight"]
    assert lines[head + 5] == "strongest pairs of features"
    assert lines[head + 6].split() == ["id", "other", "id", "strength"]
    assert len(lines) == head + 9


def test_no_weights_and_no_pairs(files, capsys):
    assert main(["inspect", files["model"], "--top", "0"]) == 0
    assert "strongest" not in capsys.readouterr().out


def test_an_incomplete_search_is_told(files, capsys, monkeypatch):
    monkeypatch.setattr(strongest, "MOST_FEATURES", 2)
    assert main(["inspect", files["model"]]) == 0
    assert (
        "  (of the 2 features with the longest vectors of factors; others were not looked"
        in capsys.readouterr().out
    )


def test_a_linear_model_has_no_pairs(files, tmp_path, capsys):
    out = str(tmp_path / "m.safetensors")
    assert main(["train", files["train"], *TRAINING, "-k", "0", "--out", out, "-q", "--include-optimizer"]) == 0
    assert main(["inspect", out]) == 0
    text = capsys.readouterr().out
    assert "strongest linear weights" in text
    assert "pairs" not in text
    assert "states of adagrad are kept: training can go on" in text


def test_models_from_python(files, tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    data = read_text(files["rated"])
    path = str(tmp_path / "m.safetensors")
    columns = {f"größe {column}": data.X[:, [column]].toarray().ravel() * 100 for column in range(5)}
    model = FMRegressor(2, n_epochs=1, random_state=0).fit(pandas.DataFrame(columns), data.y)
    model.save(path)
    assert main(["inspect", path, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["class"], result["classes"], result["ids"]) == ("FMRegressor", None, None)
    assert {item["id"] for item in result["strongest_weights"]} <= set(columns)
    expected = all_pairs(model.factors_, model._model.occurs)
    assert result["strongest_pairs"][0]["strength"] == pytest.approx(expected[0][2], rel=1e-4)
    model = FMClassifier(2, n_epochs=1, class_weight={3.0: 1.0, 5.0: 2.0}).fit(data.X, data.y)
    model.save(path)
    assert main(["inspect", path]) == 0
    assert "ids               none: trained from Python" in capsys.readouterr().out
    assert main(["inspect", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hyper_parameters"]["class_weight"] == {"3.0": 1.0, "5.0": 2.0}
