"""The score of one row: the kernels of `model.score`, without what scoring many rows prepares each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastfm_deep.data.rows import CsrRows
from fastfm_deep.kernels import fm
from fastfm_deep.model.deep import DeepScores
from fastfm_deep.model.params import FMModel, blocks_for, for_scoring, lanes_for
from fastfm_deep.model.score import exact_score

if TYPE_CHECKING:
    from collections.abc import Sequence


class RowScorer:
    """Scores single rows of a model; may be asked by several threads at once.

    Parameters
    ----------
    model : FMModel
    """

    def __init__(self, model: FMModel) -> None:
        self.model = model
        self._params = for_scoring(model)
        padded = self._params.padded_factors
        self._lanes, self._blocks = lanes_for(padded), blocks_for(padded)
        self._deep = None if model.deep is None else DeepScores(model.deep, self._params, model.n_factors)
        self._index_type = np.int32 if model.n_features < 2**31 else np.int64

    def score(self, ids: Sequence[int], values: Sequence[float]) -> float:
        """What the tables say to a row, before `center`, `scale` and link function.

        Parameters
        ----------
        ids : sequence of int
            Each once, below the width of the model.
        values : sequence of float
            Finite as float32, and pooled.
        """
        parts = np.array((0, len(ids)), np.int64), np.array(ids, self._index_type), np.array(values, np.float32)
        for part in parts:
            part.flags.writeable = False
        rows, out = CsrRows(*parts), np.empty(1)
        if self._deep is None:
            fm.score_rows(rows, self._params, self._lanes, self._blocks, out)
        else:
            self._deep.compute(rows, out)
        found = float(out[0])
        return found if -np.inf < found < np.inf else exact_score(self.model, rows, 0)
