"""The menu of representations."""

from recsmith.spec import Registry

_HERE = "recsmith.representations"

REPRESENTATIONS = Registry(
    "representation",
    {
        "table": f"{_HERE}.table:TableRepresentation",
        "fp16": f"{_HERE}.table:HalfRows",
        "bf16": f"{_HERE}.table:BrainRows",
        "int8": f"{_HERE}.table:ByteRows",
        "int4": f"{_HERE}.table:NibbleRows",
        "dhe": f"{_HERE}.dhe:DheRepresentation",
        "hybrid": f"{_HERE}.hybrid:HybridRepresentation",
        "select": f"{_HERE}.select:SelectRepresentation",
        "quotient_remainder": f"{_HERE}.quotient_remainder:QuotientRemainderRepresentation",
        "mixed_dimension": f"{_HERE}.mixed_dimension:MixedDimensionRepresentation",
    },
)
