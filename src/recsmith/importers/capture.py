"""A module's forward as one flat, functional graph, by torch.export.

torch.export is used rather than fx.symbolic_trace because it runs the module's Python as it is: loops over
lists of tensors, unpacked shapes and index arithmetic on them all work, and what it cannot follow it refuses
with the line at fault.
"""

from __future__ import annotations

import inspect
import logging
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsmith.spec import CheckpointError, UnavailableError

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule, Node

Widths = Literal["free", "fixed"]

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>.+)\n\s*(?P<code>.*)')
# Two sizes being equal needs no check of its own: operators that need it raise.
_SIZES_EQUAL = re.compile(r"^L\S+\.size\(\)\[\d+\] == L\S+\.size\(\)\[\d+\]$")


@dataclass(frozen=True, slots=True)
class Capture:
    """A captured forward.

    Attributes:
        graph: takes the flattened inputs as placeholders, returns the flattened outputs; no operator writes to
            its inputs.
        parameters: the forward's parameter names, in order.
        defaults: those of them that have defaults.
        inputs: how the arguments flatten (a pytree of positional arguments).
        outputs: how the outputs flatten.
        constants: position among the flattened inputs to value, for inputs that are not tensors.
        guards: conditions on input sizes under which the module's Python takes the same way, as expressions
            over `L`, the arguments by name.
        example: the flattened sample.
        names: address of each parameter's and buffer's data to its name in the module, the first where several
            share it.
    """

    graph: GraphModule
    parameters: tuple[str, ...]
    defaults: Mapping[str, Any]
    inputs: Any
    outputs: Any
    constants: Mapping[int, Any]
    guards: tuple[str, ...]
    example: tuple[Any, ...]
    names: Mapping[int, str]


def capture(module: torch.nn.Module, sample: Mapping[str, Any] | Sequence[Any], *, widths: Widths = "free") -> Capture:
    """The forward of `module` in evaluation mode, for inputs of any batch size and any lengths.

    Args:
        sample: example arguments, positional (sequence) or by name (mapping).
        widths: whether float inputs may change their sizes beyond the first axis from call to call.

    Raises:
        CheckpointError: the forward cannot be captured; names the line of the module's code at fault.
        UnavailableError: torch is too old.
    """
    import torch
    from torch.utils import _pytree as pytree

    parameters, defaults, arguments = _bind(module, sample)
    leaves, spec = pytree.tree_flatten(arguments)
    _check_devices(module)
    with _evaluation(module), torch.no_grad(), _quiet():
        program = _export(module, arguments, widths)
    mutated = {**program.graph_signature.buffers_to_mutate, **program.graph_signature.user_inputs_to_mutate}
    if mutated:
        raise CheckpointError(
            "capture",
            f"the forward writes to {', '.join(sorted(mutated.values()))}",
            "Remove the in-place operation, so that every call computes from its inputs alone.",
        )
    graph = program.module(check_guards=False)
    graph.graph.set_codegen(torch.fx.graph.CodeGen())
    graph.recompile()
    return Capture(
        graph=graph,
        parameters=parameters,
        defaults=defaults,
        inputs=spec,
        outputs=program.call_spec.out_spec,
        constants={at: leaf for at, leaf in enumerate(leaves) if not isinstance(leaf, torch.Tensor)},
        guards=tuple(guard for guard in program._guards_code if not _SIZES_EQUAL.match(guard)),
        example=tuple(leaves),
        names={tensor.data_ptr(): name for name, tensor in [*module.named_buffers(), *module.named_parameters()]},
    )


def line_of(node: Node) -> str:
    """The user's line that made `node`, as "file.py:12: code", or the operator where there is none."""
    frames = [match.groupdict() for match in _FRAME.finditer(node.meta.get("stack_trace") or "")]
    own = [frame for frame in frames if not _in_torch(frame["file"])]
    if not own:
        return str(node.target)
    return f"{Path(own[-1]['file']).name}:{own[-1]['line']}: {own[-1]['code'].strip()}"


def fixed_size(size: Any) -> int | None:
    """A size of a traced tensor where it is one number for all inputs, else None."""
    return size if isinstance(size, int) else size.node.maybe_as_int()


@contextmanager
def dynamic_export() -> Iterator[None]:
    """Within it, torch.export takes sizes 0 and 1 for ordinary ones, so that batches of any size are served."""
    import torch

    config = torch.fx.experimental._config
    if not hasattr(config, "backed_size_oblivious"):
        raise UnavailableError("capture", f"torch {torch.__version__} is too old", "pip install --upgrade torch")
    with config.patch(backed_size_oblivious=True):
        yield


def _bind(
    module: torch.nn.Module, sample: Mapping[str, Any] | Sequence[Any]
) -> tuple[tuple[str, ...], Mapping[str, Any], tuple[Any, ...]]:
    signature = inspect.signature(module.forward)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
            raise CheckpointError(
                "capture",
                f"forward takes '{parameter}', which is not a plain positional parameter",
                "Wrap the module in one whose forward lists its inputs.",
            )
    try:
        bound = signature.bind(**sample) if isinstance(sample, Mapping) else signature.bind(*sample)
    except TypeError as error:
        raise CheckpointError(
            "capture", f"the sample does not fit forward{signature}: {error}", "Give one example of each input."
        ) from error
    bound.apply_defaults()
    defaults = {p.name: p.default for p in signature.parameters.values() if p.default is not p.empty}
    return tuple(signature.parameters), defaults, tuple(bound.arguments.values())


def _export(module: torch.nn.Module, arguments: tuple[Any, ...], widths: Widths) -> Any:
    import torch
    from torch.utils import _pytree as pytree

    shapes = pytree.tree_map(lambda leaf: _sizes(leaf, widths), arguments)
    try:
        with dynamic_export():
            program = torch.export.export(module, arguments, dynamic_shapes=shapes, strict=False)
            # Without a table of its own this only makes the graph functional: what is written in place in the
            # module's code becomes a new value, so the graph can be cut in two.
            return program.run_decompositions({})
    except UnavailableError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            "capture",
            f"the forward of {type(module).__name__} cannot be captured, at {_line_at_fault(error)}: {first}",
            "Let values of tensors not decide which code runs; move such steps out of the module.",
        ) from error


def _sizes(leaf: Any, widths: Widths) -> dict[int, Any] | None:
    """Which sizes may change from call to call: all of them, as far as the forward and `widths` allow.

    A float input's width of 0 or 1 is fixed in any case, because a layer that wants just that width would not
    recognise it in a size that is free.
    """
    import torch

    if not isinstance(leaf, torch.Tensor):
        return None
    dims = torch.export.Dim
    fixed = {
        at for at, n in enumerate(leaf.shape) if at > 0 and leaf.is_floating_point() and (widths == "fixed" or n < 2)
    }
    return {at: dims.STATIC if at in fixed else dims.AUTO for at in range(leaf.dim())}


def _line_at_fault(error: BaseException) -> str:
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for each in reversed(chain):
        frames = [frame for frame in traceback.extract_tb(each.__traceback__) if not _in_torch(frame.filename)]
        if frames and Path(frames[-1].filename) != Path(__file__):
            return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: {(frames[-1].line or '').strip()}"
    return "a line that torch.export does not name"


def _in_torch(file: str) -> bool:
    import torch

    return file.startswith(str(Path(torch.__file__).parent)) or file.startswith("<")


def _check_devices(module: torch.nn.Module) -> None:
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.device.type != "cpu":
            raise CheckpointError("capture", f"'{name}' lies on {tensor.device}", "Call module.cpu() first.")


@contextmanager
def _evaluation(module: torch.nn.Module) -> Iterator[None]:
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, flag in training.items():
            part.training = flag


@contextmanager
def _quiet() -> Iterator[None]:
    """torch.export logs whole graphs when it fails, and warns of its own insides; the error says what matters."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
