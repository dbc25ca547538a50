"""State dicts of MP-Rec's DLRM. The modules here are written from the published formulas."""

import numpy as np
import pytest

import recsmith
from recsmith.cli.app import main
from recsmith.spec import Batch, CheckpointError, Jagged, Workload

torch = pytest.importorskip("torch")
nn = torch.nn
PRIME, BUCKETS, K, DIM, BATCH = 1_000_003, 1_000_000, 20, 4, 33
ROWS = (50, 7, 2_500_000, 90)


class Original(nn.Module):
    """The forward pass of the published code: tables' vectors, then stacks', whichever features they belong to."""

    def __init__(self, tables, stacks, kind, *, norm=False, transform="uniform", last=nn.Sigmoid):
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.tables, self.stacks, self.kind, self.transform = tables, stacks, kind, transform
        self.emb_l = nn.ModuleList(nn.EmbeddingBag(min(ROWS[f], 100), DIM, mode="sum") for f in tables)
        self.dhe_l = nn.Module()
        self.dhe_l.hash_params = nn.ParameterList()
        self.dhe_l.dhe_mlps = nn.ModuleList()
        for _ in stacks:
            ab = torch.randint(1, PRIME, (K, 2), generator=generator)
            fixed = torch.tensor([[PRIME, BUCKETS]]).expand(K, 2)
            self.dhe_l.hash_params.append(nn.Parameter(torch.cat([ab, fixed], 1), requires_grad=False))
            layers = [nn.Linear(K, 6), nn.ReLU(), nn.Linear(6, DIM), last()]
            self.dhe_l.dhe_mlps.append(nn.Sequential(*layers, *([nn.BatchNorm1d(DIM)] if norm else [])))
        vectors = 1 + len(tables) + len(stacks)
        width = DIM + vectors * (vectors - 1) // 2 if kind == "dot" else vectors * DIM
        self.bot_l = nn.Sequential(nn.Linear(3, DIM), nn.ReLU())
        self.top_l = nn.Sequential(nn.Linear(width, 5), nn.ReLU(), nn.Linear(5, 1), nn.Sigmoid())
        if norm:
            for stack in self.dhe_l.dhe_mlps:
                stack[-1].running_mean.uniform_(-1, 1)
                stack[-1].running_var.uniform_(0.5, 2)

    def code(self, x, hashes):
        a, b, p, m = hashes.unbind(1)
        h = (x[:, None] * a + b) % p % m
        if self.transform == "uniform":
            return h.double() / (BUCKETS - 1) * 2 - 1
        u = (h.double() + 1) / BUCKETS
        radius, angle = (-2 * u[:, ::2].log()).sqrt(), 2 * torch.pi * u[:, 1::2]
        return torch.stack([radius * angle.cos(), radius * angle.sin()], 2).flatten(1)

    def forward(self, dense, ids):
        vectors = [self.bot_l(dense)]
        vectors += [bag(ids[f][:, None]) for f, bag in zip(self.tables, self.emb_l, strict=True)]
        for f, hashes, stack in zip(self.stacks, self.dhe_l.hash_params, self.dhe_l.dhe_mlps, strict=True):
            vectors.append(stack(self.code(ids[f], hashes).float()))
        if self.kind == "cat":
            return self.top_l(torch.cat(vectors, 1))[:, 0]
        x = torch.stack(vectors, 1)
        i, j = torch.tril_indices(x.shape[1], x.shape[1], -1)
        return self.top_l(torch.cat([vectors[0], (x @ x.transpose(1, 2))[:, i, j]], 1))[:, 0]


LAYOUTS = {"dhe": ((), (0, 1, 2, 3)), "hybrid": ((0, 1, 3), (0, 1, 3)), "select": ((1, 3), (0, 2))}


@pytest.mark.parametrize("kind", ["dot", "cat"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("made", "asked"),
    [
        ({}, {}),
        ({"norm": True}, {}),
        ({"transform": "gaussian", "last": nn.Mish}, {"dhe_transform": "gaussian", "dhe_activation": "mish"}),
    ],
)
def test_an_imported_model_predicts_what_the_original_predicts(tmp_path, kind, layout, made, asked):
    torch.manual_seed(1)
    tables, stacks = LAYOUTS[layout]
    original = Original(tables, stacks, kind, **made).eval()
    torch.save(original.state_dict(), tmp_path / "m.pt")
    features = sorted({*tables, *stacks})
    if layout == "select":
        asked = asked | {"dhe_features": [features.index(f) for f in stacks]}
    if layout != "hybrid":
        asked = asked | {"rows": [ROWS[f] for f in features]}
    model, weights = recsmith.load(tmp_path / "m.pt", interaction=kind, self_terms=False, **asked)
    draw = np.random.default_rng(0)
    ids = [draw.integers(0, min(ROWS[f], 100) if f in tables else ROWS[f], BATCH) for f in features]
    dense = draw.normal(size=(BATCH, 3)).astype(np.float32)
    by_feature = {f: torch.from_numpy(own) for f, own in zip(features, ids, strict=True)}
    with torch.inference_mode():
        wanted = original(torch.from_numpy(dense), by_feature).numpy()
    plan = recsmith.plan(model, recsmith.platform("cpu"), Workload.uniform(model, BATCH))
    with recsmith.compile(model, plan, weights) as engine:
        found = engine.run(Batch(Jagged(np.concatenate(ids), None, BATCH), dense)).values
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_a_checkpoint_keeps_its_prime_and_its_collisions(tmp_path):
    torch.save(Original((), (0, 1, 2, 3), "cat").state_dict(), tmp_path / "m.pt")
    model, weights = recsmith.load(tmp_path / "m.pt", rows=ROWS)
    assert {table.computed.prime for table in model.tables} == {PRIME}
    plan = recsmith.plan(model, recsmith.platform("cpu"), Workload.uniform(model, 2))
    ids = np.array([0, 0, 0, 0, 5, 5 + PRIME, 0, 0])
    with recsmith.compile(model, plan, weights) as engine:
        rows = engine.lookup(Jagged(ids, None, 2)).pooled
    np.testing.assert_array_equal(rows[0], rows[1])


def test_rows_that_are_not_stored_must_be_given(tmp_path):
    torch.save(Original((), (0, 1), "cat").state_dict(), tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"does not say how many ids.*--rows"):
        recsmith.load(tmp_path / "m.pt")


def test_a_lost_stack_is_named(tmp_path):
    state = Original((), (0, 1), "cat").state_dict()
    del state["dhe_l.hash_params.0"]
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"lacks 'dhe_l.hash_params.0'"):
        recsmith.load(tmp_path / "m.pt", rows=(5, 5))


def test_as_many_tables_as_stacks_are_read_as_hybrid_and_that_is_said(tmp_path, capsys):
    torch.save(Original((1, 3), (0, 2), "cat").state_dict(), tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"4 row counts for 2 features.*--dhe-features"):
        recsmith.load(tmp_path / "m.pt", rows=ROWS)
    asked = ["import", str(tmp_path / "m.pt"), "-o", str(tmp_path / "out")]
    assert main_of(asked) == 0 and "2 features (hybrid: 2 with a table and a DHE each)" in capsys.readouterr().out
    rows = ",".join(map(str, ROWS))
    assert main_of([*asked, "--rows", rows, "--dhe-features", "0,2"]) == 0
    assert "4 features, 4 tables" in capsys.readouterr().out


def main_of(words):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    return stopped.value.code or 0
