"""The one place that imports pyarrow."""

from __future__ import annotations

from typing import Any

from recsmith.spec import UnavailableError


def parquet(purpose: str) -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`.

    Args:
        purpose: what they are wanted for, for the error's text.

    Raises:
        UnavailableError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "data", f"{purpose} needs the package 'pyarrow', which is not installed", "pip install 'recsmith[data]'"
        ) from error
    return pyarrow, pyarrow.parquet
