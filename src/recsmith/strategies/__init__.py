"""Data flows: what a core keeps, how much it moves, and how it goes about it. The menu."""

from recsmith.spec import Registry

STRATEGIES = Registry(
    "strategy",
    {
        "gm": "recsmith.strategies.row_by_row:GlobalMemory",
        "l1": "recsmith.strategies.row_by_row:Local",
        "gm_ub": "recsmith.strategies.unified_buffer:GlobalUnifiedBuffer",
        "l1_ub": "recsmith.strategies.unified_buffer:LocalUnifiedBuffer",
        "l1x2": "recsmith.strategies.row_by_row:LocalOfTwo",
        "l1x4": "recsmith.strategies.row_by_row:LocalOfFour",
        "l1x8": "recsmith.strategies.row_by_row:LocalOfEight",
    },
)
