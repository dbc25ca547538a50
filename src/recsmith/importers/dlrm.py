"""facebookresearch/dlrm's `DLRM_Net` from its state dict: structure from key names and widths.

Facts used (dlrm_s_pytorch.py): tables `emb_l.{i}.weight` with sum pooling; MLPs `bot_l` and `top_l` as
Linear, activation, Linear, ... so that linear layer i has index 2i; ReLU everywhere but after the last top
layer (sigmoid); the interaction is the bottom output followed by the lower triangle, row by row, of the
products of all pairs, or the concatenation; `v_W_l.{i}`, when pooling weights were learned, holds one weight
for each row of table i.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsmith.spec import CheckpointError, Feature, Interaction, Mlp, Model, RowFormat, Table, Weights
from recsmith.spec.model import Activation
from recsmith.spec.row_format import RowDtype

from .tensor_file import Array, Stored

_FORMATS: dict[str, RowDtype] = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F64": "fp32"}
_KEY = re.compile(r"emb_l\.(\d+)\.weight|(bot_l|top_l)\.(\d+)\.(weight|bias)|v_W_l\.(\d+)")
_TABLE = re.compile(r"emb_l\.(\d+)\.(.+)")
_OTHER_REPRESENTATIONS = {
    "weight_q": "quotient-remainder embeddings (--qr-flag)",
    "weight_r": "quotient-remainder embeddings (--qr-flag)",
    "embs.weight": "mixed-dimension embeddings (--md-flag)",
    "proj.weight": "mixed-dimension embeddings (--md-flag)",
}


def is_dlrm(names: Sequence[str]) -> bool:
    """Whether a state dict with these names was meant to be a `DLRM_Net`."""
    return any(name.startswith("emb_l.") for name in names) and any(name.startswith("top_l.") for name in names)


def from_arrays(
    arrays: Mapping[str, Stored],
    *,
    name: str = "dlrm",
    interaction: Literal["dot", "cat"] | None = None,
    self_terms: bool | None = None,
    feature_names: Sequence[str] = (),
    output: Activation = "sigmoid",
) -> tuple[Model, Weights]:
    """The model and its weights; tables share the memory of `arrays`.

    Args:
        interaction, self_terms: needed only where the widths leave a choice.
        feature_names: one per table; C1, C2, ... when empty. Tables are called as their features.
        output: activation after the last top layer; the original's scripts use sigmoid.

    Raises:
        CheckpointError: a key is missing, foreign or misshapen, or the widths fit no interaction or several.
    """
    _check_keys(arrays)
    tables, rows = read_tables(arrays, feature_names)
    bottom, bottom_parameters = read_mlp(arrays, "bot_l", "bottom", "relu")
    top, top_parameters = read_mlp(arrays, "top_l", "top", output)
    if top.widths[-1] != 1:
        raise CheckpointError(
            "import", f"the top MLP ends in {top.widths[-1]} outputs; DLRM ends in 1", "Give the module with --model."
        )
    model = Model(
        name=name,
        tables=tables,
        features=tuple(Feature(table.name, table.name) for table in tables),
        dense_inputs=bottom.widths[0],
        bottom=bottom,
        interaction=infer_interaction(
            bottom.widths[-1], [table.dim for table in tables], top.widths[0], kind=interaction, self_terms=self_terms
        ),
        top=top,
    )
    return model, Weights(rows, bottom_parameters | top_parameters)


def infer_interaction(
    bottom_width: int,
    dims: Sequence[int],
    top_width: int,
    *,
    kind: Literal["dot", "cat"] | None = None,
    self_terms: bool | None = None,
) -> Interaction:
    """The one interaction that yields `top_width` columns.

    cat: bottom + sum of dims. dot: bottom + n(n-1)/2 for n vectors, + n(n+1)/2 with self terms. So a state
    dict that lost its last table looks like one with self terms, which are only believed when asked for.

    Raises:
        CheckpointError: none or several do, or only self terms would; names the flags that settle it.
    """
    vectors = len(dims) + 1
    widths = {Interaction("cat"): bottom_width + sum(dims)}
    if set(dims) == {bottom_width}:
        widths[Interaction("dot", False)] = bottom_width + vectors * (vectors - 1) // 2
        widths[Interaction("dot", True)] = bottom_width + vectors * (vectors + 1) // 2
    asked = {
        option: width
        for option, width in widths.items()
        if kind in (None, option.kind)
        and (self_terms is None or option.kind == "cat" or option.self_terms == self_terms)
    }
    fitting = [option for option, width in asked.items() if width == top_width]
    if len(fitting) == 1 and fitting[0].self_terms and self_terms is None:
        raise CheckpointError(
            "import",
            f"a top MLP of {top_width} inputs fits dot with self terms of {len(dims)} tables, and plain dot of "
            f"{len(dims) + 1} tables of which the last is missing",
            "Say --self-terms if the model keeps x·x; otherwise the checkpoint is incomplete.",
        )
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise CheckpointError(
            "import",
            f"a top MLP of {top_width} inputs fits {' and '.join(map(_call, fitting))}",
            "Say which with --interaction dot|cat and --self-terms or --no-self-terms.",
        )
    table_dims = f"{len(dims)} tables of dim {', '.join(map(str, sorted(set(dims))))}"
    wanted = ", ".join(f"{_call(option)} {width}" for option, width in asked.items())
    raise CheckpointError(
        "import",
        f"a top MLP of {top_width} inputs fits no interaction of a bottom MLP of width {bottom_width} with "
        f"{table_dims} (wanted: {wanted or 'dot needs all of one width'})",
        "Check the flags; for another architecture give the module with --model.",
    )


def _call(option: Interaction) -> str:
    if option.kind == "cat":
        return "cat"
    return "dot with self terms" if option.self_terms else "dot"


def _check_keys(arrays: Mapping[str, Stored]) -> None:
    for name in arrays:
        table = _TABLE.fullmatch(name)
        if table and table.group(2) in _OTHER_REPRESENTATIONS:
            raise CheckpointError(
                "import",
                f"table {table.group(1)} holds {_OTHER_REPRESENTATIONS[table.group(2)]} ('{name}'), "
                "a representation that is not supported yet",
                "Export the model with plain tables.",
            )
    foreign = [name for name in arrays if not _KEY.fullmatch(name)]
    if foreign or not is_dlrm(list(arrays)):
        raise CheckpointError(
            "import",
            f"this is not a DLRM_Net state dict: found {', '.join((foreign or list(arrays))[:8]) or 'no keys'}; "
            "wanted emb_l.{i}.weight, bot_l.{0,2,..}.weight|bias, top_l.{0,2,..}.weight|bias",
            "For another architecture give the module with --model pkg.mod:factory.",
        )


def read_tables(arrays: Mapping[str, Stored], names: Sequence[str]) -> tuple[tuple[Table, ...], dict[str, Array]]:
    """Tables `emb_l.{i}.weight` and their rows, called `names` or C1, C2, ...

    Raises:
        CheckpointError: one is missing or misshapen.
    """
    indices = sorted(int(match.group(1)) for key in arrays if (match := re.fullmatch(r"emb_l\.(\d+)\.weight", key)))
    missing = sorted(set(range(indices[-1] + 1)) - set(indices))
    if missing:
        raise CheckpointError(
            "import",
            f"the state dict lacks table 'emb_l.{missing[0]}.weight' ({len(missing)} of {indices[-1] + 1} missing)",
            "A distributed run saves each rank's tables apart; merge them first.",
        )
    if names and len(names) != len(indices):
        raise CheckpointError("import", f"{len(names)} feature names for {len(indices)} tables", "Give one per table.")
    tables, rows = [], {}
    for index in indices:
        key = f"emb_l.{index}.weight"
        stored = arrays[key]
        if stored.array.ndim != 2 or stored.dtype not in _FORMATS or 0 in stored.array.shape:
            raise CheckpointError(
                "import",
                f"table '{key}' is {stored.dtype} {list(stored.array.shape)}; wanted rows x dim of F32, F16 or BF16",
                "Check how the checkpoint was made.",
            )
        count, dim = stored.array.shape
        table = Table(names[index] if names else f"C{index + 1}", count, dim, RowFormat(_FORMATS[stored.dtype]))
        tables.append(table)
        rows[table.name] = _rows(stored, arrays.get(f"v_W_l.{index}"), key)
    return tuple(tables), rows


def _rows(stored: Stored, pooling_weights: Stored | None, key: str) -> Array:
    """The table; learned pooling weights, one a row, are multiplied in, since sum(w_r * row_r) is all they do."""
    rows = stored.array.astype(np.float32) if stored.dtype == "F64" else stored.array
    if pooling_weights is None:
        return rows
    if pooling_weights.array.shape != (len(rows),) or stored.dtype not in ("F32", "F64"):
        raise CheckpointError(
            "import",
            f"the pooling weights of '{key}' are {list(pooling_weights.array.shape)} for a table "
            f"{stored.dtype} {list(rows.shape)}; wanted one for each row of an F32 table",
            "Check how the checkpoint was made.",
        )
    weights = pooling_weights.array.astype(np.float32)
    return rows if (weights == 1).all() else rows.astype(np.float32, copy=False) * weights[:, None]


def read_mlp(
    arrays: Mapping[str, Stored], prefix: str, name: str, last: Activation
) -> tuple[Mlp, dict[str, NDArray[np.float32]]]:
    """The MLP under `prefix` with its parameters, called `name` here.

    Raises:
        CheckpointError: layers are missing or misshapen.
    """
    found = {int(match.group(1)) for key in arrays if (match := re.match(rf"{prefix}\.(\d+)\.", key))}
    layers = (max(found) // 2 + 1) if found else 0
    parameters: dict[str, NDArray[np.float32]] = {}
    widths: list[int] = []
    for layer in range(layers):
        weight, bias = read_linear(arrays, f"{prefix}.{2 * layer}", widths[-1] if widths else None)
        widths += [weight.shape[1], weight.shape[0]] if not widths else [weight.shape[0]]
        parameters |= {f"{name}.{layer}.weight": weight, f"{name}.{layer}.bias": bias}
    odd = sorted(index for index in found if index % 2)
    if odd or not layers:
        raise CheckpointError(
            "import",
            f"'{prefix}' has layers {sorted(found) or 'none'}; DLRM_Net has linear layers at 0, 2, 4, ...",
            "For another architecture give the module with --model pkg.mod:factory.",
        )
    hidden: list[Activation] = ["relu"] * (layers - 1)
    return Mlp(tuple(widths), (*hidden, last), name), parameters


def read_linear(
    arrays: Mapping[str, Stored], key: str, width_in: int | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight [out, in] and bias [out] of the linear layer `key`.

    Raises:
        CheckpointError: one is missing or misshapen.
    """
    for part in ("weight", "bias"):
        if f"{key}.{part}" not in arrays:
            raise CheckpointError("import", f"the state dict lacks '{key}.{part}'", "Check how it was saved.")
    weight, bias = dense_parameter(arrays[f"{key}.weight"]), dense_parameter(arrays[f"{key}.bias"])
    wanted_in = "in" if width_in is None else width_in
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or width_in not in (None, weight.shape[1]):
        raise CheckpointError(
            "import",
            f"'{key}.weight' is {list(weight.shape)} and '{key}.bias' {list(bias.shape)}; wanted [out, {wanted_in}] "
            "and [out]",
            "Check how the checkpoint was made.",
        )
    return weight, bias


def dense_parameter(stored: Stored) -> NDArray[np.float32]:
    """A parameter of a dense part in float32."""
    if stored.dtype == "BF16":
        return (stored.array.astype(np.uint32) << 16).view(np.float32)
    return stored.array.astype(np.float32, copy=False)
