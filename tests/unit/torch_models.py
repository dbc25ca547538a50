"""Small PyTorch models that the import and drop-in tests share. Written after the papers, not after any code."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from recsmith.reference import lookup
from recsmith.spec import Looked


def stack(widths, last):
    """Linear and ReLU in turn, `last` after the final linear layer."""
    layers = []
    for at, (width_in, width_out) in enumerate(pairwise(widths)):
        layers += [nn.Linear(width_in, width_out), last if at == len(widths) - 2 else nn.ReLU()]
    return nn.Sequential(*layers)


class Dlrm(nn.Module):
    """The published DLRM: same parameter names, same forward signature (dense, list of offsets, list of ids)."""

    def __init__(self, rows, dim, bottom, top, interaction="dot", *, self_terms=False):
        super().__init__()
        dims = dim if isinstance(dim, list) else [dim] * len(rows)
        self.emb_l = nn.ModuleList([nn.EmbeddingBag(m, d, mode="sum") for m, d in zip(rows, dims, strict=True)])
        self.interaction, self.self_terms = interaction, self_terms
        vectors = len(rows) + 1
        width = bottom[-1] + (
            sum(dims) if interaction == "cat" else vectors * (vectors - 1) // 2 + (vectors if self_terms else 0)
        )
        self.bot_l = stack(bottom, nn.ReLU())
        self.top_l = stack([width, *top], nn.Sigmoid())

    def forward(self, dense, offsets, ids):
        x = self.bot_l(dense)
        vectors = [self.emb_l[k](group, offsets[k]) for k, group in enumerate(ids)]
        return self.top_l(self.interact(x, vectors))

    def interact(self, x, vectors):
        if self.interaction == "cat":
            return torch.cat([x, *vectors], dim=1)
        batch, width = x.shape
        stacked = torch.cat([x, *vectors], dim=1).view(batch, -1, width)
        products = torch.bmm(stacked, stacked.transpose(1, 2))
        count = products.shape[1]
        extra = 1 if self.self_terms else 0
        i = torch.tensor([i for i in range(count) for _ in range(i + extra)])
        j = torch.tensor([j for i in range(count) for j in range(i + extra)])
        return torch.cat([x, products[:, i, j]], dim=1)


def bags(rows, batch, generator, longest=4, dtype=torch.int64):
    """Offsets and ids of one feature, bags of 0 to `longest` ids."""
    lengths = torch.randint(0, longest + 1, (batch,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)[:-1]])
    ids = torch.randint(0, rows, (int(lengths.sum()),), generator=generator)
    return offsets.to(dtype), ids.to(dtype)


def dlrm_inputs(rows, dense, batch, seed=0, longest=4, dtype=torch.int64):
    """Arguments of `Dlrm.forward`."""
    generator = torch.Generator().manual_seed(seed)
    pairs = [bags(m, batch, generator, longest, dtype) for m in rows]
    x = torch.randn(batch, dense, generator=generator)
    return x, [offsets for offsets, _ in pairs], [ids for _, ids in pairs]


def ids(rows, *shape, seed=0, dtype=torch.int64):
    return torch.randint(0, rows, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


class Bag(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.bag = nn.EmbeddingBag(25, 4, **options)
        self.plain = nn.EmbeddingBag(25, 4, mode="sum")

    def forward(self, ids, offsets=None, weights=None):
        return self.bag(ids, offsets, weights) + 1, self.plain(ids, offsets) if not self.bag.include_last_offset else 0


class OracleExecutable:
    """The reference oracle behind the Executable protocol; counts calls."""

    def __init__(self, model, weights):
        self.model, self.weights, self.calls, self.seen = model, weights, 0, []

    def lookup(self, ids, out=None):
        self.calls += 1
        self.seen.append(ids)
        for at, feature in enumerate(self.model.features):
            stop = ids.values.shape[0] if ids.offsets is None else ids.offsets[(at + 1) * ids.batch]
            start = 0 if ids.offsets is None else ids.offsets[at * ids.batch]
            rows = ids.values[start:stop]
            assert ((rows >= 0) & (rows < self.model.table_of(feature).rows)).all()
        pooled, sequences = lookup(self.model, self.weights, ids)
        return Looked(pooled.astype(np.float32), {name: rows.astype(np.float32) for name, rows in sequences.items()})

    def run(self, batch):
        raise NotImplementedError

    def close(self):
        self.closed = True
