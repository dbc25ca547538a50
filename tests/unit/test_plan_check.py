"""A plan is a file that one can edit and load again; each mistake gets its own answer."""

import json

import pytest
from msgspec.structs import replace

from recsmith.cost.fitted import FittedCost
from recsmith.planner import PLANNERS
from recsmith.spec import (
    Access,
    CapacityError,
    Feature,
    ForeignPlanError,
    FormatError,
    Fuse,
    Gather,
    Interaction,
    Mlp,
    Model,
    Objective,
    Plan,
    PlanError,
    Problem,
    Table,
    Workload,
    check,
)
from recsmith.strategies import STRATEGIES
from recsmith.testing.machines import cached_machine, scratchpad_machine

ALL = {name: STRATEGIES[name]() for name in STRATEGIES}
C0, C1 = "node0/cpu0/c0", "node0/cpu0/c1"


def small_problem(platform=None) -> Problem:
    tables = (Table("A", 1000, 16), Table("B", 40_000, 16))
    model = Model("small", tables, (Feature("a", "A"), Feature("b", "B")))
    workload = Workload("w", 256, (Access("a"), Access("b")))
    ops = (Gather("a", "A", "sum"), Gather("b", "B", "sum"))
    return Problem(model, ops, Objective((workload,)), platform or cached_machine(2))


PROBLEM = small_problem()


def edited(tmp_path, edit, problem=PROBLEM) -> Plan:
    """The symmetric plan, saved, changed by `edit` as one would in an editor, and loaded again."""
    path = PLANNERS["symmetric"]().plan(problem, ALL, FittedCost()).save(tmp_path / "plan.json")
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))
    return Plan.open(path)


def placements(data):
    return data["buckets"][0]["stages"][0]["placements"]


def test_an_unedited_plan_passes(tmp_path):
    check(edited(tmp_path, lambda data: None), PROBLEM, ALL)


def test_a_table_given_to_one_core_by_hand_passes(tmp_path):
    plan = edited(tmp_path, lambda data: placements(data)[1].update(cores=[C1]))
    check(plan, PROBLEM, ALL)
    assert plan.buckets[0].stages[0].placements[1].cores == (C1,)


def test_row_shards_written_by_hand_pass(tmp_path):
    def halves(data):
        one = placements(data).pop(0)
        for start, stop, core in ((0, 300, C0), (300, 1000, C1)):
            shard = {"table": "A", "start": start, "stop": stop}
            placements(data).append({**one, "cores": [core], "reduce": "add", "shard": shard})

    check(edited(tmp_path, halves), PROBLEM, ALL)


def sets(at, **fields):
    return lambda data: placements(data)[at].update(fields)


def set_shard(start, stop, table="A", **more):
    return sets(0, shard={"table": table, "start": start, "stop": stop}, **more)


def doubled(data):
    data["buckets"][0]["stages"].append({"placements": [placements(data)[0]], "output": {"type": "materialise"}})


def emptied(data):
    placements(data).clear()


def two_buckets(*limits):
    def edit(data):
        bucket = data["buckets"][0]
        data["buckets"] = [{**bucket, "batch_up_to": limit} for limit in limits]

    return edit


MISTAKES = {
    "a feature left out": (lambda data: placements(data).pop(), "feature 'b' is not served at all"),
    "everything left out": (emptied, "feature 'a' is not served at all"),
    "a feature that is not there": (sets(0, feature="z"), "feature 'z' is not in the model"),
    "another feature's table": (set_shard(0, 1000, "B"), "reads table 'A', but is placed on 'B'"),
    "a core that is not there": (sets(0, cores=["c9"]), r"placed on \['c9'\].*The cores are: node0"),
    "no core": (sets(0, cores=[]), "placed on no core"),
    "a core twice": (sets(0, cores=[C0, C0]), "c0'. twice"),
    "rows beyond the table": (set_shard(0, 1001), r"outside rows \[0, 1000\)"),
    "rows left out": (set_shard(0, 900, reduce="add"), "served for 90.0% of its rows"),
    "no rows": (set_shard(500, 500), "serves nothing"),
    "part of the rows without reduce": (set_shard(0, 900), "Set reduce to 'add'"),
    "samples left out": (sets(0, samples={"start": "0", "stop": "1/2"}), "served for 50.0%"),
    "samples that end before they begin": (sets(0, samples={"start": "1/2", "stop": "1/3"}), "serves nothing"),
    "samples beyond the batch": (sets(0, samples={"start": "0", "stop": "3/2"}), r"outside .* samples \[0, 1\)"),
    "the same in a second stage": (doubled, r"feature 'a' is served twice for rows \[0, 1000\)"),
    "a strategy that is not there": (sets(0, strategy="l7"), "'l7'.*The strategies are: gm"),
    "a negative prefetch distance": (sets(0, tuning={"prefetch_distance": -1}), "negative prefetch distance"),
    "no bucket for large batches": (two_buckets(16, 32), "last bucket must take batches of any size"),
    "buckets out of order": (two_buckets(32, 16, None), r"\[32, 16\] do not rise"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_gets_its_answer(tmp_path, mistake):
    edit, answer = MISTAKES[mistake]
    with pytest.raises(PlanError, match=answer):
        check(edited(tmp_path, edit), PROBLEM, ALL)


@pytest.mark.parametrize(
    ("edit", "answer"),
    [
        (sets(0, colour="red"), "colour"),
        (sets(0, cores="c0"), "cores"),
        (sets(0, samples={"start": "0", "stop": "half"}), "'half' is not a fraction"),
        (lambda data: data.pop("machine"), "machine"),
    ],
)
def test_a_file_that_is_no_plan_names_the_field(tmp_path, edit, answer):
    with pytest.raises(FormatError, match=answer):
        edited(tmp_path, edit)


def test_a_plan_for_another_model_or_machine_is_refused(tmp_path):
    with pytest.raises(ForeignPlanError, match="made for model"):
        check(edited(tmp_path, lambda data: data.update(model="0" * 16)), PROBLEM, ALL)
    moved = edited(tmp_path, lambda data: data.update(machine="another"))
    with pytest.raises(ForeignPlanError, match="'another'"):
        check(moved, PROBLEM, ALL)
    check(moved, PROBLEM, ALL, allow_foreign=True)


def test_a_shard_larger_than_the_private_memory_is_refused_with_its_bytes(tmp_path):
    with pytest.raises(CapacityError, match=r"2,560,000 bytes in local memory .*l2.* holds 2,097,152"):
        check(edited(tmp_path, sets(1, strategy="l1")), PROBLEM, ALL)


def test_scratchpads_hold_the_shards_of_all_buckets(tmp_path):
    problem = small_problem(scratchpad_machine(2, local_bytes=2_600_000))

    def in_turns(data):
        placements(data)[0]["strategy"] = "gm"
        placements(data)[1]["strategy"] = "l1"
        other = json.loads(json.dumps(data["buckets"][0]))
        other["batch_up_to"] = 16
        other["stages"][0]["placements"][0]["strategy"] = "l1"
        other["stages"][0]["placements"][1]["strategy"] = "gm"
        data["buckets"].insert(0, other)

    with pytest.raises(CapacityError, match="2,624,000 bytes in local memory"):
        check(edited(tmp_path, in_turns, problem), problem, ALL)


def test_tables_larger_than_main_memory_are_refused_with_their_bytes(tmp_path):
    platform = cached_machine(2)
    ram = platform.memories[0]
    tiny = replace(ram, capacity_bytes=2_000_000)
    problem = small_problem(replace(platform, memories=(tiny, *platform.memories[1:])))
    with pytest.raises(CapacityError, match=r"need 2,624,000 bytes of main memory.* has 2,000,000"):
        check(edited(tmp_path, lambda data: None, problem), problem, ALL)


def joined_problem() -> Problem:
    problem = small_problem()
    model = replace(
        problem.model,
        bottom=Mlp((4, 16), ("relu",), "bottom"),
        interaction=Interaction("dot"),
        top=Mlp((19, 1), ("sigmoid",), "top"),
    )
    return replace(problem, model=model)


def fused(tmp_path, edit=lambda data: None, problem=None, **output) -> tuple[Plan, Problem]:
    """The symmetric plan with its stage fused, then edited."""
    problem = problem or joined_problem()

    def change(data):
        stage = data["buckets"][0]["stages"][0]
        stage["output"] = {"type": "fuse", "interaction": "dot", "block": 64} | output
        edit(data)

    return edited(tmp_path, change, problem), problem


def test_a_fused_plan_is_a_file_too(tmp_path):
    plan, problem = fused(tmp_path)
    check(plan, problem, ALL)
    assert plan.buckets[0].fused == Fuse("dot", 64)
    assert Plan.from_json(plan.to_json()) == plan


def _one_core(data):
    placements(data)[1]["cores"] = [C0]


def _row_shards(data):
    table = placements(data)[1]["shard"]
    halves = [dict(table, stop=100), dict(table, start=100)]
    placements(data)[1:] = [dict(placements(data)[1], shard=half, reduce="add") for half in halves]


def _another_stage(data):
    stages = data["buckets"][0]["stages"]
    stages.append({"placements": [stages[0]["placements"].pop()], "output": {"type": "materialise"}})


def _nothing_left(data):
    stages = data["buckets"][0]["stages"]
    stages.append(dict(stages[0], placements=[]))
    stages[0] = dict(stages[0], output={"type": "materialise"})


@pytest.mark.parametrize(
    ("edit", "output", "said"),
    [
        (_one_core, {}, "'a' and 'b' are fused, but divide the samples differently"),
        (_row_shards, {}, "'b' is fused with row shards"),
        (_another_stage, {}, "fused is not the last"),
        (_nothing_left, {}, "has no placements"),
        (lambda data: None, {"block": 0}, "blocks of 0 samples"),
        (lambda data: None, {"interaction": "cat"}, "fused with a 'cat' interaction; model 'small' has 'dot'"),
    ],
)
def test_what_cannot_be_fused_is_named(tmp_path, edit, output, said):
    plan, problem = fused(tmp_path, edit, **output)
    with pytest.raises(PlanError, match=said):
        check(plan, problem, ALL)


def test_a_model_without_interaction_is_not_fused(tmp_path):
    plan, problem = fused(tmp_path, problem=PROBLEM)
    with pytest.raises(PlanError, match="model 'small' has none"):
        check(plan, problem, ALL)
