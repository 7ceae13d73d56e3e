"""The models of `bench_scorer.py` in onnxruntime and PyTorch, put together by hand to be fast.

All take rows of a fixed number of non-zeros. One table holds what a feature has: k factors, its weight and, where
all values are 1, the squared length of its factors. Then one gather and one sum give all that the score needs:

    raw = b + sum w + 1/2 (|sum v|^2 - sum |v|^2)

A network takes the gathered rows as they are; the rows of its first matrix that belong to other columns are zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastfm_deep.nn.mlp import parts_of


class Weights(NamedTuple):
    """Numbers of a model, as the rivals take them."""

    table: np.ndarray  # float32 (n_features, k + 2): factors, weight, squared length of the factors
    bias: float
    layers: list  # of (matrix, bias), the final unit last; empty for an FM

    @property
    def k(self):
        return self.table.shape[1] - 2


def weights_of(model):
    """Those of an estimator: an FM, or a DeepFM of one-hot fields, in their order, with relu."""
    factors = model.factors_
    lengths = np.einsum("ij,ij->i", factors, factors)
    table = np.column_stack([factors, model.coef_, lengths]).astype(np.float32)
    deep, layers = model._model.deep, []
    if deep is not None:
        parts = parts_of(deep.shape, deep.parameters)
        biases = [*(vectors[0] for vectors in parts.vectors), parts.bias]
        layers = [(np.array(matrix), np.array(bias)) for matrix, bias in zip(parts.weights, biases, strict=True)]
    return Weights(table, float(model.intercept_), layers)


def gathered_layers(weights, width, n_fields):
    """Layers that take whole rows of a table of this width."""
    (first, bias), *others = weights.layers
    wide = np.zeros((n_fields, width, first.shape[1]), np.float32)
    wide[:, : weights.k] = first.reshape(n_fields, weights.k, -1)
    return [(wide.reshape(n_fields * width, -1), bias), *others]


# onnxruntime ------------------------------------------------------------------------------------------------


def onnx_bytes(weights, n_fields, with_values):
    """A model that takes ids int32 (n, n_fields), and values float32 likewise if not all are 1."""
    from onnx import TensorProto, checker, helper, numpy_helper

    k, nodes, constants = weights.k, [], []

    def constant(name, values, dtype=np.float32):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def node(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    table = weights.table[:, : k + 1] if with_values else weights.table
    width = table.shape[1]
    last, fields = constant("last", [-1], np.int64), constant("fields", [1], np.int64)
    rows = node("Gather", [constant("table", table), "ids"], "gathered")
    if with_values:
        rows = node("Mul", [rows, node("Unsqueeze", ["values", last], "column")], "rows")
    sums = node("ReduceSum", [rows, fields], "sums", keepdims=0)
    halves = np.zeros((width, 1), np.float32)
    halves[:k] = 0.5
    rest = np.zeros((width, 1), np.float32)
    rest[k:] = [[1.0]] if with_values else [[1.0], [-0.5]]
    squares = node("Mul", [sums, sums], "squares")
    if with_values:
        squares = node("Sub", [squares, node("ReduceSumSquare", [rows, fields], "lengths", keepdims=0)], "pairs")
    linear = node("Gemm", [sums, constant("rest", rest), constant("bias", [weights.bias])], "linear")
    raw = node("Gemm", [squares, constant("halves", halves), linear], "raw")
    if weights.layers:
        x = node("Reshape", [rows, constant("flat", [-1, n_fields * width], np.int64)], "x")
        layers = gathered_layers(weights, width, n_fields)
        for place, (matrix, bias) in enumerate(layers):
            inputs = [x, constant(f"matrix{place}", matrix), constant(f"bias{place}", bias)]
            x = node("Gemm", inputs, f"out{place}")
            if place < len(layers) - 1:
                x = node("Relu", [x], f"hidden{place}")
        raw = node("Add", [raw, x], "deep")
    node("Sigmoid", [raw], "scores")
    shape = ["n", n_fields]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT32, shape)]
    if with_values:
        inputs.append(helper.make_tensor_value_info("values", TensorProto.FLOAT, shape))
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 1])]
    graph = helper.make_graph(nodes, "scores", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


def onnx_session(weights, n_fields, n_threads, with_values):
    """`n_threads` 0: as many as onnxruntime thinks best."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    model = onnx_bytes(weights, n_fields, with_values)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def onnx_row_scorers(weights, n_fields):
    """Functions of one row, each an array (1, n_fields), by their names."""
    found = {}
    for name, n_threads in (("1 thread", 1), ("default", 0)):
        session = onnx_session(weights, n_fields, n_threads, True)
        found[f"onnxruntime, {name}"] = _onnx_row(session)
    found["onnxruntime, 1 thread, bound"] = _onnx_bound_row(onnx_session(weights, n_fields, 1, True), n_fields)
    return found


def _onnx_row(session):
    names, run = ["scores"], session.run
    return lambda ids, values: run(names, {"ids": ids, "values": values})[0][0, 0]


def _onnx_bound_row(session, n_fields):
    """Inputs and outputs that stay where they are; each row is copied there."""
    import onnxruntime

    ids, values = np.zeros((1, n_fields), np.int32), np.zeros((1, n_fields), np.float32)
    out = np.zeros((1, 1), np.float32)
    binding = session.io_binding()
    kept = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in (ids, values, out)]
    # On the CPU these are no copies.
    binding.bind_ortvalue_input("ids", kept[0])
    binding.bind_ortvalue_input("values", kept[1])
    binding.bind_ortvalue_output("scores", kept[2])
    run, views = session.run_with_iobinding, [value.numpy() for value in kept]
    shared = [np.shares_memory(view, array) for view, array in zip(views, (ids, values, out), strict=True)]

    def score(row_ids, row_values):
        if all(shared):
            ids[:], values[:] = row_ids, row_values
        else:
            kept[0].update_inplace(row_ids)
            kept[1].update_inplace(row_values)
        run(binding)
        return out[0, 0] if all(shared) else kept[2].numpy()[0, 0]

    return score


def onnx_batches(weights, n_fields, n_threads):
    """A function of ids (n, n_fields) whose values are all 1."""
    session = onnx_session(weights, n_fields, n_threads, False)
    return lambda ids: session.run(["scores"], {"ids": ids})[0][:, 0]


# PyTorch ----------------------------------------------------------------------------------------------------


def torch_row_model(weights, n_fields):
    import torch
    from torch import nn
    from torch.nn import functional

    k = weights.k
    layers = gathered_layers(weights, k + 1, n_fields) if weights.layers else []

    class Row(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.from_numpy(weights.table[:, : k + 1].copy()))
            modules = []
            for matrix, bias in layers:
                linear = nn.Linear(*matrix.shape)
                linear.weight.data, linear.bias.data = torch.from_numpy(matrix.T.copy()), torch.from_numpy(bias)
                modules += [linear, nn.ReLU()]
            self.network = nn.Sequential(*modules[:-1]) if modules else None
            self.bias = weights.bias

        def forward(self, ids, values):
            rows = functional.embedding(ids, self.table) * values.unsqueeze(-1)
            sums = rows.sum(1)
            factors = rows[:, :, :k]
            pairs = sums[:, :k].square().sum(1) - factors.square().sum((1, 2))
            raw = sums[:, k] + 0.5 * pairs + self.bias
            if self.network is not None:
                raw = raw + self.network(rows.flatten(1))[:, 0]
            return raw.sigmoid()

    return Row().eval()


def torch_row_scorers(weights, n_fields, compiled):
    """Functions of one row, each a tensor (1, n_fields), by their names."""
    import torch

    model = torch_row_model(weights, n_fields)
    example = torch.zeros((1, n_fields), dtype=torch.int32), torch.ones((1, n_fields))
    with torch.inference_mode():
        # What it says of its own future is no matter here.
        traced = torch.jit.freeze(torch.jit.trace(model, example))
    models = {"PyTorch, eager": model, "PyTorch, jit": traced}
    if compiled:
        models["PyTorch, compiled"] = torch.compile(model, dynamic=False)

    def scorer(module):
        def score(ids, values):
            with torch.inference_mode():
                return module(ids, values).item()

        return score

    return {name: scorer(module) for name, module in models.items()}


def torch_batches(weights):
    """Functions of ids (n, n_fields), a tensor, whose values are all 1, by their names.

    The first two are a factorization machine as the textbooks have it; the last one sums the folded table.
    """
    import torch
    from torch.nn import functional

    table, k = torch.from_numpy(weights.table), weights.k

    def scores(sums):
        pairs = sums[:, :k].square().sum(1) - sums[:, k + 1]
        return (sums[:, k] + 0.5 * pairs + weights.bias).sigmoid()

    def folded_bag(ids):
        with torch.inference_mode():
            return scores(functional.embedding_bag(ids, table, mode="sum")).numpy()

    factors, linear = table[:, :k].contiguous(), table[:, k : k + 1].contiguous()
    squared = factors.square()

    def bags(ids):
        with torch.inference_mode():
            sums = functional.embedding_bag(ids, factors, mode="sum")
            lengths = functional.embedding_bag(ids, squared, mode="sum")
            weight = functional.embedding_bag(ids, linear, mode="sum")[:, 0]
            return (weight + 0.5 * (sums.square() - lengths).sum(1) + weights.bias).sigmoid().numpy()

    def gather(ids):
        with torch.inference_mode():
            rows = functional.embedding(ids, factors)
            pairs = rows.sum(1).square().sum(1) - rows.square().sum((1, 2))
            weight = functional.embedding(ids, linear).sum((1, 2))
            return (weight + 0.5 * pairs + weights.bias).sigmoid().numpy()

    return {"gather": gather, "EmbeddingBag": bags, "EmbeddingBag, folded": folded_bag}
