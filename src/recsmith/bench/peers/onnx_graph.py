"""ONNX Runtime: Gather (+ ReduceSum for bags) and Concat, inputs and output bound beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from recsmith.spec import Jagged, UnavailableError

from ..engine import NoSettings, Setup

_OPSET, _IR = 18, 9


class Session(NoSettings):
    """One session; weights are inputs, so that it reads the shared copy."""

    name = "onnxruntime"
    op_based = True

    def __init__(self, setup: Setup) -> None:
        setup.require_float32(self.name)
        if setup.bag_lengths is None:
            raise UnavailableError("bench", "a Gather + ReduceSum graph needs bags of equal length")
        self.version = str(onnxruntime.__version__)
        self.settings = f"Gather(+ReduceSum)+Concat, IO binding, output preallocated, {setup.threads} intra-op threads"
        self._lengths, self._batch = setup.bag_lengths, setup.batch
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setup.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        graph = _graph(setup, self._lengths).SerializeToString()
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        self._weights = [value(table) for table in setup.feature_tables]
        self._out_BW = np.empty((setup.batch, setup.model.width), np.float32)
        self._out = value(self._out_BW)

    def prepare(self, ids: Jagged) -> Any:
        """A binding of the batch's ids; it keeps them alive."""
        binding = self._session.io_binding()
        start = 0
        for at, length in enumerate(self._lengths):
            part = ids.values[start : start + self._batch * length]
            start += self._batch * length
            binding.bind_ortvalue_input(f"w{at}", self._weights[at])
            binding.bind_cpu_input(f"i{at}", part if length == 1 else part.reshape(self._batch, length))
        binding.bind_ortvalue_output("y", self._out)
        return binding, ids

    def call(self, prepared: Any) -> Any:
        """[B, width], the same array each time."""
        self._session.run_with_iobinding(prepared[0])
        return self._out_BW

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, width]."""
        return np.array(result)

    def close(self) -> None:
        """Drop the session and its threads."""
        del self._session


def _graph(setup: Setup, lengths: tuple[int, ...]) -> Any:
    nodes, inputs, parts = [], [], []
    for at, (length, table) in enumerate(zip(lengths, setup.feature_tables, strict=True)):
        inputs.append(helper.make_tensor_value_info(f"w{at}", TensorProto.FLOAT, list(table.shape)))
        shape = [setup.batch] if length == 1 else [setup.batch, length]
        inputs.append(helper.make_tensor_value_info(f"i{at}", TensorProto.INT64, shape))
        nodes.append(helper.make_node("Gather", [f"w{at}", f"i{at}"], [f"g{at}"], axis=0))
        parts.append(f"g{at}")
        if length != 1:
            nodes.append(helper.make_node("ReduceSum", [f"g{at}", "axis"], [f"s{at}"], keepdims=0))
            parts[-1] = f"s{at}"
    nodes.append(helper.make_node("Concat", parts, ["y"], axis=1))
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [setup.batch, setup.model.width])
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "lookup", inputs, [out], [axis])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR
    return model


ENGINES = (Session,)
