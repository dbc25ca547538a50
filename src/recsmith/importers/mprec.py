"""MP-Rec's DLRM with DHE, hybrid or select representation, from its state dict. Source: [MPREC] B2.

Facts used (dhebag.py, dlrm_s_pytorch.py of the published code): `dhe_l.hash_params.{i}` [k, 4] holds a, b, p, m of
stack i; `dhe_l.dhe_mlps.{i}.{0,2,..}` are its linear layers, ReLU between, the last activation not stored; a batch
norm, when there is one, follows as the next even index. Hybrid models have as many tables as stacks. In select models
the vectors of tables come first, then those of stacks; which features those are is not stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsmith.spec import CheckpointError, Dhe, Feature, Interaction, Mlp, Model, Table, Weights
from recsmith.spec.model import Activation
from recsmith.spec.representation import DecoderActivation, Transform

from . import dlrm
from .tensor_file import Array, Stored

_STACK = re.compile(r"dhe_l\.(?:hash_params\.(\d+)|dhe_mlps\.(\d+)\.(\d+)\.(\w+))")
_NORM = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance"}


def is_mprec(names: Sequence[str]) -> bool:
    """Whether a state dict with these names was meant to be MP-Rec's DLRM with DHE stacks."""
    return any(name.startswith("dhe_l.") for name in names) and any(name.startswith("top_l.") for name in names)


def from_arrays(
    arrays: Mapping[str, Stored],
    *,
    rows: Sequence[int] = (),
    transform: Transform = "uniform",
    last_activation: DecoderActivation = "sigmoid",
    dhe_features: Sequence[int] | None = None,
    name: str = "mprec",
    interaction: Literal["dot", "cat"] | None = None,
    self_terms: bool | None = None,
    feature_names: Sequence[str] = (),
    output: Activation = "sigmoid",
) -> tuple[Model, Weights]:
    """The model and its weights. Hashes keep the checkpoint's own prime, whatever the rows.

    Args:
        rows: ids of each feature; the state dict does not know them where there is no table.
        transform, last_activation: as the model was trained; not stored.
        dhe_features: of a select model, which features are stacks; the last ones when None, which is the published
            default for features sorted by size.
        interaction, self_terms, feature_names, output: as for `dlrm.from_arrays`.

    Raises:
        CheckpointError: a key is foreign, missing or misshapen, or something that is not stored was not given.
    """
    _check_keys(arrays)
    stored = {key: value for key, value in arrays.items() if key.startswith("emb_l.")}
    plain, table_rows = dlrm.read_tables(arrays, ()) if stored else ((), {})
    stacks = [_stack(arrays, i, transform, last_activation) for i in range(_count(arrays))]
    kinds = _kinds(len(plain), len(stacks), dhe_features)
    names = list(feature_names) or [f"C{i + 1}" for i in range(len(kinds))]
    sizes = _sizes(kinds, [table.rows for table in plain], rows)
    if len(names) != len(kinds):
        raise CheckpointError("import", f"{len(names)} feature names for {len(kinds)} features", "Give one each.")
    tables: list[Table] = []
    second: list[Table] = []
    features: list[Feature] = []
    held: dict[str, Array] = {}
    parameters: dict[str, NDArray[np.generic]] = {}
    waiting, left = iter(plain), iter(stacks)
    for at, (called, kind) in enumerate(zip(names, kinds, strict=True)):
        if kind != "dhe":
            table = next(waiting)
            tables.append(replace(table, name=called))
            held[called] = table_rows[table.name]
        if kind != "table":
            settings, own, dim = next(left)
            label = f"{called}+dhe" if kind == "both" else called
            (second if kind == "both" else tables).append(Table(label, sizes[at], dim, computed=settings))
            parameters |= {f"{label}.{part}": array for part, array in own.items()}
        features.append(Feature(called, called, beside=f"{called}+dhe" if kind == "both" else None))
    bottom, bottom_parameters = dlrm.read_mlp(arrays, "bot_l", "bottom", "relu")
    top, top_parameters = dlrm.read_mlp(arrays, "top_l", "top", output)
    dims = [table.dim for table in (*tables, *second)]
    joined = dlrm.infer_interaction(bottom.widths[-1], dims, top.widths[0], kind=interaction, self_terms=self_terms)
    if set(kinds) == {"table", "dhe"}:
        places = [at for at, kind in enumerate(kinds) if kind == "table"]
        places += [at for at, kind in enumerate(kinds) if kind == "dhe"]
        top_parameters["top.0.weight"] = _in_feature_order(top_parameters["top.0.weight"], bottom, joined, dims, places)
    model = Model(name, (*tables, *second), tuple(features), bottom.widths[0], bottom, joined, top)
    return model, Weights(held, bottom_parameters | top_parameters, parameters=parameters)


def _check_keys(arrays: Mapping[str, Stored]) -> None:
    wanted = re.compile(r"emb_l\.\d+\.weight|(bot_l|top_l)\.\d+\.(weight|bias)|v_W_l\.\d+")
    foreign = [key for key in arrays if not wanted.fullmatch(key) and not _STACK.fullmatch(key)]
    if foreign:
        raise CheckpointError("import", f"keys {', '.join(foreign[:5])} are not of MP-Rec's DLRM", "Check the file.")


def _count(arrays: Mapping[str, Stored]) -> int:
    found = {int(match.group(1) or match.group(2)) for key in arrays if (match := _STACK.fullmatch(key))}
    lacking = [i for i in range(max(found) + 1) if f"dhe_l.hash_params.{i}" not in arrays]
    if lacking:
        raise CheckpointError("import", f"the state dict lacks 'dhe_l.hash_params.{lacking[0]}'", "Save it whole.")
    return max(found) + 1


def _kinds(tables: int, stacks: int, dhe_features: Sequence[int] | None) -> list[str]:
    """Per feature: `table`, `dhe` or `both`."""
    if not tables:
        return ["dhe"] * stacks
    if tables == stacks and dhe_features is None:
        return ["both"] * stacks
    total = tables + stacks
    chosen = sorted(dhe_features) if dhe_features is not None else list(range(tables, total))
    if len(set(chosen)) != stacks or chosen[0] < 0 or chosen[-1] >= total:
        raise CheckpointError(
            "import", f"DHE features {chosen} for {stacks} stacks of {total} features", "Name each by its position."
        )
    return ["dhe" if at in chosen else "table" for at in range(total)]


def _sizes(kinds: Sequence[str], tables: Sequence[int], rows: Sequence[int]) -> list[int]:
    if rows and len(rows) != len(kinds):
        if kinds[0] == "both":
            raise CheckpointError(
                "import",
                f"{len(rows)} row counts for {len(kinds)} features: as many tables as DHE stacks were read as hybrid",
                "Give one count each; or, if the model is select, name its DHE features by position: --dhe-features.",
            )
        raise CheckpointError("import", f"{len(rows)} row counts for {len(kinds)} features", "Give one each.")
    if not rows and "dhe" in kinds:
        raise CheckpointError(
            "import",
            f"feature {kinds.index('dhe') + 1} is a DHE stack without a table, and the state dict does not say how "
            "many ids it has",
            "Pass the ids of each feature: --rows 1460,583,...",
        )
    waiting = iter(tables)
    known = [next(waiting) if kind != "dhe" else 0 for kind in kinds]
    return [known[at] or rows[at] for at in range(len(kinds))]


def _stack(
    arrays: Mapping[str, Stored], index: int, transform: Transform, last: DecoderActivation
) -> tuple[Dhe, dict[str, NDArray[np.generic]], int]:
    hashes = arrays[f"dhe_l.hash_params.{index}"].array
    if hashes.ndim != 2 or hashes.shape[1] != 4 or len(np.unique(hashes[:, 2:], axis=0)) != 1:
        raise CheckpointError(
            "import",
            f"'dhe_l.hash_params.{index}' is {list(hashes.shape)}; wanted [k, 4] with one p and m",
            "Check it.",
        )
    found: dict[str, NDArray[np.generic]] = {
        "a": hashes[:, 0].astype(np.int64),
        "b": hashes[:, 1].astype(np.int64),
    }
    head = f"dhe_l.dhe_mlps.{index}."
    norm = {m.group(1) for key in arrays if (m := re.fullmatch(re.escape(head) + r"(\d+)\.running_mean", key))}
    places = sorted(
        int(match.group(1))
        for key in arrays
        if (match := re.fullmatch(re.escape(head) + r"(\d+)\.weight", key)) and match.group(1) not in norm
    )
    widths = [len(hashes)]
    for layer, place in enumerate(places):
        weight, bias = dlrm.read_linear(arrays, f"{head}{place}", widths[-1])
        found |= {f"{layer}.weight": weight, f"{layer}.bias": bias}
        widths.append(len(bias))
    if not places or places != list(range(0, 2 * len(places), 2)):
        raise CheckpointError("import", f"'{head}' has linear layers at {places}", "They must be at 0, 2, 4, ...")
    for at in norm:
        for theirs, ours in _NORM.items():
            found[f"norm.{ours}"] = dlrm.dense_parameter(arrays[f"{head}{at}.{theirs}"])
    prime, buckets = int(hashes[0, 2]), int(hashes[0, 3])
    settings = Dhe(
        k=len(hashes),
        prime=prime,
        buckets=buckets,
        transform=transform,
        hidden=tuple(widths[1:-1]),
        last_activation=last,
        batch_norm=bool(norm),
        draw=index,
    )
    return settings, found, widths[-1]


def _in_feature_order(
    weight_OI: NDArray[np.float32], bottom: Mlp, kind: Interaction, dims: Sequence[int], places: Sequence[int]
) -> NDArray[np.float32]:
    """The top MLP's first weights for vectors in feature order; the checkpoint's i-th vector is feature places[i]."""
    first = bottom.widths[-1]
    theirs = {feature: at for at, feature in enumerate(places)}
    if kind.kind == "cat":
        starts = np.concatenate([[first], first + np.cumsum([dims[feature] for feature in places])])
        blocks = [np.arange(starts[theirs[f]], starts[theirs[f] + 1]) for f in range(len(places))]
        return weight_OI[:, np.concatenate([np.arange(first), *blocks])]
    position = [0, *(1 + theirs[f] for f in range(len(places)))]
    i, j = np.tril_indices(len(position), 0 if kind.self_terms else -1)
    column = {pair: at for at, pair in enumerate(zip(i.tolist(), j.tolist(), strict=True))}
    pairs = [(position[x], position[y]) for x, y in zip(i.tolist(), j.tolist(), strict=True)]
    order = [first + column[max(pair), min(pair)] for pair in pairs]
    return weight_OI[:, np.concatenate([np.arange(first), np.array(order, int)])]
