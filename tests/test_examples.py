"""The examples run, say what they promise, and learn what they planted."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import pytest
from table_tools import INTERPRETED

EXAMPLES = Path(__file__).parent.parent / "examples"
# Where the examples look for public data sets, which no checkout holds.
DATA = Path(os.environ.get("FASTFM_DEEP_DATA", EXAMPLES.parents[1] / "shared" / "data"))
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


def need(folder: str) -> None:
    """Skip the test where a data set is not at hand."""
    if not (DATA / folder).is_dir():
        pytest.skip(f"there is no {DATA / folder}")


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


def test_table_to_recommendations(run):
    out, err = run("table_to_recommendations.py")
    assert err == ""
    auc, best = figures("5,871 test rows: AUC", out)
    assert best - 0.03 < auc < best
    assert len(re.findall(rf"^u[78] +[1-5]  i\d+ +{NUMBER}  {NUMBER}  [a-z|]+$", out, re.MULTILINE)) == 10
    top, every = figures("mean truth of these:", out)
    assert top > every + 0.25


def test_serve(run):
    out, err = run("serve.py")
    assert err == ""
    (first, best), (second, _) = (figures(name, out) for name in ("the first model: AUC", "the second model: AUC"))
    assert first + 0.05 < second < best
    assert "refused: The row has no column 'device', but 'user'. Give it, None where" in out
    was, became = re.search(rf"replaced: {NUMBER}, {NUMBER}; any other: none$", out, re.MULTILINE).groups()
    assert was != became
    ranked = re.findall(rf"^ +\d+  {NUMBER}  as a row of its own {NUMBER}$", out, re.MULTILINE)
    assert len(ranked) == 5
    assert all(float(score) == pytest.approx(float(whole), abs=0.0011) for score, whole in ranked)
    sizes = re.search(r"^(\d+) kB and (\d+) kB; largest change", out, re.MULTILINE)
    assert int(sizes[2]) < int(sizes[1])
    assert 0.0 < float(re.search(rf"of a probability: {NUMBER}$", out, re.MULTILINE)[1]) < 0.02


def test_the_snippets_about_scoring_run(tmp_path, monkeypatch):
    if INTERPRETED:
        pytest.skip("the kernels are not compiled: too slow")
    text = (EXAMPLES.parent / "docs" / "scoring.md").read_text()
    *snippets, models = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(snippets) >= 6
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in (models, *snippets):
        exec(code, names)
    assert names["ids"].tolist() == [1, 2]
    row = names["row"]
    found = names["scorer"].score_dict(row)
    said = [
        float(number) for number in re.findall(rf"^scorer\.score_dict\(.*\)  # {NUMBER}\b", text, re.MULTILINE)
    ]
    assert len(said) == 3
    expected = [found, found, names["scorer"].score_dict(row, raw=True)]
    assert said == pytest.approx(expected, abs=0.0051)
    assert names["plain"].score_dict(row) == pytest.approx(found, abs=1e-6)


def test_movielens_table(run):
    need("ml100k")
    out, err = run("movielens_table.py")
    assert err == ""
    ids, every = (figures(name, out)[0] for name in ("ids alone", "all columns"))
    assert every < ids - 0.001
    assert every < 0.93
    assert 1.0 < figures("a new war drama, for user 1:", out)[0] < 5.0


def test_porto_seguro(run):
    need("porto_seguro_10k")
    out, err = run("porto_seguro.py")
    assert err == ""
    auc, loss = figures("2,000 test rows: AUC", out)
    assert auc > 0.56
    assert loss < 0.19  # of the share of positives alone: 0.183


def test_deepctr_samples(run):
    need("deepctr_samples")
    out, err = run("deepctr_samples.py")
    assert err == ""
    for name in ("Criteo", "Avazu", "MovieLens", "census"):
        assert len(figures(name, out)) >= 4


@pytest.mark.parametrize("name", ["movielens_table.py", "porto_seguro.py", "deepctr_samples.py"])
def test_without_data_they_say_where_to_get_them(name, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTFM_DEEP_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"set FASTFM_DEEP_DATA\.$"):
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
