"""The transformer: tokens of each modality of a shard, then attention over the interaction graph.

Tokens: four patches of four windows of the metrics; one each of the detectors, the log templates, the fingerprints and the
graph (distances to landmarks among them), newest and mean of the steps. Time and kind of shard are added to all. Identity of
a shard is no input: it would be learned by heart and mean nothing elsewhere. Shards that talk to each other then attend to
one another along the edges, twice. Heads: sick, incident within ten minutes, family of the cause.
"""
import numpy as np
import torch
from torch import nn

D = 64
HEADS = 4
FF = 128
STEPS = 16
PATCH = 4


class Block(nn.Module):
    """Pre-norm attention and feed-forward, written out so that every exporter knows each step."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.up, self.down = nn.Linear(D, FF), nn.Linear(FF, D)

    def forward(self, x):
        n_tokens = x.shape[1]
        qkv = self.qkv(self.norm1(x)).view(-1, n_tokens, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = torch.softmax(q @ k.transpose(-1, -2) / (D // HEADS) ** 0.5, dim=-1)
        mixed = (weights @ v).permute(0, 2, 1, 3).reshape(-1, n_tokens, D)
        x = x + self.out(mixed)
        return x + self.down(torch.relu(self.up(self.norm2(x))))


class GraphAttention(nn.Module):
    """Each shard takes from its neighbours; weights are a softmax over its edges, by sums that are scattered."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(D)
        self.query, self.key, self.value = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D)
        self.out = nn.Linear(D, D)

    def forward(self, x, edges):
        source, target = edges[0], edges[1]
        h = self.norm(x)
        q, k, v = self.query(h)[target], self.key(h)[source], self.value(h)[source]
        # Bounded, so that no maximum has to be scattered; an edge to itself stands for none.
        logit = 8.0 * torch.tanh((q * k).sum(-1, keepdim=True) / (8.0 * D ** 0.5))
        weight = torch.exp(logit) * (source != target).to(x.dtype).unsqueeze(-1)
        place = target.unsqueeze(-1)
        total = torch.zeros_like(x[:, :1]).scatter_add(0, place, weight)
        taken = torch.zeros_like(x).scatter_add(0, place.expand(-1, D), weight * v)
        return x + self.out(taken / (total + 1e-6))


class Net(nn.Module):
    """See the module."""

    def __init__(self, layout, n_families, is_on=None):
        super().__init__()
        on = {"metrics", "detectors", "log", "query", "graph", "siblings", "edges"} if is_on is None else is_on
        names = layout["columns"]
        place = lambda test: [i for i, name in enumerate(names) if test(name)]
        groups = {
            "detectors": place(lambda n: n.startswith("p.") or n.startswith("unknown.") and "." not in n[8:]),
            "metrics": place(lambda n: n.startswith(("own.", "apart.")) or n.startswith("unknown.") and "." in n[8:]),
            "log": place(lambda n: n.startswith("log.")),
            "query": place(lambda n: n.startswith("query.")),
            "graph": place(lambda n: n.startswith("graph.")),
            "shard": place(lambda n: n.startswith(("time.", "shard."))),
        }
        self.sizes = {name: len(columns) for name, columns in groups.items()}
        self.order = ["metrics", "detectors", "log", "query", "graph"]
        for name, columns in groups.items():
            self.register_buffer("at_" + name, torch.tensor(columns, dtype=torch.long))
        keep = torch.ones(len(names))
        for name in self.order:
            if name not in on:
                keep[groups[name]] = 0
        if "siblings" not in on:
            keep[place(lambda n: n.startswith("apart.") or n.endswith(".siblings"))] = 0
        self.register_buffer("keep", keep)
        self.has_edges = "edges" in on and "graph" in on
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("scale", torch.ones(len(names)))
        self.patch = nn.Linear(PATCH * self.sizes["metrics"], D)
        self.tokens = nn.ModuleDict({name: nn.Linear(2 * self.sizes[name], D) for name in self.order[1:]})
        self.about = nn.Linear(self.sizes["shard"], D)
        self.position = nn.Parameter(0.02 * torch.randn(1, 1 + STEPS // PATCH + len(self.order) - 1, D))
        self.blocks = nn.ModuleList([Block(), Block()])
        self.graph = nn.ModuleList([GraphAttention(), GraphAttention()])
        self.norm = nn.LayerNorm(D)
        self.heads = nn.Linear(D, 2 + 1 + n_families)

    def squash(self, x):
        """Deviations reach 30: their sign and logarithm, then standardised."""
        x = torch.sign(x) * torch.log1p(torch.abs(x))
        return (x - self.mean) / self.scale * self.keep

    def fit_scale(self, rows):
        """Mean and spread of training rows."""
        x = np.sign(rows) * np.log1p(np.abs(rows))
        self.mean.copy_(torch.tensor(x.mean(0)))
        self.scale.copy_(torch.tensor(np.maximum(x.std(0), 0.05)))

    def forward(self, history, edges):
        x = self.squash(history)
        metrics = x[:, :, self.at_metrics].reshape(-1, STEPS // PATCH, PATCH * self.sizes["metrics"])
        tokens = [self.patch(metrics)]
        for name in self.order[1:]:
            part = x[:, :, getattr(self, "at_" + name)]
            both = torch.cat([part[:, -1], part.mean(1)], dim=-1)
            tokens.append(self.tokens[name](both).unsqueeze(1))
        about = self.about(x[:, -1][:, self.at_shard]).unsqueeze(1)
        h = torch.cat([torch.zeros_like(about), *tokens], dim=1) + self.position + about
        for block in self.blocks:
            h = block(h)
        h = h[:, 0]
        if self.has_edges:
            for layer in self.graph:
                h = layer(h, edges)
        heads = self.heads(self.norm(h))
        return heads[:, 0], heads[:, 1], heads[:, 2:]
