"""The libraries that `compare_libraries.py` runs: one file each, all with the face of `Competitor`."""

from __future__ import annotations

from competitors.contract import Competitor
from competitors.deepctr_torch import DeepCTR
from competitors.numpy_loop import NumpyLoop
from competitors.ours import Ours
from competitors.torch_by_hand import TorchByHand
from competitors.torch_sparse import TorchSparse

COMPETITORS: dict[str, Competitor] = {
    competitor.name: competitor
    for competitor in (
        Ours(),
        TorchByHand("torch-rowwise", rowwise=True),
        TorchByHand("torch-by-hand", rowwise=False),
        TorchSparse("torch-sparse-adagrad", "adagrad"),
        TorchSparse("torch-sparse-adam", "adam"),
        DeepCTR(),
        NumpyLoop(),
    )
}
"""By name, ours first."""
