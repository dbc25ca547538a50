"""Where strategies, which know bytes, meet platforms, which know seconds. The menu of cost models."""

from recsmith.spec import Registry

COSTS = Registry(
    "cost model",
    {"fitted": "recsmith.cost.fitted:FittedCost", "roofline": "recsmith.cost.roofline:RooflineCost"},
)
