"""`--workload`: how a model will be asked, as users write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recsmith.spec import Model, Objective

Asked = Annotated[
    str,
    typer.Option(
        "--workload",
        "-w",
        metavar="W",
        help="Which ids will be asked: uniform, zipf:ALPHA, fixed, trace:FILE.parquet, or a saved objective FILE.json.",
    ),
]
Batches = Annotated[str, typer.Option("--batch", "-b", metavar="N,N", help="Samples a call; several to plan for all.")]
Pooling = Annotated[float, typer.Option("--pooling", min=0, help="Ids a bag, where a trace does not tell.")]


def objective(model: Model, asked: str, batches: str, pooling: float) -> Objective:
    """What to plan for.

    Raises:
        FormatError: `asked` is none of the forms, or `batches` are not positive numbers.
        UnavailableError: a trace is named and pyarrow is not installed.
    """
    from recsmith.data import distributions, traces
    from recsmith.spec import Access, Objective, Workload

    if asked.endswith(".json"):
        return Objective.open(asked)

    features = [feature.name for feature in model.features]
    laws = distributions.parse(asked, features)
    factors = dict.fromkeys(features, pooling)
    if asked.startswith("trace:"):
        factors = traces.mean_lengths(traces.read(asked.partition(":")[2], features))
    accesses = tuple(Access(feature, float(factors[feature]), laws[feature]) for feature in features)
    return Objective(tuple(Workload(f"{asked} b{batch}", batch, accesses) for batch in sizes(batches)))


def sizes(text: str) -> tuple[int, ...]:
    """The batch sizes in "1,128,2048".

    Raises:
        FormatError: they are not positive numbers.
    """
    from recsmith.spec import FormatError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise FormatError("plan", f"'{text}' is not a list of batch sizes", "Write them as 1,128,2048.")
    return tuple(int(part) for part in parts)
