"""The examples run, say what they promise, and learn what they planted."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from table_tools import INTERPRETED

EXAMPLES = Path(__file__).parent.parent / "examples"
NUMBER = r"(-?\d+\.\d+)"


@pytest.fixture
def run(capsys):
    """Run an example as a script; what it prints and what it writes to standard error."""
    if INTERPRETED:
        pytest.skip("the kernels are not compiled: too slow")

    def run(name: str) -> tuple[str, str]:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr()

    return run


def figures(line: str, text: str) -> list[float]:
    """The numbers in the line that begins so."""
    found = re.search(rf"^{re.escape(line)}(.*)$", text, re.MULTILINE)
    assert found, text
    return [float(number) for number in re.findall(NUMBER, found[1])]


def test_every_example_is_tested_and_tells_how_to_run_it():
    tested = set(re.findall(r'run\("(\w+\.py)"\)', Path(__file__).read_text()))
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested
    for path in EXAMPLES.glob("*.py"):
        assert f"    python examples/{path.name}\n" in path.read_text()


def test_dense_bits(run):
    out, err = run("dense_bits.py")
    assert err == ""
    fm, deep = figures("FM ", out), figures("FM+network", out)
    assert max(fm) < 0.6
    assert min(deep) > 0.9
    answer = re.search(rf"row \[1, 0, 0, 1, 1, 0, 1, 0, 0, 1\]: label True, probability {NUMBER}", out)
    assert float(answer[1]) > 0.9


def test_recommender(run):
    out, err = run("recommender.py")
    assert err == ""
    auc, best = figures("AUC", out)
    assert best - 0.06 < auc < best
    predicted, truth = figures("probability that user 7 likes item 42:", out)
    assert predicted == pytest.approx(truth, abs=0.15)
    assert len(re.findall(r"^ +\d+  [a-z]+ +0\.\d+ +0\.\d+$", out, re.MULTILINE)) == 5
    top, every = figures("mean truth of the 10 best:", out)
    assert top > every + 0.3


def test_mixed_fields(run):
    out, err = run("mixed_fields.py")
    assert err == ""
    (fm_loss, fm_auc), (loss, auc), (best_loss, best_auc) = (
        figures(name, out) for name in ("FM ", "DeepFM ", "the truth ")
    )
    assert fm_auc + 0.1 < auc < best_auc
    assert best_loss < loss < fm_loss - 0.05


def test_ratings(run):
    out, err = run("ratings.py")
    lines = err.splitlines()
    assert len(lines) == 80
    watched = [float(re.search(rf", train_mse={NUMBER}$", line)[1]) for line in lines]
    assert watched[39] < 0.1 * watched[0]
    assert watched[79] < 0.1 * watched[40]
    assert len(re.findall(rf"^ +{NUMBER} +{NUMBER}$", out, re.MULTILINE)) == 16
    errors = re.findall(rf"^mean squared error {NUMBER}, of a linear model {NUMBER}$", out, re.MULTILINE)
    assert len(errors) == 2
    for found, linear in errors:
        assert float(found) < 0.2 * float(linear)
