"""Who serves what. The menu of planners."""

from recsmith.spec import Registry

PLANNERS = Registry(
    "planner",
    {
        "auto": "recsmith.planner.auto:Auto",
        "symmetric": "recsmith.planner.symmetric:Symmetric",
        "fused": "recsmith.planner.fused:Fused",
        "greedy": "recsmith.planner.greedy:Greedy",
        "ilp": "recsmith.planner.ilp:Ilp",
    },
)
