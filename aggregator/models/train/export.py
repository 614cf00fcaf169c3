"""Transformer and trees as one ONNX file: `history` and `edges` in, `sick` and `soon` out. Checked against torch before it counts."""
import hashlib
import json

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper as h, numpy_helper

import trees as forest


def net_to_onnx(net, fused, n_features, path):
    """The learned part and what the trees read: `net_sick`, `net_soon`, `fused`. Sums over edges are scatter_add, which exports exactly."""
    # The whole of it: the exporter puts every part back into the state that the whole had.
    shipped = Shipped(net, fused).eval()
    history = torch.randn(5, 16, n_features)
    edges = torch.tensor([[0, 1, 1, 0, 3], [1, 0, 0, 1, 2]])
    torch.onnx.export(
        shipped, (history, edges), path, input_names=["history", "edges"], output_names=["net_sick", "net_soon", "fused"], dynamo=False,
        opset_version=17, dynamic_axes={"history": {0: "shards"}, "edges": {1: "edges"}, "net_sick": {0: "shards"}, "net_soon": {0: "shards"}, "fused": {0: "shards"}},
    )
    return onnx.load(path)


class Shipped(torch.nn.Module):
    """What is shipped of the heads, and the features of the trees."""

    def __init__(self, net, fused):
        super().__init__()
        self.net, self.fused = net, fused

    def forward(self, history, edges):
        fused = self.fused(history)
        sick, soon, _ = self.net(history, edges, fused)
        return sick, soon, fused


def combine(model, trees, weights, path):
    """sick = sigmoid(a · transformer + b · trees + c); soon likewise. A weight of 0 leaves its part out of `sick`."""
    graph = model.graph
    constants = {
        "hsw_flat": np.array([-1], np.int64), "hsw_a": np.float32(weights["net"]), "hsw_b": np.float32(weights["trees"]),
        "hsw_c": np.float32(weights["bias"]), "hsw_sa": np.float32(weights["soon_scale"]), "hsw_sb": np.float32(weights["soon_bias"]),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    graph.node.extend([
        forest.to_onnx(trees, "fused", "hsw_margin2"),
        h.make_node("Reshape", ["hsw_margin2", "hsw_flat"], ["hsw_margin"]),
        h.make_node("Mul", ["net_sick", "hsw_a"], ["hsw_an"]),
        h.make_node("Mul", ["hsw_margin", "hsw_b"], ["hsw_bt"]),
        h.make_node("Add", ["hsw_an", "hsw_bt"], ["hsw_both"]),
        h.make_node("Add", ["hsw_both", "hsw_c"], ["hsw_logit"]),
        h.make_node("Sigmoid", ["hsw_logit"], ["sick"]),
        h.make_node("Mul", ["net_soon", "hsw_sa"], ["hsw_sn"]),
        h.make_node("Add", ["hsw_sn", "hsw_sb"], ["hsw_slogit"]),
        h.make_node("Sigmoid", ["hsw_slogit"], ["soon"]),
    ])
    del graph.output[:]
    graph.output.extend(h.make_tensor_value_info(name, TensorProto.FLOAT, ["shards"]) for name in ("sick", "soon"))
    # Contributions of the trees' features are computed from these.
    graph.output.append(h.make_tensor_value_info("fused", TensorProto.FLOAT, ["shards", weights["fused"]]))
    model.opset_import.append(h.make_opsetid("ai.onnx.ml", 3))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def agreement(path, net, fused, trees, weights, n_features, seed=1):
    """Largest difference of `sick` and `soon` between this file in ONNX Runtime and torch, with repeated edges and many sizes. Trees jump at
    their thresholds, so they are walked over the features that this file made, and those are compared by themselves."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    worst = 0.0
    for n in (1, 3, 64, 300):
        history = (3 * rng.standard_normal((n, 16, n_features))).astype(np.float32)
        edges = np.concatenate([rng.integers(0, n, (2, 4 * n)), np.zeros((2, 3), np.int64), np.full((2, 2), n - 1)], axis=1)
        edges = np.concatenate([edges, edges[:, : n]], axis=1).astype(np.int64)
        sick, soon, told = session.run(["sick", "soon", "fused"], {"history": history, "edges": edges})
        with torch.no_grad():
            made = fused(torch.tensor(history))
            a, s, _ = net(torch.tensor(history), torch.tensor(edges), made)
            assert np.abs(told - made.numpy()).max() < 1e-3, "the features of the trees differ"
            margin = forest.margin(trees, told)
        logit = weights["net"] * a.numpy() + weights["trees"] * margin + weights["bias"]
        expected = 1 / (1 + np.exp(-logit))
        expected_soon = 1 / (1 + np.exp(-(weights["soon_scale"] * s.numpy() + weights["soon_bias"])))
        worst = max(worst, float(np.abs(sick - expected).max()), float(np.abs(soon - expected_soon).max()))
    return worst


def check_batch(n, n_features):
    """The batch of tests/bench inference, by the same rule in whole numbers."""
    at = np.arange(n * 16 * n_features, dtype=np.int64)
    history = ((at * 7919) % 4001).astype(np.float32) / np.float32(500) - np.float32(4)
    edge = np.arange(2 * n)
    return history.reshape(n, 16, n_features), np.stack([edge % n, (edge * 7 + 1) % n]).astype(np.int64)


def write_check(path, net, fused, trees, weights, n_features, n=32):
    """What torch and the walk over the trees say of that batch."""
    history, edges = check_batch(n, n_features)
    with torch.no_grad():
        made = fused(torch.tensor(history))
        a, s, _ = net(torch.tensor(history), torch.tensor(edges), made)
        margin = forest.margin(trees, made.numpy())
    sick = 1 / (1 + np.exp(-(weights["net"] * a.numpy() + weights["trees"] * margin + weights["bias"])))
    soon = 1 / (1 + np.exp(-(weights["soon_scale"] * s.numpy() + weights["soon_bias"])))
    with open(path, "w", encoding="utf8") as file:
        json.dump({"sick": [round(float(p), 7) for p in sick], "soon": [round(float(p), 7) for p in soon]}, file)
        file.write("\n")


def sha256(path):
    """Of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def write_card(path, name, layout, n_fused, model_path, enabled, why, about):
    """The card: what the aggregator checks first, then what people read."""
    n_features = len(layout["columns"])
    card = {
        "format": 1, "name": name, "file": name + ".onnx", "sha256": sha256(model_path), "layout": layout["name"],
        "enabled": enabled, "why": why,
        "inputs": [{"name": "history", "dims": [-1, 16, n_features]}, {"name": "edges", "dims": [2, -1]}],
        "outputs": [{"name": "sick", "dims": [-1]}, {"name": "soon", "dims": [-1]}, {"name": "fused", "dims": [-1, n_fused]}],
        "trees": {"file": name + ".trees.json", "sha256": sha256(model_path.replace(".onnx", ".trees.json"))},
        "bounds": {"difference_mean_max": 0.05, "verdicts_differ_max": 0.02},
        **about,
    }
    with open(path, "w", encoding="utf8") as file:
        json.dump(card, file, indent=1)
        file.write("\n")
