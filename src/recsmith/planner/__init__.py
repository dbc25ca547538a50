"""Who serves what. The menu of planners."""

from recsmith.spec import Registry

PLANNERS = Registry(
    "planner",
    {
        "auto": "recsmith.planner.auto:Auto",
        "symmetric": "recsmith.planner.symmetric:Symmetric",
        "greedy": "recsmith.planner.greedy:Greedy",
        "ilp": "recsmith.planner.ilp:Ilp",
    },
)
