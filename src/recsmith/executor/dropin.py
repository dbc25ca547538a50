"""A module of the same signature and the same outputs, whose tables are looked up in one native call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from recsmith.importers.capture import Capture, capture
from recsmith.importers.lookups import Lookup, find_lookups
from recsmith.importers.split import Columns, dense_part, ids_part
from recsmith.spec import CheckpointError, Executable, InputError, Model, Weights

from .assemble import assemble, sources
from .captured import with_packed_layers

Build = Callable[[Model, Weights], Executable]
# Sums in another order differ in the last bits; anything more is a wrong capture.
_TOLERANCE = 1e-4


def optimize(module: nn.Module, sample: Any, *, build: Build) -> Optimised:
    """A module that computes what `module` computes in evaluation mode, with one look-up for all its tables.

    The rest of the forward runs as captured, in inference mode, its linear layers by the faster of torch's two
    libraries, whose results differ in rounding. Batch size and lengths are free; int32 and int64 ids are taken as
    they come. The result is run on the sample once and compared.

    Args:
        sample: example arguments of forward: a tuple or list, a mapping by name, or the only tensor.
        build: makes the executable for the look-up-only model that was found.

    Raises:
        CheckpointError: the forward cannot be captured (names the line), or differs on the sample.
    """
    arguments = (sample,) if isinstance(sample, Tensor) else sample
    captured = capture(module, arguments)
    tables, parameters, lookups = find_lookups(captured)
    model = Model(type(module).__name__, tables, tuple(lookup.feature for lookup in lookups))
    weights = Weights({name: parameter.numpy() for name, parameter in parameters.items()})
    columns = Columns.of(lookups, {table.name: table.dim for table in tables})
    dense = with_packed_layers(dense_part(captured, lookups, columns))
    signature = inspect.signature(module.forward)
    optimised = _of_signature(signature)(captured, lookups, model, dense, build(model, weights), signature)
    _check_on_sample(module, optimised, arguments)
    return optimised


class Optimised(nn.Module):
    """What `optimize` returns.

    Attributes:
        model: the tables and features that were found.
        executable: what looks them up; `lookup` is called once a forward.
        dense: the rest of the forward.
    """

    def __init__(
        self,
        captured: Capture,
        lookups: Sequence[Lookup],
        model: Model,
        dense: GraphModule,
        executable: Executable,
        signature: inspect.Signature,
    ) -> None:
        super().__init__()
        self.model = model
        self.executable = executable
        self.dense = dense
        self._ids = ids_part(captured, lookups)
        self._plain = _plain_positions(captured, lookups)
        self._sources = sources(lookups)
        self._rows = tuple(lookup.feature.name for lookup in lookups if lookup.form == "rows")
        self._row_ids = tuple(source.ids for source in self._sources if source.form == "rows")
        self._pools = any(source.form != "rows" for source in self._sources)
        self._inputs = _Inputs(captured)
        self._outputs = captured.outputs
        self._signature = signature
        self.eval()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the original module returns; takes what it takes.

        Raises:
            InputError: the inputs are not of the kind that the sample was.
        """
        if kwargs or len(args) != len(self._signature.parameters):
            args = self._bind(args, kwargs)
        leaves = self._inputs.flatten(args)
        with torch.inference_mode():
            tensors = [leaves[at] for at in self._plain] if self._plain is not None else self._ids(*leaves)
            looked = self.executable.lookup(assemble(self._sources, tensors))
            vectors = [torch.from_numpy(looked.pooled)] if self._pools else []
            for name, at in zip(self._rows, self._row_ids, strict=True):
                rows = torch.from_numpy(looked.sequences[name])
                vectors.append(rows.view(*tensors[at].shape, rows.shape[1]))
            return pytree.tree_unflatten(self.dense(*leaves, *vectors), self._outputs)

    def close(self) -> None:
        """Give back the threads and memory of the look-up."""
        self.executable.close()

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputError("forward", f"{error}", f"Call it as forward{self._signature}.") from error
        bound.apply_defaults()
        return tuple(bound.arguments.values())


def _of_signature(signature: inspect.Signature) -> type[Optimised]:
    """`Optimised` whose forward shows `signature` to those who ask for it (editors, torch.export, servers)."""

    def forward(self: Optimised, *args: Any, **kwargs: Any) -> Any:
        return Optimised.forward(self, *args, **kwargs)

    receiver = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    forward.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[receiver, *signature.parameters.values()]
    )
    return type("Optimised", (Optimised,), {"forward": forward})


class _Inputs:
    """Arguments to flat leaves, checked against what was captured."""

    def __init__(self, captured: Capture) -> None:
        self._spec = captured.inputs
        self._parameters = captured.parameters
        self._constants = captured.constants
        self._counts = _flat_counts(captured.inputs)
        self._guards = captured.guards
        self._holds = eval(f"lambda L: ({', '.join(captured.guards)},)" if captured.guards else "lambda L: ()")

    def flatten(self, args: tuple[Any, ...]) -> list[Any]:
        leaves = self._flatten(args)
        for at, constant in self._constants.items():
            if isinstance(leaves[at], Tensor) or leaves[at] != constant:
                raise InputError(
                    "forward", f"the forward was captured with {constant!r}, not {leaves[at]!r}", "Optimise it again."
                )
        if self._guards:
            self._check_guards(args)
        return leaves

    def _flatten(self, args: tuple[Any, ...]) -> list[Any]:
        if self._counts is not None:
            leaves: list[Any] = []
            for arg, count in zip(args, self._counts, strict=True):
                if count is None:
                    leaves.append(arg)
                elif type(arg) in (list, tuple) and len(arg) == count:
                    leaves.extend(arg)
                else:
                    break
            else:
                return leaves
        leaves, spec = pytree.tree_flatten(args)
        if spec != self._spec:
            raise InputError(
                "forward", f"the inputs are nested as {spec}, the sample was {self._spec}", "Optimise it again."
            )
        return leaves

    def _check_guards(self, args: tuple[Any, ...]) -> None:
        try:
            held = self._holds(dict(zip(self._parameters, args, strict=True)))
        except (AttributeError, IndexError, TypeError, KeyError) as error:
            raise InputError(
                "forward", f"the inputs are not of the sample's kind: {error}", "Pass what the sample was like."
            ) from error
        if not all(held):
            broken = self._guards[held.index(False)]
            raise InputError(
                "forward",
                f"the forward was captured for {_readable(broken)}, which does not hold",
                "Check the input's shape; if the module treats such sizes differently, optimise it for them.",
            )


def _plain_positions(captured: Capture, lookups: Sequence[Lookup]) -> tuple[int, ...] | None:
    """Where each id tensor stands among the inputs, when all of them are inputs as they are."""
    inputs = {node: at for at, node in enumerate(captured.graph.graph.find_nodes(op="placeholder"))}
    wanted = [node for lookup in lookups for node in (lookup.ids, lookup.offsets, lookup.weights) if node is not None]
    return tuple(inputs[node] for node in wanted) if all(node in inputs for node in wanted) else None


def _flat_counts(spec: Any) -> tuple[int | None, ...] | None:
    """None for a leaf, n for a list or tuple of n leaves, for each argument; None where they nest deeper."""
    counts: list[int | None] = []
    for argument in spec.children():
        if argument.is_leaf():
            counts.append(None)
        elif argument.type in (list, tuple) and all(child.is_leaf() for child in argument.children()):
            counts.append(argument.num_children)
        else:
            return None
    return tuple(counts)


def _readable(guard: str) -> str:
    return re.sub(r"L\['(\w+)'\]", r"\1", guard).replace(".size()", ".shape")


def _check_on_sample(module: nn.Module, optimised: Optimised, arguments: Any) -> None:
    args, kwargs = ((), arguments) if isinstance(arguments, Mapping) else (tuple(arguments), {})
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.inference_mode():
            wanted = pytree.tree_leaves(module(*args, **kwargs))
    finally:
        for part, flag in training.items():
            part.training = flag
    found = pytree.tree_leaves(optimised(*args, **kwargs))
    for a, b in zip(found, wanted, strict=True):
        if isinstance(b, Tensor) and not _close(a, b):
            raise CheckpointError(
                "optimize",
                f"the captured forward of {type(module).__name__} differs from the original on the sample",
                "Does the module draw random numbers, or keep state between calls?",
            )


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    x, y = a.double().numpy(), b.double().numpy()
    largest = np.max(np.abs(y), initial=0.0, where=np.isfinite(y))
    return bool(np.allclose(x, y, rtol=0, atol=_TOLERANCE * largest + 1e-30, equal_nan=True))
