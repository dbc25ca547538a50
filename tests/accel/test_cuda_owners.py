"""Tables that several multiprocessors of an emulated GPU keep: together in a cluster, or each some of the rows."""

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest
from emulated import device
from msgspec.structs import replace
from test_cuda_executor import PLATFORM, hot_rows, replanned

from recsmith.executor.cuda import compile
from recsmith.platforms import load
from recsmith.platforms.restrict import restrict
from recsmith.reference import encode
from recsmith.spec import (
    Feature,
    IdMap,
    IdRangeError,
    Interval,
    Jagged,
    Model,
    RowFormat,
    Shard,
    Table,
    UnavailableError,
    Weights,
)
from recsmith.testing.cases import Case, random_case, single
from recsmith.testing.conformance import agree

TOGETHER = restrict(load("h200"), 8)
"""A GPU with clusters, of few multiprocessors."""

GROUPS = {
    "all by four": lambda p: [replace(p, strategy="l1x4")],
    "hot rows by eight": lambda p: hot_rows(p, "l1x8"),
}


@pytest.mark.parametrize("flow", GROUPS)
def test_tables_in_the_shared_memory_of_clusters(flow):
    """Of one sample too: all cores of a group keep their part of the rows, whoever of them serves it."""
    case = random_case(3, features=5, batch=1) if flow == "all by four" else random_case(8, features=4, batch=37)
    kept = [feature.name for feature in case.model.features if feature.pooling != "none"]
    plan = replanned(case.model, lambda p: GROUPS[flow](p) if p.feature in kept else [p], case.ids.batch, TOGETHER)
    with compile(case.model, plan, case.weights, platform=TOGETHER, device=device()) as executable:
        looked = executable.lookup(case.ids)
        agree(case, looked.pooled, looked.sequences)


def test_cores_that_keep_tables_together_are_neighbours_of_a_gpu_with_clusters(monkeypatch):
    case = single("GROUPS", [[1]])
    for cores in ((1, 2), (0, 2), (0, 1, 2)):
        cut = lambda p, cores=cores: [replace(p, strategy="l1x2", cores=tuple(f"sm{at}" for at in cores))]  # noqa: E731
        plan = replanned(case.model, cut, platform=TOGETHER)
        with (
            compile(case.model, plan, case.weights, platform=TOGETHER, device=device()) as executable,
            pytest.raises(UnavailableError, match="feature 'f' is kept by cores that are not groups of 2 neighbours"),
        ):
            executable.lookup(case.ids)
    plan = replanned(case.model, GROUPS["all by four"], platform=TOGETHER)
    monkeypatch.setattr(type(device()), "attribute", lambda self, name: 0)
    with pytest.raises(UnavailableError, match="strategy 'l1x4' needs clusters"):
        compile(case.model, plan, case.weights, platform=TOGETHER, device=device())


def mixed():
    """All that partial sums can get wrong: means with and without padding, weights, formats, ids that are replaced."""
    features = (
        Feature("sum", "a"),
        Feature("mean", "b", "mean", id_map=IdMap(out_of_range="clamp")),
        Feature("padded", "a", "mean", padding_id=3, id_map=IdMap(out_of_range="wrap")),
        Feature("weighted", "b", weighted=True, id_map=IdMap("modulo")),
    )
    tables = (Table("a", 48, 7, RowFormat("fp16")), Table("b", 60, 33, RowFormat("int8")))
    draw = np.random.default_rng(2)
    weights = Weights({t.name: encode(draw.normal(size=(t.rows, t.dim)), t.format) for t in tables})
    bags = draw.integers(0, 6, (4, 37))
    values = np.concatenate([draw.integers(0, top, bags[at].sum()) for at, top in enumerate((48, 66, 51, 200))])
    values[bags[:2].sum()] = 3
    ids = Jagged(values, np.concatenate([[0], bags.cumsum()]), 37, draw.normal(size=len(values)).astype(np.float32))
    return Case("MIXED", Model("m", tables, features), weights, ids)


def meant(case):
    """`case` with the ids that its policies make of those outside."""
    ends = case.ids.offsets[[0, 37, 74, 111, 148]]
    each = [case.ids.values[start:stop] for start, stop in itertools.pairwise(ends)]
    values = np.concatenate([each[0], each[1].clip(0, 59), each[2] % 48, each[3] % 60])
    replaced = (each[1] >= 60).sum() + (each[2] >= 48).sum()
    return dataclasses.replace(case, ids=replace(case.ids, values=values)), replaced


def rows_of(p, first, last, strategy="gm", cores=None, samples=None):
    """A part of a placement's rows, in twelfths of them."""
    shard = Shard(p.shard.table, p.shard.rows * first // 12, p.shard.rows * last // 12)
    cores = p.cores if cores is None else tuple(f"sm{at}" for at in cores)
    return replace(p, shard=shard, strategy=strategy, cores=cores, samples=samples or p.samples, reduce="add")


FIRST, SECOND = Interval(Fraction(0), Fraction(1, 3)), Interval(Fraction(1, 3), Fraction(1))
CUTS = {
    "the middle kept": lambda p: [rows_of(p, 0, 3), rows_of(p, 3, 6, "l1", [5]), rows_of(p, 6, 12)],
    "three owners": lambda p: [
        rows_of(p, 8, 12, "l1x4", [4, 5, 6, 7]),
        rows_of(p, 0, 4, "l1", [1]),
        rows_of(p, 4, 8, "l1", [2, 3]),
    ],
    "samples cut too": lambda p: [
        rows_of(p, 0, 12, "l1x2", [6, 7], FIRST),
        rows_of(p, 0, 5, "l1", [1], SECOND),
        rows_of(p, 5, 6, "l1", [2], SECOND),
        rows_of(p, 6, 12, "gm", [2], SECOND),
    ],
}


@pytest.mark.parametrize("cut", CUTS)
def test_rows_cut_among_owners(cut):
    """And beside a table that is not."""
    case = mixed()
    wanted, replaced = meant(case)
    assert replaced > 5
    plan = replanned(case.model, lambda p: [p] if p.feature == "sum" else CUTS[cut](p), 37, TOGETHER)
    with compile(case.model, plan, case.weights, platform=TOGETHER, device=device()) as executable:
        looked = executable.lookup(case.ids)
        agree(wanted, looked.pooled, looked.sequences)
        assert looked.replaced == replaced, "each is counted once"


def test_sums_over_several_stages_are_refused():
    case = single("STAGES", [[1]])
    plan = replanned(case.model, CUTS["the middle kept"])
    (stage,) = plan.buckets[0].stages
    apart = tuple(replace(stage, placements=(placement,)) for placement in stage.placements)
    plan = replace(plan, buckets=(replace(plan.buckets[0], stages=apart),))
    with pytest.raises(UnavailableError, match="feature 'f' keeps rows and adds them up over several stages"):
        compile(case.model, plan, case.weights, platform=PLATFORM, device=device())


def test_ids_outside_a_table_that_is_cut_are_named():
    case = single("OUTSIDE", [[1, 49], [2, 50]])
    plan = replanned(case.model, CUTS["the middle kept"])
    with (
        compile(case.model, plan, case.weights, platform=PLATFORM, device=device()) as executable,
        pytest.raises(IdRangeError, match=r"id 50 of feature 'f' \(value 3\)"),
    ):
        executable.lookup(case.ids)
