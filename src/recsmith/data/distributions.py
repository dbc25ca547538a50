"""How ids are asked for, as users write it: `uniform`, `zipf:1.05`, `fixed`, `trace:ids.parquet`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recsmith.spec import Distribution, Fixed, FormatError, Uniform, Zipf

from . import traces

_FORMS = "Write uniform, zipf:ALPHA (such as zipf:1.05), fixed or trace:FILE."


def parse(text: str, features: Sequence[str]) -> dict[str, Distribution]:
    """Feature name to its distribution.

    Raises:
        FormatError: `text` is none of the forms, alpha is no positive number, or the trace is bad.
        UnavailableError: a trace is named and pyarrow is not installed.
    """
    kind, _, argument = text.partition(":")
    if kind == "trace" and argument:
        return dict(traces.distributions(argument, features))
    law = _law(kind, argument, text)
    return {name: law for name in features}


def _law(kind: str, argument: str, text: str) -> Distribution:
    if kind == "uniform" and not argument:
        return Uniform()
    if kind == "fixed" and not argument:
        return Fixed()
    if kind == "zipf":
        try:
            alpha = float(argument)
        except ValueError:
            alpha = math.nan
        if alpha > 0 and math.isfinite(alpha):
            return Zipf(alpha)
    raise FormatError("ids", f"'{text}' is no distribution of ids", _FORMS)
