"""Text that commands show: curves, tables, figures and score lines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastfm_deep.cli import chart, tables, texts


def test_curves_stand_at_their_values():
    got = chart.learning_curves(
        {"one": [1.0, 0.0], "two": [0.5, 0.5]}, {"least": 0.0}, signs=chart.ASCII, height=5, width=9
    )
    assert got.splitlines() == [
        "   1.0000 |**",
        "          |  *",
        "          |ooooooooo",
        "   0.2500 |      *",
        "          |. . . .**",
        "          +---------",
        "           1       2  epoch",
        "           * one",
        "           o two",
        "           . least",
    ]


def test_a_curve_of_one_epoch_and_one_with_gaps():
    single = chart.learning_curves({"one": [0.5]}, signs=chart.ASCII, height=3, width=4).splitlines()
    assert single[0] == "   0.5000 |****"
    gaps = chart.learning_curves({"one": [1.0, math.nan, 0.0, 0.0]}, signs=chart.ASCII, height=3, width=4)
    assert [line.partition("|")[2] for line in gaps.splitlines()[:3]] == ["*", "", "  **"]


def test_curves_that_end_at_different_epochs_share_one_axis():
    lines = chart.learning_curves({"a": [1.0, 1.0, 1.0], "b": [0.0]}, signs=chart.ASCII, height=3, width=5)
    assert [line.partition("|")[2] for line in lines.splitlines()[:3]] == ["*****", "", "o"]


@pytest.mark.parametrize("curves", [{}, {"none": []}, {"lost": [math.nan]}])
def test_nothing_to_draw(curves):
    assert chart.learning_curves(curves) == ""


def test_many_epochs_are_numbered_as_room_allows():
    axis = chart.learning_curves({"one": list(np.linspace(1, 0, 500))}).splitlines()[-2]
    numbers = [int(word) for word in axis.split()[:-1]]
    assert numbers[0] == 1
    assert numbers == sorted(numbers)
    assert 8 <= len(numbers) <= 20


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (950.4, "950"),
        (999.6, "1k"),
        (84_512, "84.5k"),
        (999_499, "999k"),
        (1_920_000, "1.92M"),
        (3e9, "3G"),
    ],
)
def test_short_counts(number, expected):
    assert tables.short_count(number) == expected


def record(epoch: int, auc: float) -> dict[str, float]:
    return {"epoch": epoch, "seconds": 0.5, "rows_per_second": 2e6, "train_loss": 0.25, "eval_0_auc": auc}


def test_the_table_marks_the_best_epoch_so_far():
    written: list[str] = []
    table = tables.EpochTable(written.append, ["auc"], greater_is_better=True)
    table.on_fit_begin(1000, 3)
    for epoch, auc in enumerate([0.7, 0.6, 0.8], start=1):
        table.on_rows(500, 0.3)
        table.on_epoch_end(record(epoch, auc))
    table.on_fit_end()
    assert written == [
        " epoch   seconds   rows/s   train loss       valid auc\n",
        "     1      0.50       2M      0.25000         0.70000  *\n",
        "     2      0.50       2M      0.25000         0.60000\n",
        "     3      0.50       2M      0.25000         0.80000  *\n",
    ]


def test_on_a_terminal_the_epoch_under_way_is_overwritten():
    written: list[str] = []
    table = tables.EpochTable(written.append, live=True)
    table.on_fit_begin(1000, 3)
    table.on_rows(500, 0.3)
    table.on_epoch_end(record(1, 0.7))
    table.on_rows(250, 0.3)
    table.on_fit_end()
    assert written[1:] == [
        "\r     1      50 %               0.30000",
        "\r     1      0.50       2M      0.25000\n",
        "\r     2      25 %               0.30000",
        "\n",
    ]


def test_score_lines_give_float32_back():
    scores = np.random.default_rng(0).normal(size=40_000).astype(np.float32) * np.float32(1e-3)
    blocks = list(texts.score_lines(scores))
    assert len(blocks) > 1
    assert np.array_equal(np.array("".join(blocks).split(), np.float32), scores)
    assert list(texts.score_lines(scores[:0])) == []
