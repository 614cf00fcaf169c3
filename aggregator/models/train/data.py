"""What `tests/evaluate features` wrote: runs of the simulator as rows of the layout, with truth, and how they are split.

A run is one seed and one topology. Rows are (window, shard). Nothing of a held-out kind, of its runs or of what follows it
is ever trained on; noise and synthetic rows are made after the split, of training rows alone.
"""
import glob
import json
import os
from dataclasses import dataclass, field

import numpy as np

N_STEPS = 16
# A row is looked at from here on: models of the usual need their time.
WARM_WINDOWS = 540
# Of the windows every third is looked at.
EVERY = 3
# After a fault has ended, and nothing that it left undone is owed any more, its shard recovers: neither sick nor well.
RECOVERY_WINDOWS = 60
# A fault cannot be seen in the window in which it begins, nor can one that comes and goes where it comes again.
BLIND_WINDOWS = 2
SOON_WINDOWS = 600


@dataclass
class Run:
    """One simulated cluster over time."""

    path: str
    seed: int
    shards: list
    is_router: np.ndarray
    edges: np.ndarray
    rows: np.ndarray  # (window, shard, feature), memory-mapped
    bases: np.ndarray  # (window, shard, base)
    truth: list = field(default_factory=list)
    names: list = None  # of all kinds
    made: np.ndarray = None  # (window that is looked at, shard, feature of the trees)

    def fuse(self, make, name):
        """Fused features of every window from the first that counts on, kept in a file beside the run."""
        path = f"{self.path}.{name}.npy"
        if not os.path.exists(path):
            windows = range(WARM_WINDOWS, self.n_windows, EVERY)
            parts = [windows[at:at + 32] for at in range(0, len(windows), 32)]
            told = [make(np.concatenate([history(self, w) for w in part]), len(part)) for part in parts]
            np.save(path + ".new.npy", np.concatenate(told))
            os.replace(path + ".new.npy", path)
        self.made = np.load(path, mmap_mode="r")

    def fused(self, windows):
        """Fused features of windows that are looked at: (window, shard, feature)."""
        return np.asarray(self.made[(np.asarray(windows) - WARM_WINDOWS) // EVERY])

    @property
    def n_windows(self):
        return self.rows.shape[0]

    def labels(self, families):
        """sick, soon, family (0 = none), and rows that are neither sick nor well."""
        n, s = self.rows.shape[:2]
        sick = np.zeros((n, s), np.float32)
        soon = np.zeros((n, s), np.float32)
        family = np.zeros((n, s), np.int64)
        ignored = np.zeros((n, s), bool)
        ignored[:WARM_WINDOWS] = True
        # No fault acts on a router, so nothing says of one that it is sick or well: those dragged along by a shard are neither.
        ignored[:, self.is_router] = True
        for fault in self.truth:
            at, a, b = fault["at"], fault["from"], fault["to"]
            sick[a:b, at] = 1
            soon[max(0, a - SOON_WINDOWS):b, at] = 1
            family[a:b, at] = 1 + families.index(fault["family"])
            # While its cause does not act (a ramp's first second, the pauses of one that comes and goes) a shard is neither.
            acts = np.array(fault["levels"]) > 0
            seen = acts.copy()
            for back in range(1, BLIND_WINDOWS + 1):
                seen[:back] = False
                seen[back:] &= acts[:-back]
            ignored[a:b, at] |= ~seen[:max(0, n - a)]
            ignored[b:max(b, fault["settled"]) + RECOVERY_WINDOWS, at] = True
        return sick, soon, family, ignored

    def kinds(self):
        """The kind of fault that works at (window, shard), by its place among all; -1 where none does."""
        kind = np.full(self.rows.shape[:2], -1, np.int64)
        for fault in self.truth:
            kind[fault["from"]:fault["to"], fault["at"]] = self.names.index(fault["kind"])
        return kind

    def active(self, kinds):
        """Windows in which a fault of one of these kinds works, or its traces do."""
        at = np.zeros(self.n_windows, bool)
        for fault in self.truth:
            if fault["kind"] in kinds:
                at[fault["from"]:fault["to"] + RECOVERY_WINDOWS] = True
        return at


def load(folder):
    """All runs, in order of their names, and what they have in common."""
    with open(os.path.join(folder, "layout.json"), encoding="utf8") as file:
        layout = json.load(file)
    n_features, bases = len(layout["columns"]), layout["bases"]
    runs = []
    for path in sorted(glob.glob(os.path.join(folder, "run-*.json"))):
        with open(path, encoding="utf8") as file:
            about = json.load(file)
        shape = (about["windows"], len(about["shards"]))
        stem = path[:-len(".json")]
        rows = np.memmap(stem + ".rows.f32", np.float32, "r", shape=(*shape, n_features))
        base = np.memmap(stem + ".bases.f32", np.float32, "r", shape=(*shape, len(bases)))
        edges = np.array(about["edges"], np.int64).reshape(-1, 2).T
        router = np.array(about["is_router"], bool)
        runs.append(Run(stem, about["seed"], about["shards"], router, edges, rows, base, about["truth"]))
    kinds = sorted({fault["kind"] for run in runs for fault in run.truth})
    layout["families"] = sorted({fault["family"] for run in runs for fault in run.truth})
    for run in runs:
        run.names = kinds
    return runs, kinds, layout


def folds(kinds, n_held_out=5, seed=1):
    """Kinds in a fixed random order, five at a time, so that each is held out once."""
    order = np.random.default_rng(seed).permutation(sorted(kinds))
    return [sorted(order[i:i + n_held_out].tolist()) for i in range(0, len(order), n_held_out)]


def split(runs, fold):
    """Runs to train on and runs to test on: every third run, by fold, is never trained on."""
    train = [run for i, run in enumerate(runs) if i % 3 != fold % 3]
    test = [run for i, run in enumerate(runs) if i % 3 == fold % 3]
    return train, test


def snapshots(run, families, held_out, rng, stride_quiet=12, stride_sick=3):
    """Windows of a training run worth a look: not those in which a held-out kind works, more of those in which something does."""
    sick, _, _, _ = run.labels(families)
    forbidden = run.active(held_out)
    busy = sick.any(axis=1)
    usable = ~forbidden
    usable[:WARM_WINDOWS] = False
    # A row looks back N_STEPS windows; none of these may be forbidden either.
    for back in range(1, N_STEPS):
        usable[back:] &= ~forbidden[:-back]
    at = np.flatnonzero(usable)
    phase_quiet, phase_sick = (EVERY * rng.integers(stride // EVERY) for stride in (stride_quiet, stride_sick))
    chosen = np.where(busy[at], at % stride_sick == phase_sick, at % stride_quiet == phase_quiet)
    return at[chosen]


def history(run, window):
    """(shard, step, feature) that ends at a window."""
    block = run.rows[window - N_STEPS + 1:window + 1]
    return np.ascontiguousarray(block.transpose(1, 0, 2))


def table(runs, families, held_out, seed):
    """Rows for the boosted models: fused features, sick, and the kind at work (-1 = none)."""
    rng = np.random.default_rng(seed)
    xs, ys, ks = [], [], []
    for run in runs:
        sick, _, _, ignored = run.labels(families)
        kind = run.kinds()
        for window in snapshots(run, families, held_out, rng):
            keep = ~ignored[window]
            xs.append(run.fused(window)[keep])
            ys.append(sick[window][keep])
            ks.append(kind[window][keep])
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(ks)


def test_windows(run, kinds, held_out):
    """Windows of a test run in which no kind works that was trained on."""
    seen = run.active(set(kinds) - set(held_out))
    at = np.arange(WARM_WINDOWS, run.n_windows, EVERY)
    return at[~seen[at]]


def average_precision(y, score):
    """Area under precision over recall, ties counted together (as scikit-learn's)."""
    order = np.argsort(-score, kind="stable")
    y, score = y[order], score[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    hits = np.cumsum(y)[last]
    if hits[-1] == 0:
        return float("nan")
    precision, recall = hits / (last + 1), hits / hits[-1]
    return float(np.sum(np.diff(np.append(0.0, recall)) * precision))
