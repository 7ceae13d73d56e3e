"""DeepFM in plain PyTorch with `nn.Embedding(sparse=True)` and PyTorch's own optimizers for sparse gradients."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from competitors.contract import Outcome, Rows, Task, missing
from competitors.torch_by_hand import INIT_STD, as_tensors, log_odds, set_threads

# The best after one epoch of another click log of 300,000 rows (seed 1): of tables, of network.
RATES = {"adagrad": (0.02, 0.02), "adam": (0.003, 0.001)}


class TorchSparse:
    batch_sizes = (1024, 2048, 4096, 8192)

    def __init__(self, name: str, optimizer: str) -> None:
        self.name = name
        self._optimizer = optimizer

    def why_not(self) -> str | None:
        return missing("torch")

    def prepare(self, train: Rows, test: Rows) -> Any:
        return as_tensors(train), as_tensors(test), train.n_features

    def fit_and_score(self, rows: Any, task: Task) -> Outcome:
        import torch

        set_threads(task.n_threads)
        (ids, y), (test, _), n_features = rows
        torch.manual_seed(task.seed)
        model = _deepfm(n_features, ids.shape[1], task, log_odds(float(y.mean())))
        table_rate, dense_rate = RATES[self._optimizer]
        if task.learning_rate is not None:
            table_rate = task.learning_rate
        optimizers = _optimizers(model, self._optimizer, table_rate, dense_rate)
        loss = torch.nn.BCEWithLogitsLoss()
        batch_size = task.batch_size or self.batch_sizes[0]
        seconds = []
        for _ in range(task.n_epochs):
            started = time.perf_counter()
            for chosen in torch.randperm(len(y)).split(batch_size):
                for optimizer in optimizers:
                    optimizer.zero_grad(set_to_none=True)
                loss(model(ids.index_select(0, chosen)), y.index_select(0, chosen)).backward()
                for optimizer in optimizers:
                    optimizer.step()
            seconds.append(time.perf_counter() - started)
        with torch.no_grad():
            probabilities = np.concatenate([model(part).sigmoid().numpy() for part in test.split(8192)])
        return Outcome(seconds, len(y), probabilities, f"batch {batch_size}")


def _deepfm(n_features: int, n_fields: int, task: Task, intercept: float) -> Any:
    import torch
    from torch import nn

    class DeepFM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factors = nn.Embedding(n_features, task.n_factors, sparse=True)
            self.linear = nn.Embedding(n_features, 1, sparse=True)
            nn.init.normal_(self.factors.weight, std=INIT_STD)
            nn.init.zeros_(self.linear.weight)
            layers: list[nn.Module] = []
            n_inputs = n_fields * task.n_factors
            for n_units in task.hidden_units:
                layers += [nn.Linear(n_inputs, n_units), nn.ReLU(inplace=True)]
                n_inputs = n_units
            self.network = nn.Sequential(*layers, nn.Linear(n_inputs, 1))
            for layer in self.network:
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)
            self.intercept = nn.Parameter(torch.tensor(intercept))

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            vectors = self.factors(ids)
            flat = vectors.flatten(1)
            pairs = 0.5 * (vectors.sum(1).square().sum(1) - flat.square().sum(1))
            return self.intercept + self.linear(ids).sum((1, 2)) + pairs + self.network(flat).squeeze(1)

    return DeepFM()


def _optimizers(model: Any, name: str, table_rate: float, dense_rate: float) -> list[Any]:
    import torch

    tables = [model.factors.weight, model.linear.weight]
    others = [*model.network.parameters(), model.intercept]
    if name == "adam":
        return [torch.optim.SparseAdam(tables, lr=table_rate), torch.optim.Adam(others, lr=dense_rate)]
    # Its gradients are means over the batch: sums of squares start where they do not drown those.
    return [
        torch.optim.Adagrad(tables, lr=table_rate, initial_accumulator_value=1e-6),
        torch.optim.Adagrad(others, lr=dense_rate, initial_accumulator_value=1e-4),
    ]
