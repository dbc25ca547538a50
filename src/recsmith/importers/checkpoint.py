"""State dicts saved by `torch.save`, read with `weights_only` and memory-mapped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recsmith.spec import CheckpointError

from .tensor_file import Stored

# Where training scripts put the state dict when they save more than that.
_HOLDERS = ("state_dict", "model_state_dict", "model", "module")
# Left in front of every key by DataParallel and torch.compile.
_WRAPPERS = ("module.", "_orig_mod.")


def read_state(path: Path) -> dict[str, Stored]:
    """The tensors of a checkpoint by name, without wrapper prefixes; large ones are read when touched.

    Files written before PyTorch 1.6 cannot be mapped and are read whole.

    Raises:
        CheckpointError: the file is damaged, holds objects other than tensors, or holds no state dict.
    """
    return as_stored(state_dict(path), path)


def state_dict(path: Path) -> dict[str, Any]:
    """As `read_state`, but torch tensors."""
    loaded = _load(path)
    state = _find_state(loaded)
    if state is None:
        raise CheckpointError(
            "import", f"'{path}' holds {_describe(loaded)}, not a state dict", "Save torch.save(module.state_dict())."
        )
    return strip_wrappers(state)


def as_stored(state: Mapping[str, Any], path: Path | str) -> dict[str, Stored]:
    """Torch tensors as arrays that share their memory."""
    return {name: _stored(name, tensor, path) for name, tensor in state.items()}


def strip_wrappers(state: Mapping[str, Any]) -> dict[str, Any]:
    """The same tensors without a prefix that all names have in common because a wrapper put it there."""
    names = dict(state)
    while wrapper := next((w for w in _WRAPPERS if names and all(name.startswith(w) for name in names)), None):
        names = {name.removeprefix(wrapper): tensor for name, tensor in names.items()}
    return names


def _load(path: Path) -> Any:
    import pickle

    import torch

    with torch.serialization.safe_globals(_numpy_scalars()):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_mappable(path))
        except pickle.UnpicklingError as error:
            raise _code_in_pickle(path, error) from error
        except (RuntimeError, EOFError, ValueError, OSError, KeyError, AttributeError, IndexError, TypeError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise CheckpointError(
                "import", f"'{path}' is truncated or damaged: {first}", "Copy or save the checkpoint again."
            ) from error


def _mappable(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _numpy_scalars() -> list[Any]:
    """NumPy numbers, which training scripts save as losses and scores beside the state dict; data, not code."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in "?bBhHiIlLqQefd"]
    return [
        scalar,
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *dict.fromkeys(dtypes),
    ]


def _code_in_pickle(path: Path, error: Exception) -> CheckpointError:
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named is None:
        first = str(error).strip().splitlines()[0]
        return CheckpointError(
            "import", f"'{path}' cannot be read as tensors: {first}", "Copy or save the checkpoint again."
        )
    return CheckpointError(
        "import",
        f"'{path}' holds objects of '{named.group(1)}'; reading them would run code, so it is refused",
        "Save the weights only, torch.save(module.state_dict(), path), and name the model with --model.",
    )


def _find_state(loaded: Any) -> Mapping[str, Any] | None:
    import torch

    if not isinstance(loaded, Mapping) or not loaded:
        return None
    if all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()):
        return loaded
    for holder in _HOLDERS:
        found = _find_state(loaded.get(holder))
        if found is not None:
            return found
    return None


def _describe(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return f"a dictionary of {', '.join(repr(key) for key in list(loaded)[:8]) or 'nothing'}"
    return f"a {type(loaded).__name__}"


def _stored(name: str, tensor: Any, path: Path | str) -> Stored:
    import torch

    dtypes = {
        torch.float64: "F64",
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.int64: "I64",
        torch.int32: "I32",
        torch.int16: "I16",
        torch.int8: "I8",
        torch.uint8: "U8",
        torch.bool: "BOOL",
    }
    if tensor.layout != torch.strided or tensor.dtype not in dtypes:
        raise CheckpointError(
            "import",
            f"'{path}': tensor '{name}' is {tensor.layout} of {tensor.dtype}",
            f"Save dense tensors of {', '.join(dtypes.values())}.",
        )
    plain = tensor.detach()
    if plain.dtype == torch.bfloat16:
        return Stored("BF16", plain.view(torch.int16).numpy().view(np.uint16))
    return Stored(dtypes[tensor.dtype], plain.numpy())
