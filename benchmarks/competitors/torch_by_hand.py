"""DeepFM in plain PyTorch, as fast as we can write it: no autograd, no dense gradients, no new memory in a batch.

A batch takes each of its columns out of the tables once, whatever the ids that it repeats: rows of the tables are
read, updated by AdaGrad and written back. Forward and backward pass are written out, on preallocated tensors. What
makes it fast, each against its plain form (one thread, batches of 1024 to 4096): columns numbered by a scatter of
positions, not by `torch.unique` (0.4 µs a row, not 1.4); gradients added up per column of the batch, not by
`index_add_` of scaled copies on the whole table (in all up to 8 % faster); squares of factors taken per column;
the linear gradient standing in for -v_i g of the pairs. `torch.compile` of the two passes gained about 10 % of
them and takes 8 to 25 s to compile: not used.

Where it is `rowwise`, AdaGrad keeps one sum of squares for a vector of factors instead of one for each factor.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from competitors.contract import Outcome, Rows, Task, missing

if TYPE_CHECKING:
    import torch

# Of tables and network: the best after one epoch of another click log of 300,000 rows (seed 1), in batches of 1024
# or 2048; larger ones make too few steps for as low a logloss, whatever the rate.
LEARNING_RATE, DENSE_RATE = 0.03, 0.03
# What the sums of squares start with; gradients of the tables are sums over the batch, those of the network means.
FIRST_SQUARE, FIRST_DENSE_SQUARE = 10.0, 1e-4
INIT_STD = 0.01


class TorchByHand:
    batch_sizes = (1024, 2048, 4096, 8192)

    def __init__(self, name: str, rowwise: bool) -> None:
        self.name = name
        self._rowwise = rowwise

    def why_not(self) -> str | None:
        return missing("torch")

    def prepare(self, train: Rows, test: Rows) -> Any:
        return as_tensors(train), as_tensors(test), train.n_features

    def fit_and_score(self, rows: Any, task: Task) -> Outcome:
        import torch

        set_threads(task.n_threads)
        (ids, y), (test, _), n_features = rows
        torch.manual_seed(task.seed)
        rate = LEARNING_RATE if task.learning_rate is None else task.learning_rate
        batch_size = task.batch_size or self.batch_sizes[0]
        seconds = []
        with torch.no_grad():
            start = log_odds(float(y.mean()))
            model = _Model(n_features, ids.shape[1], task, batch_size, rate, self._rowwise, start)
            for _ in range(task.n_epochs):
                started = time.perf_counter()
                for chosen in torch.randperm(len(y)).split(batch_size):
                    model.update(ids, y, chosen)
                seconds.append(time.perf_counter() - started)
            probabilities = np.concatenate([model.score(part).numpy() for part in test.split(8192)])
        return Outcome(seconds, len(y), probabilities, f"batch {batch_size}")


def set_threads(n_threads: int) -> None:
    """Threads of PyTorch; those between operations can be set once in a process."""
    import torch

    torch.set_num_threads(n_threads)
    torch.set_flush_denormal(True)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)


def as_tensors(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (n_rows, n_fields) as int64, which is what PyTorch's indexing is fastest with, and labels as float32."""
    import torch

    return torch.from_numpy(rows.ids.astype(np.int64)), torch.from_numpy(rows.y.astype(np.float32))


def log_odds(rate: float) -> float:
    """Where the intercept starts, as ours does."""
    return float(np.log(rate / (1.0 - rate)))


class _Network:
    """Relu layers and a final linear unit on one flat vector, trained by AdaGrad."""

    def __init__(self, n_inputs: int, hidden_units: tuple[int, ...], batch_size: int) -> None:
        import torch

        widths = (n_inputs, *hidden_units, 1)
        self._shapes = list(itertools.pairwise(widths))
        n_weights = sum(n_in * n_out for n_in, n_out in self._shapes)
        self._flat, self._gradients, self._scratch = torch.zeros(3, n_weights + sum(widths[1:])).unbind()
        self._squares = torch.full_like(self._flat, FIRST_DENSE_SQUARE)
        self._weights, self._biases = self._parts(self._flat)
        self._weight_gradients, self._bias_gradients = self._parts(self._gradients)
        for matrix in self._weights[:-1]:
            matrix.normal_(0.0, (2.0 / matrix.shape[0]) ** 0.5)
        bound = (6.0 / (widths[-2] + 1)) ** 0.5
        self._weights[-1].uniform_(-bound, bound)
        self._outs = [torch.empty(batch_size, width) for width in widths[1:-1]]
        self._backs = [torch.empty(batch_size, width) for width in widths[:-1]]

    def _parts(self, flat: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        sizes = [n_in * n_out for n_in, n_out in self._shapes] + [n_out for _, n_out in self._shapes]
        pieces = flat.split(sizes)
        n_layers = len(self._shapes)
        weights = [piece.view(shape) for piece, shape in zip(pieces[:n_layers], self._shapes, strict=True)]
        return weights, list(pieces[n_layers:])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Answers (n_rows,), and the inputs of each layer."""
        import torch

        inputs = [x]
        for weights, bias, room in zip(self._weights[:-1], self._biases[:-1], self._outs, strict=True):
            inputs.append(torch.addmm(bias, inputs[-1], weights, out=room[: len(x)]).relu_())
        return torch.addmv(self._biases[-1], inputs[-1], self._weights[-1][:, 0]), inputs

    def backprop(self, inputs: list[torch.Tensor], gradient: torch.Tensor) -> torch.Tensor:
        """Gradient of the inputs (n_rows, n_inputs); those of the parameters are kept."""
        import torch

        back = gradient[:, None]
        for layer in range(len(self._weights) - 1, -1, -1):
            torch.mm(inputs[layer].t(), back, out=self._weight_gradients[layer])
            torch.sum(back, 0, out=self._bias_gradients[layer])
            back = torch.mm(back, self._weights[layer].t(), out=self._backs[layer][: len(gradient)])
            if layer:
                torch.ops.aten.threshold_backward.grad_input(back, inputs[layer], 0, grad_input=back)
        return back

    def update(self, n_rows: int) -> None:
        import torch

        self._gradients.mul_(1.0 / n_rows)
        self._squares.addcmul_(self._gradients, self._gradients)
        root = torch.sqrt(self._squares, out=self._scratch)
        self._flat.addcdiv_(self._gradients, root, value=-DENSE_RATE)


class _Model:
    def __init__(
        self,
        n_features: int,
        n_fields: int,
        task: Task,
        batch_size: int,
        rate: float,
        rowwise: bool,
        intercept: float,
    ) -> None:
        import torch

        k, n_values = task.n_factors, batch_size * n_fields
        self._rate, self._rowwise = rate, rowwise
        self._intercept, self._intercept_square = torch.tensor(intercept), FIRST_SQUARE
        self._factors = torch.empty(n_features, k).normal_(0.0, INIT_STD)
        self._squares = torch.full((n_features,) if rowwise else (n_features, k), FIRST_SQUARE)
        self._linear = torch.zeros(n_features)
        self._linear_squares = torch.full((n_features,), FIRST_SQUARE)
        self._network = _Network(n_fields * k, task.hidden_units, batch_size)
        # Room of a batch, so that no page of memory is new in one.
        self._position_of = torch.zeros(n_features, dtype=torch.int64)
        self._positions = torch.arange(n_values)
        self._ids = torch.empty(batch_size, n_fields, dtype=torch.int64)
        self._wide = torch.empty(3, n_values, dtype=torch.int64).unbind()
        self._is_first = torch.empty(n_values, dtype=torch.bool)
        self._vectors, self._gradients = torch.empty(2, n_values, k).unbind()
        self._narrow = torch.empty(3, n_values).unbind()

    def _unique_columns(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The different ones of `ids`, and for each of `ids` its number among them.

        Each column remembers one of the positions where it stands; the position that is remembered counts.
        """
        import torch

        n = len(ids)
        positions, (remembered, numbers, inverse) = self._positions[:n], (room[:n] for room in self._wide)
        self._position_of.scatter_(0, ids, positions)
        torch.index_select(self._position_of, 0, ids, out=remembered)
        is_first = torch.eq(remembered, positions, out=self._is_first[:n])
        torch.cumsum(is_first, 0, out=numbers)
        torch.index_select(numbers, 0, remembered, out=inverse)
        return torch.masked_select(ids, is_first), inverse.sub_(1)

    def update(self, ids: torch.Tensor, y: torch.Tensor, chosen: torch.Tensor) -> None:
        """One update on the rows `chosen`."""
        import torch

        n_rows, n_fields = len(chosen), ids.shape[1]
        n_values = n_rows * n_fields
        ids = torch.index_select(ids, 0, chosen, out=self._ids[:n_rows]).view(-1)
        columns, inverse = self._unique_columns(ids)
        v, w = self._factors.index_select(0, columns), self._linear.index_select(0, columns)
        vectors = torch.index_select(v, 0, inverse, out=self._vectors[:n_values]).view(n_rows, n_fields, -1)
        # Of a value: its linear weight, less half of the square that pairs must not count.
        per_column = w.sub(torch.linalg.vector_norm(v, dim=1).square_(), alpha=0.5)
        per_value = torch.index_select(per_column, 0, inverse, out=self._narrow[0][:n_values])
        total = vectors.sum(1)
        answers, inputs = self._network.forward(vectors.view(n_rows, -1))
        raw = answers.add_(per_value.view(n_rows, n_fields).sum(1)).add_(self._intercept)
        gradient = raw.add_(total.square().sum(1), alpha=0.5).sigmoid_().sub_(y.index_select(0, chosen))
        back = self._network.backprop(inputs, gradient).view(n_rows, n_fields, -1)
        back.add_(total.mul_(gradient[:, None])[:, None, :])
        spread = self._narrow[1][:n_values]
        spread.view(n_rows, n_fields).copy_(gradient[:, None].expand(n_rows, n_fields))
        w_gradient = self._narrow[2][: len(columns)].zero_().index_add_(0, inverse, spread)
        v_gradient = self._gradients[: len(columns)].zero_().index_add_(0, inverse, back.view(n_values, -1))
        v_gradient.addcmul_(v, w_gradient[:, None], value=-1.0)
        self._update_columns(columns, (v, v_gradient), (w, w_gradient))
        self._update_intercept(float(gradient.sum()))
        self._network.update(n_rows)

    def _update_columns(self, columns: torch.Tensor, v: tuple[Any, Any], w: tuple[Any, Any]) -> None:
        import torch

        (factors, gradient), (linear, linear_gradient) = v, w
        squares = self._squares.index_select(0, columns)
        if self._rowwise:
            squares.add_(torch.linalg.vector_norm(gradient, dim=1).square_(), alpha=1.0 / gradient.shape[1])
        else:
            squares.addcmul_(gradient, gradient)
        self._squares.index_copy_(0, columns, squares)
        roots = squares.sqrt_()
        factors.addcdiv_(gradient, roots[:, None] if self._rowwise else roots, value=-self._rate)
        self._factors.index_copy_(0, columns, factors)
        squares = self._linear_squares.index_select(0, columns).addcmul_(linear_gradient, linear_gradient)
        self._linear_squares.index_copy_(0, columns, squares)
        linear.addcdiv_(linear_gradient, squares.sqrt_(), value=-self._rate)
        self._linear.index_copy_(0, columns, linear)

    def _update_intercept(self, gradient: float) -> None:
        self._intercept_square += gradient * gradient
        self._intercept -= self._rate * gradient / self._intercept_square**0.5

    def score(self, ids: torch.Tensor) -> torch.Tensor:
        """Probabilities (n_rows,)."""
        vectors, n_rows = self._factors[ids], len(ids)
        total, flat = vectors.sum(1), vectors.view(n_rows, -1)
        raw = self._intercept + self._linear[ids].sum(1)
        raw += 0.5 * (total.square().sum(1) - flat.square().sum(1))
        parts = flat.split(len(self._ids))  # the room of the network
        done = 0
        for part in parts:
            raw[done : done + len(part)] += self._network.forward(part)[0]
            done += len(part)
        return raw.sigmoid_()
