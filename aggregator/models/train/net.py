"""The transformer: tokens of each modality of a shard, then attention over the interaction graph.

Tokens: each metric's sixteen windows are a patch, embedded with weights that all metrics share and the metric's own vector, which is
left out at random in training: what a sick series looks like is to be learned, not which series were sick. The patches become four
tokens (their maximum, mean, and two that are attended to). One token each of what the trees read (Fused), of the detectors, the log templates, the fingerprints and
the graph (distances to landmarks among them), newest and mean of the steps. The kind of shard is added to all. Identity of a
shard and the time are no input: they would be learned by heart and mean nothing elsewhere. Shards that talk to each other then attend to one another
along the edges, twice. Heads: sick, incident within ten minutes, family of the cause.
"""
import numpy as np
import torch
from torch import nn

D = 64
HEADS = 4
FF = 128
STEPS = 16
# Share of training batches in which metrics have no names.
NAMELESS = 0.75
# Share of training batches in which a token is left out: no modality is to be relied on alone.
TOKENLESS = 0.2
# Spreads of the training rows beyond which a value says no more: what was rare there would be infinite elsewhere.
FAR = 8.0
TIERS = ("activity", "symptom", "cause")


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

    def __init__(self, layout, n_families, rising, gone=()):
        super().__init__()
        names = layout["columns"]
        place = lambda test: [i for i, name in enumerate(names) if test(name)]
        is_flag = lambda name: name.startswith("unknown.")
        groups = {
            "detectors": place(lambda n: n.startswith(("p.", "evidence.")) or is_flag(n) and "." not in n[8:]),
            "log": place(lambda n: n.startswith("log.")),
            "query": place(lambda n: n.startswith("query.")),
            "graph": place(lambda n: n.startswith("graph.")),
            "shard": place(lambda n: n.startswith("shard.")),
        }
        self.first = place(lambda n: n.startswith("own."))[0]
        self.n_metrics = len(layout["metrics"])
        self.sizes = {name: len(columns) for name, columns in groups.items()}
        self.order = ["detectors", "log", "query", "graph"]
        for name, columns in groups.items():
            self.register_buffer("at_" + name, torch.tensor(columns, dtype=torch.long))
        keep = torch.ones(len(names))
        keep[list(gone)] = 0
        self.register_buffer("keep", keep)
        # Which way is bad, as the catalogue says, so that worse is positive for every metric.
        bad = torch.tensor([float(metric["bad"] or 1) for metric in layout["metrics"]])
        self.register_buffer("bad", torch.stack([bad, bad, torch.ones_like(bad)], dim=-1))
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("scale", torch.ones(len(names)))
        # How much a metric says alone is no name.
        weigh = {"cause": 1.0, "symptom": 0.5, "activity": 0.2}
        self.register_buffer("tier", torch.tensor([[weigh.get(m["tier"], 0.0)] for m in layout["metrics"]]))
        self.patch, self.of_tier = nn.Linear(3 * STEPS, D), nn.Linear(1, D)
        n_fused = len(rising)
        self.register_buffer("fused_mean", torch.zeros(n_fused))
        self.register_buffer("fused_scale", torch.ones(n_fused))
        self.of_fused = nn.Linear(n_fused, D)
        # Beside the tokens, what can only speak for sickness counts for it directly, and never against it.
        self.register_buffer("rising", torch.tensor(rising, dtype=torch.float32))
        self.wide = nn.Parameter(0.02 * torch.ones(n_fused))
        self.names = nn.Parameter(0.02 * torch.randn(self.n_metrics, D))
        self.look = nn.Linear(D, 2)
        self.mix = nn.ModuleList([nn.Linear(D, D) for _ in range(4)])
        self.tokens = nn.ModuleDict({name: nn.Linear(2 * self.sizes[name], D) for name in self.order})
        self.about = nn.Linear(self.sizes["shard"], D)
        self.position = nn.Parameter(0.02 * torch.randn(1, 2 + 4 + len(self.order), D))
        self.blocks = nn.ModuleList([Block(), Block()])
        self.graph = nn.ModuleList([GraphAttention(), GraphAttention()])
        self.norm = nn.LayerNorm(D)
        self.heads = nn.Linear(D, 2 + 1 + n_families)

    @staticmethod
    def squash(x):
        """Deviations reach 30: their sign and logarithm."""
        return torch.sign(x) * torch.log1p(torch.abs(x))

    def fit_scale(self, rows, fused):
        """Mean and spread of training rows, for all columns but the metrics, which are in robust deviations already."""
        x = np.sign(rows) * np.log1p(np.abs(rows))
        self.mean.copy_(torch.tensor(x.mean(0)))
        self.scale.copy_(torch.tensor(np.maximum(x.std(0), 0.05)))
        x = np.sign(fused) * np.log1p(np.abs(fused))
        self.fused_mean.copy_(torch.tensor(x.mean(0)))
        self.fused_scale.copy_(torch.tensor(np.maximum(x.std(0), 0.05)))

    def metrics(self, x):
        """Four tokens of what the metrics show; `x` is squashed."""
        part = (x * self.keep)[:, :, self.first:self.first + 3 * self.n_metrics].reshape(-1, STEPS, self.n_metrics, 3) * self.bad
        h = self.patch(part.permute(0, 2, 1, 3).reshape(-1, self.n_metrics, 3 * STEPS)) + self.of_tier(self.tier)
        if not self.training or torch.rand(()) > NAMELESS:
            h = h + self.names
        h = torch.relu(h)
        attended = torch.softmax(self.look(h), dim=1).transpose(1, 2) @ h
        pooled = [h.max(dim=1).values, h.mean(dim=1), attended[:, 0], attended[:, 1]]
        return torch.stack([mix(one) for mix, one in zip(self.mix, pooled)], dim=1)

    def forward(self, history, edges, fused):
        squashed = self.squash(history)
        # Of the rest only what the tokens read is scaled: the newest step and the mean.
        scaled = (torch.stack([squashed[:, -1], squashed.mean(1)], dim=1) - self.mean) / self.scale * self.keep
        scaled = torch.clamp(scaled, -FAR, FAR)
        made = torch.clamp((self.squash(fused) - self.fused_mean) / self.fused_scale, -FAR, FAR)
        tokens = [self.metrics(squashed), self.of_fused(made).unsqueeze(1)]
        for name in self.order:
            both = scaled[:, :, getattr(self, "at_" + name)].flatten(1)
            tokens.append(self.tokens[name](both).unsqueeze(1))
        about = self.about(scaled[:, 0][:, self.at_shard]).unsqueeze(1)
        tokens = torch.cat(tokens, dim=1)
        if self.training:
            tokens = tokens * (torch.rand(tokens.shape[1], 1) > TOKENLESS).to(tokens.dtype)
        h = torch.cat([torch.zeros_like(about), tokens], dim=1) + self.position + about
        for block in self.blocks:
            h = block(h)
        h = h[:, 0]
        for layer in self.graph:
            h = layer(h, edges)
        heads = self.heads(self.norm(h))
        return heads[:, 0] + made @ (torch.relu(self.wide) * self.rising), heads[:, 1], heads[:, 2:]


class Fused(nn.Module):
    """What the trees read: order statistics over metrics rather than the metrics, so that a kind of fault nobody has seen looks like
    those that were; by tier and family of the catalogue; the detectors; lines, statements and graph; and where the shard stands among
    all of its batch. Nothing here is learned. In: history of one cluster. Out: (shard, feature)."""

    def __init__(self, layout, gone=()):
        super().__init__()
        names, metrics = layout["columns"], layout["metrics"]
        self.first = names.index("own." + metrics[0]["name"])
        self.n_metrics = len(metrics)
        keep = torch.ones(len(names))
        keep[list(gone)] = 0
        self.register_buffer("keep", keep)
        bad = torch.tensor([float(metric["bad"]) for metric in metrics])
        self.register_buffer("sign", bad)
        self.register_buffer("either", (bad == 0).float())
        # A cause says more than a symptom, a symptom more than activity (the engine's weights); each family counts once.
        weigh = {"cause": 3.0, "symptom": 1.0, "activity": 0.4}
        self.register_buffer("weight", torch.tensor([weigh.get(m["tier"], 0.0) for m in metrics]))
        groups = [[m["tier"] == t for m in metrics] for t in TIERS]
        groups += [[m["family"] == f for m in metrics] for f in sorted({m["family"] for m in metrics})]
        self.n_groups = len(groups)
        for at, mask in enumerate(groups):
            self.register_buffer(f"group_{at}", torch.tensor([i for i, m in enumerate(mask) if m], dtype=torch.long))
        rest = [i for i, n in enumerate(names) if n.startswith(("p.", "log.", "query.", "graph.", "shard.", "evidence.")) or n.startswith("unknown.") and "." not in n[8:]]
        self.register_buffer("rest", torch.tensor(rest, dtype=torch.long))
        self.register_buffer("surprises", torch.tensor([i for i, n in enumerate(names) if n.startswith("p.")], dtype=torch.long))
        self.rest_names = [names[i] for i in rest]
        self.p_names = [n for n in names if n.startswith("p.")]
        self.register_buffer("evidence", torch.tensor([i for i, n in enumerate(names) if n.startswith("evidence.")], dtype=torch.long))
        self.evidence_names = [n for n in names if n.startswith("evidence.")]
        self.router = names.index("shard.is_router")
        self.strength_at, self.surprise_at = names.index("evidence.strength"), names.index("evidence.surprise")

    AMONG = ("deviations", "own", "strength", "surprise")

    def names(self):
        """Of the features, in order."""
        told = []
        for name in ("now", "five", "all"):
            told += [f"both.{name}.top{i}" for i in range(1, 6)] + [f"both.{name}.over{i}" for i in (3, 5, 10)] + [f"both.{name}.sum"]
        told += [f"own.top{i}" for i in (1, 2, 3)] + [f"apart.top{i}" for i in (1, 2, 3)] + [f"better.top{i}" for i in (1, 2)]
        told += ["max of tier " + tier for tier in TIERS] + ["strength.now", "strength.five", "strength.least"] + ["unknown now", "unknown more"]
        told += self.rest_names + ["mean " + name for name in self.p_names]
        for name in self.evidence_names:
            told += ["mean " + name, "least " + name]
        told += ["top " + str(i) + " of detectors" for i in (1, 2, 3)] + ["sum of detectors"]
        told += [name + " beyond the others" for name in self.AMONG]
        return told + ["mean over shards", "mean own over shards"]

    def rising(self):
        """1 for each feature whose growth can only speak for sickness."""
        up = ("both.", "own.top", "apart.top", "max of tier", "strength", "p.", "mean p.", "log.error", "log.new", "log.unheard",
              "log.burst", "query.slow", "query.mix", "query.plan", "graph.deviation", "graph.suspicions", "unknown more", "evidence.",
              "mean evidence.", "least evidence.", "top ", "sum of detectors", *(name + " beyond" for name in self.AMONG))
        return [int(name.startswith(up)) for name in self.names()]

    def largest(self, values, group):
        return values[:, getattr(self, f"group_{group}")].max(dim=1, keepdim=True).values

    def strength(self, values):
        """What the engine's rules add up: over families, their strongest."""
        weighed = self.weight * torch.clamp(values, max=30.0) / 10.0
        return sum(self.largest(weighed, at) for at in range(len(TIERS), self.n_groups))

    def forward(self, history, n_batches: int = 1):
        x = history * self.keep
        part = x[:, :, self.first:self.first + 3 * self.n_metrics].reshape(-1, 16, self.n_metrics, 3)
        own, apart, unknown = part[..., 0], part[..., 1], part[..., 2]
        agree = (own * apart > 0).to(x.dtype)
        least = torch.minimum(own.abs(), apart.abs()) * agree
        side = torch.sign(own) * self.sign + self.either
        both, worse = torch.relu(least * side), own * self.sign + own.abs() * self.either
        aside = apart * self.sign + apart.abs() * self.either
        told = []
        five = both[:, -5:].mean(1)
        for one in (both[:, -1], five, both.mean(1)):
            told += [torch.topk(one, 5, dim=1).values]
            told += [(one > level).to(x.dtype).sum(1, keepdim=True) for level in (3.0, 5.0, 10.0)]
            told += [one.sum(1, keepdim=True)]
        told += [torch.topk(worse[:, -5:].mean(1), 3, dim=1).values, torch.topk(aside[:, -5:].mean(1), 3, dim=1).values]
        told += [torch.topk(torch.relu(-worse[:, -5:].mean(1)), 2, dim=1).values]
        told += [self.largest(five, at) for at in range(len(TIERS))]
        told += [self.strength(one) for one in (both[:, -1], five, both[:, -5:].min(dim=1).values)]
        told += [unknown[:, -1].mean(1, keepdim=True), (unknown[:, -1] - unknown[:, 0]).mean(1, keepdim=True)]
        told += [x[:, -1][:, self.rest], x[:, :, self.surprises].mean(1)]
        evidence = x[:, :, self.evidence]
        told += [torch.stack([evidence.mean(1), evidence[:, -5:].min(dim=1).values], dim=-1).reshape(-1, 2 * len(self.evidence_names))]
        surprises = x[:, -5:, self.surprises].mean(1)
        told += [torch.topk(surprises, 3, dim=1).values, surprises.sum(1, keepdim=True)]
        # Where a shard stands among all shards of its cluster; several windows of one cluster can be made at once.
        own = worse[:, -5:].mean(1).max(dim=1).values
        deviations = five.sum(1)
        shards = 1.0 - x[:, -1, self.router]
        for value in (deviations, own, x[:, -1, self.strength_at], x[:, -1, self.surprise_at]):
            told += [self.beyond(value, shards, n_batches)]
        for value in (deviations, own):
            of = value.view(n_batches, -1)
            told += [(of * 0 + of.mean(1, keepdim=True)).reshape(-1, 1)]
        return torch.cat(told, dim=1)

    @staticmethod
    def beyond(value, shards, n_batches):
        """How far each is above the largest of all other shards; routers are dragged along and are no measure."""
        of = value.view(n_batches, -1)
        among = of * shards.view(n_batches, -1)
        # Nothing beside a shard that is alone.
        two = torch.topk(torch.cat([among, of[:, :1] * 0, of[:, :1] * 0], dim=1), 2, dim=1).values
        is_largest = (among >= two[:, :1]).to(of.dtype)
        others = is_largest * two[:, 1:] + (1.0 - is_largest) * two[:, :1]
        return (of - others).reshape(-1, 1)
