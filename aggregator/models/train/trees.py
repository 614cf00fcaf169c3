"""The boosted model, the seed's discipline without its leak and its five classifiers beside it, and trees as ONNX and JSON.

Order: split first (by kind, topology and seed), then noise of 0.01 standard deviations, scaling, scaled noise of 0.005, and
synthetic minority rows (SMOTE, k = 5), all on training rows alone. No identifier and nothing made from the label is a column.
"""
import json
import os
import tempfile

import numpy as np
from imblearn.over_sampling import SMOTE
from onnx import helper as h

THREADS = int(os.environ.get("THREADS", "2"))
ROWS_MAX = 60_000
MINORITY_MAX = 8_000


def prepare(x, y, seed):
    """Training rows with noise and synthetic sick ones. Trees need no scaling; noise is in units of each column's spread."""
    rng = np.random.default_rng(seed)
    sick, well = np.flatnonzero(y > 0.5), np.flatnonzero(y <= 0.5)
    sick = rng.permutation(sick)[:MINORITY_MAX]
    well = rng.permutation(well)[:ROWS_MAX - len(sick)]
    at = np.sort(np.concatenate([sick, well]))
    x, y = x[at].astype(np.float32), y[at].astype(np.int64)
    spread = x.std(0, keepdims=True)
    x = x + rng.normal(0, 0.01, x.shape).astype(np.float32) * spread
    x = x + rng.normal(0, 0.005, x.shape).astype(np.float32) * spread
    # A column that says "unknown" is 0 or 1 and never in between.
    flags = np.all(np.isin(np.round(x, 1), (0, 1)), axis=0)
    n_wanted = max(int(0.25 * len(well)), int((y > 0.5).sum()))
    x, y = SMOTE(sampling_strategy={1: n_wanted}, k_neighbors=5, random_state=seed).fit_resample(x, y)
    x[:, flags] = np.round(x[:, flags])
    return x.astype(np.float32), y


class Boosted:
    """Gradient boosting whose trees can be read."""

    def __init__(self, model):
        self.model = model

    def predict(self, rows):
        """The sum of leaves, row by row."""
        return self.model.predict(rows, prediction_type="RawFormulaVal", thread_count=THREADS)


def ours(x, y, seed, rising=None, n_trees=300):
    """Gradient boosting over symmetric trees. `rising`, 1 for a column of which more may not count for less sickness, is for comparison: on
    unseen kinds it costs a tenth of the precision, in symmetric trees and in others."""
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(depth=6, iterations=n_trees, learning_rate=0.06, l2_leaf_reg=5.0, rsm=0.5, thread_count=THREADS, random_seed=seed,
                               verbose=0, allow_writing_files=False, monotone_constraints=rising)
    return Boosted(model.fit(x, y))


def five(seed):
    """The seed's classifiers, by name; made when asked for."""
    from catboost import CatBoostClassifier
    from sklearn.ensemble import AdaBoostClassifier, HistGradientBoostingClassifier
    from sklearn.tree import DecisionTreeClassifier
    from xgboost import XGBClassifier

    return {
        "CatBoost": lambda: CatBoostClassifier(depth=6, iterations=200, learning_rate=0.1, thread_count=THREADS, random_seed=seed,
                                               verbose=0, allow_writing_files=False),
        "XGBoost": lambda: XGBClassifier(max_depth=6, n_estimators=200, learning_rate=0.1, n_jobs=THREADS, random_state=seed),
        "HistGradientBoosting": lambda: HistGradientBoostingClassifier(max_iter=200, random_state=seed),
        "AdaBoost": lambda: AdaBoostClassifier(n_estimators=30, random_state=seed),
        "DecisionTree": lambda: DecisionTreeClassifier(max_depth=8, min_samples_leaf=20, random_state=seed),
    }


def flatten(boosted):
    """Trees as lists of nodes: (feature, threshold, low child, high child) or (value,), with the rows that reached each; the last one is the
    constant. A level of a symmetric tree asks all its nodes the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.json")
        boosted.model.save_model(path, format="json")
        with open(path, encoding="utf8") as file:
            told = json.load(file)
    scale, (bias,) = told["scale_and_bias"]
    columns = [feature["flat_feature_index"] for feature in told["features_info"]["float_features"]]
    trees, n_rows = [], 1
    for tree in told["oblivious_trees"]:
        nodes = []

        def walk(level, leaf):
            at = len(nodes)
            nodes.append(None)
            if level == 0:
                # A symmetric tree has leaves that no row reached; as shares of rows they count as half a row.
                nodes[at] = {"value": scale * tree["leaf_values"][leaf], "cover": max(tree["leaf_weights"][leaf], 0.5)}
                return at
            split = tree["splits"][level - 1]
            assert split["split_type"] == "FloatFeature"
            low = walk(level - 1, leaf)
            high = walk(level - 1, leaf + (1 << (level - 1)))
            # CatBoost asks x > border in 32 bits, as ONNX does x <= threshold.
            nodes[at] = {"feature": columns[split["float_feature_index"]], "threshold": float(np.float32(split["border"])), "low": low, "high": high,
                         "cover": nodes[low]["cover"] + nodes[high]["cover"]}
            return at

        walk(len(tree["splits"]), 0)
        n_rows = nodes[0]["cover"]
        trees.append(nodes)
    return [*trees, [{"value": bias, "cover": n_rows}]]


def margin(trees, x):
    """The sum of leaves, walked one by one: the oracle of the exports."""
    total = np.zeros(len(x))
    for nodes in trees:
        for row, values in enumerate(x):
            node = nodes[0]
            while "value" not in node:
                node = nodes[node["low"] if values[node["feature"]] <= node["threshold"] else node["high"]]
            total[row] += node["value"]
    return total


def to_onnx(trees, name_in, name_out):
    """One node that sums the leaves."""
    cols = {key: [] for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    leaves = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    for tree, nodes in enumerate(trees):
        for at, node in enumerate(nodes):
            is_leaf = "value" in node
            cols["treeids"].append(tree)
            cols["nodeids"].append(at)
            cols["featureids"].append(0 if is_leaf else node["feature"])
            cols["values"].append(0.0 if is_leaf else node["threshold"])
            cols["modes"].append("LEAF" if is_leaf else "BRANCH_LEQ")
            cols["truenodeids"].append(0 if is_leaf else node["low"])
            cols["falsenodeids"].append(0 if is_leaf else node["high"])
            if is_leaf:
                leaves["treeids"].append(tree)
                leaves["nodeids"].append(at)
                leaves["ids"].append(0)
                leaves["weights"].append(node["value"])
    attributes = {"nodes_" + key: value for key, value in cols.items()}
    attributes |= {"target_" + key: value for key, value in leaves.items()}
    return h.make_node("TreeEnsembleRegressor", [name_in], [name_out], domain="ai.onnx.ml", n_targets=1,
                       aggregate_function="SUM", post_transform="NONE", **attributes)


def save_json(trees, names, path):
    """What exact contributions are computed from."""
    with open(path, "w", encoding="utf8") as file:
        json.dump({"format": 1, "features": names, "trees": trees}, file, separators=(",", ":"))
