"""Makes the small models the tests open: python3 make.py (package onnx)."""
import os

import onnx
from onnx import TensorProto as T, helper as h, numpy_helper
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
HISTORY = h.make_tensor_value_info("history", T.FLOAT, ["shards", 2, 3])
EDGES = h.make_tensor_value_info("edges", T.INT64, [2, "edges"])
SICK = h.make_tensor_value_info("sick", T.FLOAT, ["shards"])
SOON = h.make_tensor_value_info("soon", T.FLOAT, ["shards"])


def const(name, value, dtype=np.float32):
    return numpy_helper.from_array(np.array(value, dtype=dtype), name)


def save(name, nodes, inputs, outputs, constants):
    graph = h.make_graph(nodes, name, inputs, outputs, constants)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, os.path.join(HERE, name + ".onnx"))


def mean(name, bias, scale=1.0):
    """sick = sigmoid(scale * mean(history) + bias), and what a shard's neighbours' means add up to as `soon`."""
    nodes = [
        h.make_node("ReduceMean", ["history", "axes"], ["mean"], keepdims=0),
        h.make_node("Mul", ["mean", "scale"], ["scaled"]),
        h.make_node("Add", ["scaled", "bias"], ["logit"]),
        h.make_node("Sigmoid", ["logit"], ["sick"]),
        h.make_node("Split", ["edges"], ["from", "to"], axis=0, num_outputs=2),
        h.make_node("Squeeze", ["from", "zero"], ["source"]),
        h.make_node("Squeeze", ["to", "zero"], ["target"]),
        h.make_node("Gather", ["mean", "source"], ["sent"], axis=0),
        h.make_node("Sub", ["mean", "mean"], ["nothing"]),
        h.make_node("ScatterElements", ["nothing", "target", "sent"], ["received"], axis=0, reduction="add"),
        h.make_node("Sigmoid", ["received"], ["soon"]),
    ]
    constants = [const("axes", [1, 2], np.int64), const("zero", [0], np.int64), const("scale", scale), const("bias", bias)]
    save(name, nodes, [HISTORY, EDGES], [SICK, SOON], constants)


def odd(name, nodes, constants):
    save(name, nodes, [HISTORY], [SICK], [const("axes", [1, 2], np.int64), *constants])


mean("mean", 0.0)
mean("nearly", 0.05)
mean("other", 3.0)
reduce = h.make_node("ReduceMean", ["history", "axes"], ["mean"], keepdims=0)
odd("nan", [reduce, h.make_node("Sub", ["mean", "mean"], ["z"]), h.make_node("Div", ["z", "z"], ["sick"])], [])
odd("beyond", [reduce, h.make_node("Add", ["mean", "two"], ["sick"])], [const("two", 2.0)])
# A score for each row that is not nothing: of a blank batch, none.
odd("some", [reduce, h.make_node("NonZero", ["mean"], ["at"]), h.make_node("Squeeze", ["at", "zero"], ["which"]),
             h.make_node("Cast", ["which"], ["whole"], to=T.FLOAT), h.make_node("Sigmoid", ["whole"], ["sick"])],
    [const("zero", [0], np.int64)])
