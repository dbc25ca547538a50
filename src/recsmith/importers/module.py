"""Any module with nn.EmbeddingBag or nn.Embedding: its tables, and the rest as an exported graph."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from recsmith.spec import CheckpointError, FormatError, Graph, Model, Weights

from . import checkpoint, tensor_file
from .capture import capture
from .export import check_plain_ids, export_dense
from .lookups import find_lookups
from .recognise import recognise
from .split import Columns

if TYPE_CHECKING:
    import torch

GRAPH_FILE = "dense.pt2"


def from_module(
    module: torch.nn.Module,
    sample: Mapping[str, Any] | Sequence[Any],
    *,
    name: str | None = None,
    feature_names: Sequence[str] = (),
) -> tuple[Model, Weights]:
    """The model and its weights; tables share the memory of the module's parameters.

    Features are named after the module that reads the table ("emb_l.0"), a second reader of the same table
    "emb_l.0:2", unless `feature_names` gives names in the order in which the forward reads them.

    Args:
        sample: example arguments of forward, in order or by name.

    Raises:
        CheckpointError: the forward cannot be captured or exported; names the line at fault.
    """
    captured = capture(module, sample, widths="fixed")
    tables, parameters, lookups = find_lookups(captured)
    check_plain_ids(lookups)
    columns = Columns.of(lookups, {table.name: table.dim for table in tables})
    exported = export_dense(captured, lookups, columns)
    if feature_names and len(feature_names) != len(lookups):
        raise CheckpointError(
            "import",
            f"{len(feature_names)} feature names for {len(lookups)} look-ups: "
            f"{', '.join(lookup.feature.name for lookup in lookups)}",
            "Give one for each, in this order.",
        )
    names = {
        lookup.feature.name: new
        for lookup, new in zip(lookups, feature_names or [lookup.feature.name for lookup in lookups], strict=True)
    }
    features = tuple(msgspec.structs.replace(lookup.feature, name=names[lookup.feature.name]) for lookup in lookups)
    inputs = tuple(msgspec.structs.replace(each, feature=names.get(each.feature, "")) for each in exported.inputs)
    model = Model(
        name or type(module).__name__,
        tables,
        features,
        dense_inputs=exported.dense_inputs,
        graph=Graph(GRAPH_FILE, inputs),
    )
    arrays = {table: parameter.numpy() for table, parameter in parameters.items()}
    return model, Weights(arrays, files={GRAPH_FILE: exported.program})


def make_module(factory: str) -> torch.nn.Module:
    """The module that `factory` ("pkg.mod:function" or "file.py:function") returns when called without arguments.

    Raises:
        CheckpointError: there is no such function, it fails, or it returns something else.
    """
    import torch

    place, _, attribute = factory.partition(":")
    if not attribute:
        raise CheckpointError("import", f"'{factory}' names no function", "Write it as pkg.mod:factory.")
    function = _find(place, attribute)
    try:
        module = function()
    except Exception as error:
        raise CheckpointError("import", f"'{factory}' failed: {error!r}", "It is called without arguments.") from error
    if not isinstance(module, torch.nn.Module):
        raise CheckpointError(
            "import", f"'{factory}' returns a {type(module).__name__}", "It must return a torch.nn.Module."
        )
    return module


def load_into(module: torch.nn.Module, path: Path) -> None:
    """Load the checkpoint at `path` into `module`; every parameter must be there and fit.

    Raises:
        CheckpointError: the file is foreign or damaged, or its names or shapes are not the module's.
    """
    state = _tensors(path)
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        details = [line.strip() for line in str(error).splitlines()[1:]]
        raise CheckpointError(
            "import",
            f"'{path}' does not fit {type(module).__name__}: {' '.join(details)[:600]}",
            "The factory must build the module that was trained.",
        ) from error


def read_sample(path: str | Path) -> dict[str, Any]:
    """Example inputs by parameter name from an .npz file; "ids.0", "ids.1", ... are the list `ids`.

    Raises:
        FormatError: the file is no .npz of plain arrays.
    """
    import torch

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: np.ascontiguousarray(file[key]) for key in file.files}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise FormatError(
            "import", f"'{path}' is not an .npz of plain arrays: {error}", "Write it with numpy.savez."
        ) from error
    sample: dict[str, Any] = {}
    for key in sorted(arrays, key=_list_position):
        name, _, position = key.rpartition(".")
        if name and position.isdigit():
            sample.setdefault(name, []).append(torch.from_numpy(arrays[key]))
        else:
            sample[key] = torch.from_numpy(arrays[key])
    return sample


def _list_position(key: str) -> tuple[str, int]:
    name, _, position = key.rpartition(".")
    return (name, int(position)) if name and position.isdigit() else (key, -1)


def _find(place: str, attribute: str) -> Callable[[], Any]:
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            assert spec is not None and spec.loader is not None
            found = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(spec.name, found)
            spec.loader.exec_module(found)
        else:
            # As `python -m` does: the user's own module lies where they stand.
            sys.path.insert(0, "")
            try:
                found = importlib.import_module(place)
            finally:
                sys.path.remove("")
    except (ImportError, OSError) as error:
        raise CheckpointError("import", f"cannot import '{place}': {error}", "Check --model.") from error
    if not callable(getattr(found, attribute, None)):
        raise CheckpointError("import", f"'{place}' has no function '{attribute}'", "Check --model.")
    return getattr(found, attribute)


def _tensors(path: Path) -> dict[str, Any]:
    if recognise(path) == "torch":
        return checkpoint.state_dict(path)
    import safetensors.torch

    tensor_file.read(path)
    return checkpoint.strip_wrappers(safetensors.torch.load_file(path))
