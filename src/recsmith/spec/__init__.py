"""What things are: the nouns of recsmith. Imports the standard library, numpy and msgspec only."""

from .batch import Batch, Interacted, Jagged, Looked, Prediction
from .check import check
from .errors import (
    CapacityError,
    CheckpointError,
    ForeignPlanError,
    FormatError,
    IdRangeError,
    InputError,
    PlanError,
    RecsmithError,
    UnavailableError,
    UnknownNameError,
)
from .model import Feature, Graph, GraphInput, IdMap, Interaction, Mlp, Model, Pooling, Provenance, Table
from .ops import Gather, Op
from .plan import (
    Bucket,
    Fuse,
    Interval,
    Materialise,
    Placement,
    Plan,
    Predicted,
    Problem,
    Shard,
    Stage,
)
from .platform import Core, Curve, Memory, Overheads, Platform, Role, Tuning
from .popularity import Popularity, PopularityClass
from .protocols import CostModel, Executable, Ledger, Planner, Progress, Representation, Strategy
from .record import Record
from .registry import Registry
from .row_format import RowDtype, RowFormat
from .weights import Weights
from .work import Estimate, Measurement, Request, Stream, Work
from .workload import Access, Distribution, Fixed, Objective, Trace, Uniform, Workload, Zipf

__all__ = [
    "Access",
    "Batch",
    "Bucket",
    "CapacityError",
    "CheckpointError",
    "Core",
    "CostModel",
    "Curve",
    "Distribution",
    "Estimate",
    "Executable",
    "Feature",
    "Fixed",
    "ForeignPlanError",
    "FormatError",
    "Fuse",
    "Gather",
    "Graph",
    "GraphInput",
    "IdMap",
    "IdRangeError",
    "InputError",
    "Interacted",
    "Interaction",
    "Interval",
    "Jagged",
    "Ledger",
    "Looked",
    "Materialise",
    "Measurement",
    "Memory",
    "Mlp",
    "Model",
    "Objective",
    "Op",
    "Overheads",
    "Placement",
    "Plan",
    "PlanError",
    "Planner",
    "Platform",
    "Pooling",
    "Popularity",
    "PopularityClass",
    "Predicted",
    "Prediction",
    "Problem",
    "Progress",
    "Provenance",
    "Record",
    "RecsmithError",
    "Registry",
    "Representation",
    "Request",
    "Role",
    "RowDtype",
    "RowFormat",
    "Shard",
    "Stage",
    "Strategy",
    "Stream",
    "Table",
    "Trace",
    "Tuning",
    "UnavailableError",
    "Uniform",
    "UnknownNameError",
    "Weights",
    "Work",
    "Workload",
    "Zipf",
    "check",
]
