"""Models of computed tables, hybrids and mixtures, through plan, compile and predict, against the oracle."""

import subprocess
import sys

import numpy as np
import pytest
import recsmith._native as _native
from msgspec.structs import replace

import recsmith
from recsmith.executor.rows import row_maker
from recsmith.reference import codes, eighths, encode, forward, lookup
from recsmith.reference.computed import activate
from recsmith.representations import REPRESENTATIONS, build, hold
from recsmith.representations.dhe import hashes, settled
from recsmith.spec import (
    Batch,
    Dhe,
    Feature,
    Hybrid,
    IdMap,
    IdRangeError,
    InputError,
    Jagged,
    MixedDimension,
    Model,
    PlanError,
    Select,
    Serving,
    Table,
    UnavailableError,
    Weights,
    Workload,
)
from recsmith.testing.joined import joined_case

SMALL = Dhe(k=32, hidden=(24,))


def weights_of(model, seed=3) -> Weights:
    draw = np.random.default_rng(seed)
    tables, parameters, dense = {}, {}, {}
    for at, table in enumerate(model.tables):
        arrays = build(table, seed + at)
        if table.computed is None:
            tables[table.name] = encode(arrays["rows"], table.format)
        parameters |= {f"{table.name}.{name}": array for name, array in arrays.items() if table.computed}
    for part in (model.bottom, model.top):
        dense[f"{part.prefix}.0.weight"] = draw.normal(size=part.widths[::-1]).astype(np.float32) / 4
        dense[f"{part.prefix}.0.bias"] = draw.normal(size=part.widths[1]).astype(np.float32)
    return Weights(tables, dense, parameters=parameters)


def compiled(model, weights, *ways, **options):
    machine = recsmith.platform("cpu")
    plan = recsmith.plan(model, machine, Workload.uniform(model, 9), serving=ways)
    return recsmith.compile(model, plan, weights, platform=machine, **options)


def agrees(model, weights, ids, engine, bound=1e-5):
    wanted, sequences = lookup(model, weights, ids)
    found = engine.lookup(ids)
    np.testing.assert_allclose(found.pooled, wanted, atol=bound * max(1, np.abs(wanted).max(initial=0)), rtol=0)
    assert found.sequences.keys() == sequences.keys()
    for name, rows in sequences.items():
        np.testing.assert_allclose(found.sequences[name], rows, atol=bound, rtol=0)


@pytest.mark.parametrize("name", list(REPRESENTATIONS))
@pytest.mark.parametrize("seed", [1, 2])
def test_every_representation_on_the_menu_predicts_what_the_oracle_predicts(name, seed):
    case = joined_case(seed, kind="dot" if seed == 1 else "cat").case
    model = hold(case.model, None, name)
    weights, ids = weights_of(model), case.ids
    dense = np.random.default_rng(seed).normal(size=(ids.batch, 2)).astype(np.float32)
    with compiled(model, weights) as engine:
        agrees(model, weights, ids, engine)
        wanted = forward(model, weights, dense, lookup(model, weights, ids)[0])
        np.testing.assert_allclose(engine.run(Batch(ids, dense)).values, wanted, atol=1e-5)


MIXTURES = {
    "gaussian": replace(SMALL, transform="gaussian"),
    "mish_and_norm": replace(SMALL, hidden_activation="mish", last_activation="mish", batch_norm=True),
    "no_hidden_layer": replace(SMALL, hidden=(), last_activation="none"),
    "published_prime": replace(SMALL, prime=1_000_003),
    "hybrid": Hybrid(dhe=SMALL),
    "mixture": Select({"f0": SMALL, "f1": Hybrid(dhe=SMALL), "f2": MixedDimension(3)}),
}


@pytest.mark.parametrize("choice", MIXTURES.values(), ids=MIXTURES.keys())
@pytest.mark.parametrize("one_hot", [True, False])
def test_settings_and_mixtures(choice, one_hot):
    case = joined_case(7, one_hot=one_hot).case
    model = hold(case.model, None, choice)
    weights = weights_of(model)
    with compiled(model, weights) as engine:
        agrees(model, weights, case.ids, engine)


def one_table(feature=None, rows=500):
    case = joined_case(4, features=1, one_hot=True).case
    table = replace(case.model.tables[0], rows=rows)
    model = replace(case.model, tables=(table,), features=(feature or Feature("f0", "t0"),))
    held = hold(model, None, SMALL)
    return held, weights_of(held)


@pytest.mark.parametrize("way", ["compute", "cache", "materialise"])
def test_ways_of_serving_agree_exactly(way):
    model, weights = one_table()
    ids = Jagged(np.array([1, 499, 1, 7, 7, 7, 0]), None, 7)
    with compiled(model, weights) as computed:
        wanted = computed.lookup(ids).pooled
    hot = 3 if way == "cache" else 0
    with compiled(model, weights, Serving("t0", way, hot), profile={"t0": np.array([7, 499, 3, 2])}) as engine:
        np.testing.assert_allclose(engine.lookup(ids).pooled, wanted, atol=2e-7)
        if way != "materialise":
            assert engine.counts() == {"t0": (7, 4, 2) if way == "cache" else (7, 0, 4)}


def test_bf16_is_close_and_not_the_same():
    model, weights = one_table()
    ids = Jagged(np.arange(300), None, 300)
    wanted, _ = lookup(model, weights, ids)
    with compiled(model, weights, Serving("t0", precision="bf16")) as engine:
        error = np.abs(engine.lookup(ids).pooled - wanted).max()
    assert 1e-5 < error < 0.02


def test_more_ids_than_a_block_and_a_batch_of_none():
    model, weights = one_table(rows=9000)
    with compiled(model, weights) as engine:
        for count in (0, 1, 5000):
            ids = Jagged(np.arange(count) * 7 % 9000, None, count)
            agrees(model, weights, ids, engine)


@pytest.mark.parametrize(("policy", "row"), [("clamp", 499), ("wrap", 3), ("default", 5)])
def test_ids_outside_a_computed_table_follow_the_policy(policy, row):
    model, weights = one_table(Feature("f0", "t0", id_map=IdMap(out_of_range=policy, default_row=5)))
    with compiled(model, weights) as engine:
        found = engine.lookup(Jagged(np.array([503, 1]), None, 2))
        wanted = engine.lookup(Jagged(np.array([row, 1]), None, 2))
    np.testing.assert_array_equal(found.pooled, wanted.pooled)
    assert (found.replaced, wanted.replaced) == (1, 0)


@pytest.mark.parametrize("bad", [500, -1])
def test_an_id_outside_is_named(bad):
    model, weights = one_table()
    with compiled(model, weights) as engine, pytest.raises(IdRangeError, match=f"id {bad} of feature 'f0'"):
        engine.lookup(Jagged(np.array([1, bad]), None, 2))


@pytest.mark.parametrize(
    "ids",
    [
        Jagged(np.array([1, 2, 3]), None, 2),
        Jagged(np.array([1, 2]), np.array([0, 2, 1]), 2),
        Jagged(np.array([1, 2]), np.array([0, 1]), 2),
        Jagged(np.array([1, 2]), None, 2, np.ones(3, np.float32)),
    ],
)
def test_malformed_batches_are_refused(ids):
    model, weights = one_table()
    with compiled(model, weights) as engine, pytest.raises(InputError):
        engine.lookup(ids)


@pytest.mark.parametrize("profile", [None, {"t0": np.array([1])}, {"t0": np.array([1, 1])}, {"t0": np.array([1, 500])}])
def test_a_cache_without_a_fitting_profile_is_refused(profile):
    model, weights = one_table()
    with pytest.raises(PlanError, match="profile"):
        compiled(model, weights, Serving("t0", "cache", 2), profile=profile)


@pytest.mark.parametrize("target", _native.targets())
@pytest.mark.parametrize("prime", [1_000_003, 0, 94_906_249, 94_906_297, 2**40 + 15])
def test_codes_of_every_target_and_size_of_prime(target, prime):
    """On both sides of the largest prime whose hashes are exact in double precision."""
    rows = min(10_000_000, 2**62 // max(prime, 1))
    dhe = settled(Dhe(k=70, prime=prime), rows)
    a, b = hashes(dhe)
    a[:2], b[:2] = dhe.prime - 1, dhe.prime - 1
    ids = np.concatenate([np.random.default_rng(1).integers(0, rows, 90), [0, 1, rows - 1]])
    found = np.empty((len(ids), 70), np.float32)
    _native.encode(target, ids, a, b, dhe.prime, dhe.buckets, found)
    np.testing.assert_allclose(found, codes(dhe, {"a": a, "b": b}, ids), atol=1.2e-7, rtol=0)


ALONE = """
import sys
import numpy as np
from recsmith import _native
a, b = np.arange(1, 513), np.arange(512)
found = [np.empty((700, 512), np.float32) for _ in range(2)]
for threads, out in zip((1, 3), found):
    _native.encode("scalar", np.arange(700) * 977, a, b, 1000003, 1000000, out, None, threads)
assert "torch" not in sys.modules and np.array_equal(*found) and found[0].std() > 0.5
"""


@pytest.mark.parametrize("before", ["", "import torch; torch.ones(64, 64).mm(torch.ones(64, 64))"])
def test_codes_are_the_same_by_any_number_of_threads_with_torch_and_without(before):
    program = ALONE if not before else before + ALONE.replace('"torch" not in sys.modules', '"torch" in sys.modules')
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_tables_take_turns_in_one_place_for_codes():
    """Of different k and in both number formats: what one leaves there changes nothing for the other."""
    plain = Model("m", (Table("t", 90, 5),), (Feature("f", "t"),))
    large, small = (hold(plain, None, Dhe(k=k, hidden=(8,))).tables[0] for k in (64, 6))
    alone = {}
    for _ in range(2):
        for table in (large, small):
            for precision in ("fp32", "bf16"):
                for count in (33, 1):
                    out = np.empty((count, table.dim), np.float32)
                    row_maker(table, build(table, 3), "scalar", precision).write(np.arange(count), out)
                    first = alone.setdefault((table.computed.k, precision, count), out)
                    np.testing.assert_array_equal(out, first)


def test_the_precision_of_gpus_is_refused_with_a_remedy():
    table = Table("t0", 10, 4, computed=Dhe(k=32, prime=1009, hidden=(8,)))
    with pytest.raises(UnavailableError, match=r"tf32, in which GPUs alone multiply. Plan it in fp32 or bf16"):
        row_maker(table, build(table, 0), "scalar", "tf32")


def test_decoders_in_fp8_round_codes_weights_and_hidden_vectors():
    """Weights by a scale of each output; a hidden number next to a boundary may fall on its other side."""
    table = Table("t0", 300, 8, computed=Dhe(k=64, prime=1009, buckets=600, hidden=(24, 16), hidden_activation="mish"))
    parameters, ids, found = build(table, 3), np.arange(300), np.empty((300, 8), np.float32)
    row_maker(table, parameters, "scalar", "fp8").write(ids, found)
    x = codes(table.computed, parameters, ids)
    for layer, activation in enumerate(table.computed.activations()):
        weight = parameters[f"{layer}.weight"]
        scale = eighths.scales(weight)[:, None]
        weight = eighths.decoded(eighths.encoded(weight / scale)) * scale
        x = activate(activation, eighths.decoded(eighths.encoded(x)) @ weight.T + parameters[f"{layer}.bias"])
    error = np.abs(found - x)
    assert np.median(error) < 1e-6 and error.max() < 0.1
    exact = np.empty_like(found)
    row_maker(table, parameters, "scalar").write(ids, exact)
    assert np.abs(found - exact).max() > 100 * np.median(error)
