"""Which processor the caller is left."""

from recsmith.executor.lanes import choose
from recsmith.spec import Bucket, Objective, Placement, Plan, Shard, Stage
from recsmith.testing.machines import cached_machine


def test_the_caller_is_left_the_same_processor_whatever_a_plan_lists_first():
    machine = cached_machine(cores=3)
    first, second, third = (core.id for core in machine.cores)
    for order in ((first, third), (third, first)):
        placed = (Placement("f", Shard("t", 0, 5), order, "gm"),)
        plan = Plan("p", "m", "here", Objective(()), "hand", (Bucket(None, (Stage(placed),)),))
        made = choose(plan, machine, [0, 1, 2], 3)
        assert made.processors == (0, 2) and made.of == {first: 0, third: 1} and second not in made.of
