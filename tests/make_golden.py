"""Write the model files that later versions must load, with the scores they must give.

    python tests/make_golden.py 2

The number is that of the file format, 1 of plain files and 2 of smaller ones; files that are there stay.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from fastfm_deep import DeepFMClassifier, DeepFMRegressor, FieldLayout, FMClassifier, FMRegressor, load_model
from fastfm_deep.datasets import make_ctr

FOLDER = Path(__file__).parent / "data"
SIZES = [6, 5, 4, 1]
SMALLER = {
    "fm_classifier": {"dtype": "int8", "prune": 0.05},
    "fm_regressor": {"dtype": "bfloat16"},
    "deepfm_classifier": {"dtype": "bfloat16", "prune": 0.1},
    "deepfm_regressor": {"dtype": "int8"},
}


def rows_to_score() -> np.ndarray:
    """Rows (40, 16) that any version makes alike: ids in turn, two in the second field, some fields empty."""
    X = np.zeros((40, sum(SIZES)), np.float32)
    for row in range(40):
        first = 0
        for field, size in enumerate(SIZES):
            if (row + field) % 7:
                X[row, first + (row * (field + 1)) % size] = 1.0 + (row % 3) / 2
            first += size
        X[row, SIZES[0] + (row * 3) % SIZES[1]] = 0.5
    return X


def answers_of(model) -> list[float]:
    """Raw scores or predictions of `rows_to_score`."""
    answer = model.decision_function if hasattr(model, "decision_function") else model.predict
    return [float(number) for number in answer(rows_to_score())]


def make(number: int) -> None:
    X, y, _ = make_ctr(300, len(SIZES), sum(SIZES), random_state=0)
    target = 2.0 * y - X[:, [0]].toarray().ravel()
    fields = FieldLayout.from_sizes(SIZES, pooling=["sum", "mean", "max", "sqrtn"])
    deep = {"fields": fields, "dnn_hidden_units": (4, 3), "dnn_batch_norm": True, "batch_size": 50}
    models = {
        "fm_classifier": FMClassifier(3, random_state=0).fit(X, y),
        "fm_regressor": FMRegressor(3, random_state=0, optimizer="ftrl", clip=True).fit(X, target),
        "deepfm_classifier": DeepFMClassifier(3, random_state=0, **deep).fit(X, y),
        "deepfm_regressor": DeepFMRegressor(3, random_state=0, dnn_activation="gelu").fit(X, target),
    }
    scores = {}
    for name, model in models.items():
        path = FOLDER / f"{name}_{number}.safetensors"
        model.save(path, **({"include_optimizer": True} if number == 1 else SMALLER[name]))
        scores[name] = answers_of(model if number == 1 else load_model(path))
    (FOLDER / f"scores_{number}.json").write_text(json.dumps(scores) + "\n")


if __name__ == "__main__":
    make(int(sys.argv[1]))
