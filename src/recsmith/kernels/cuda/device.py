"""A GPU: its memory, streams, graphs and kernels. Streams are plain handles, so that those of torch can be given."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiler import Compiler, machine_code
from .driver import (
    ACCESS_WINDOW,
    ANY_CLUSTER,
    ATTRIBUTES,
    CLUSTER_DIMENSION,
    FUNCTION_ATTRIBUTES,
    L2_KEPT_LIMIT,
    MAX_SHARED,
    PERSISTING,
    Driver,
    DriverError,
    LaunchAttribute,
    LaunchConfig,
    driver,
)
from .program import Launch, Program

# Shared memory that every kernel may have without asking.
_PLAIN_SHARED_BYTES = 48 << 10


class Device:
    """One GPU, in its primary context, which torch uses too: addresses of either are valid for both.

    Args:
        ordinal: which GPU of those that the driver shows.
        compiler: makes machine code of programs; NVRTC unless given.

    Raises:
        UnavailableError: there is no driver or no such GPU.
    """

    def __init__(self, ordinal: int = 0, compiler: Compiler | None = None, library: Driver | None = None) -> None:
        self._driver = library or driver()
        self._compiler = compiler
        self._functions: dict[Program, Function] = {}
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._driver.call("cuDeviceGet", ctypes.byref(device), ordinal)
        self._driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._device, self._context = device, context
        self.activate()

    def activate(self) -> None:
        """Make this the calling thread's device; wanted once in each thread."""
        self._driver.call("cuCtxSetCurrent", self._context)

    @property
    def name(self) -> str:
        """The maker's name ("NVIDIA H200")."""
        text = ctypes.create_string_buffer(256)
        self._driver.call("cuDeviceGetName", text, 256, self._device)
        return text.value.decode()

    @property
    def architecture(self) -> str:
        """What code must be compiled for ("sm_90")."""
        return f"sm_{self.attribute('major')}{self.attribute('minor')}"

    def attribute(self, name: str) -> int:
        """One of `driver.ATTRIBUTES`."""
        value = ctypes.c_int()
        self._driver.call("cuDeviceGetAttribute", ctypes.byref(value), ATTRIBUTES[name], self._device)
        return value.value

    def memory_bytes(self) -> tuple[int, int]:
        """Free and all bytes of the GPU's memory."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._driver.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def keep_l2(self, nbytes: int) -> int:
        """Keep room of the L2 aside for the windows of launches, at most what the GPU allows; 0 gives it back.

        All that runs in this process has the less of it. What it is worth has never been measured.

        Returns:
            The bytes kept, and the longest window.
        """
        granted = min(nbytes, self.attribute("persisting_l2_bytes"), self.attribute("window_bytes"))
        self._driver.call("cuCtxSetLimit", L2_KEPT_LIMIT, ctypes.c_size_t(granted))
        return granted

    def allocate(self, nbytes: int) -> Memory:
        """Memory on the GPU, aligned to 256 bytes.

        Raises:
            CapacityError: it does not fit.
        """
        address = ctypes.c_uint64()
        self._driver.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(nbytes, 1)))
        return Memory(address.value, nbytes, self._driver, "cuMemFree_v2")

    def pinned(self, nbytes: int) -> Memory:
        """Host memory that copy engines and kernels reach; the same address on both sides."""
        address = ctypes.c_void_p()
        self._driver.call("cuMemAllocHost_v2", ctypes.byref(address), ctypes.c_size_t(max(nbytes, 1)))
        return Memory(address.value or 0, nbytes, self._driver, "cuMemFreeHost")

    def place(self, array: NDArray[Any]) -> Memory:
        """A copy of `array` on the GPU."""
        memory = self.allocate(array.nbytes)
        self.upload(memory.address, array)
        self.synchronize()
        return memory

    def upload(self, address: int, array: NDArray[Any], stream: int = 0) -> None:
        """Copy a C-contiguous array to `address`. From pinned memory the call returns before the copy has run."""
        assert array.flags.c_contiguous
        source, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self._driver.call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), source, size, ctypes.c_void_p(stream))

    def download(self, array: NDArray[Any], address: int, stream: int = 0) -> None:
        """Copy from `address` into a C-contiguous array; synchronise before it is read."""
        assert array.flags.c_contiguous
        target, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        self._driver.call("cuMemcpyDtoHAsync_v2", target, ctypes.c_uint64(address), size, ctypes.c_void_p(stream))

    def fetch(self, address: int, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """The array at `address`, once all work so far is done."""
        array = np.empty(shape, dtype)
        self.download(array, address)
        self.synchronize()
        return array

    def fill(self, address: int, nbytes: int, value: int, stream: int = 0) -> None:
        """Set bytes."""
        size = ctypes.c_size_t(nbytes)
        self._driver.call(
            "cuMemsetD8Async", ctypes.c_uint64(address), ctypes.c_ubyte(value), size, ctypes.c_void_p(stream)
        )

    def stream(self) -> int:
        """A new stream that does not wait for the default one."""
        handle = ctypes.c_void_p()
        self._driver.call("cuStreamCreate", ctypes.byref(handle), 1)
        return handle.value or 0

    def synchronize(self, stream: int = 0) -> None:
        """Wait for the work of a stream. Errors of kernels that ran before show up here."""
        self._driver.call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def event(self, stream: int = 0) -> int:
        """A mark in a stream, to be given to `between_s`."""
        handle = ctypes.c_void_p()
        self._driver.call("cuEventCreate", ctypes.byref(handle), 0)
        self._driver.call("cuEventRecord", handle, ctypes.c_void_p(stream))
        return handle.value or 0

    def wait(self, stream: int, event: int) -> None:
        """What is put into `stream` from now on runs after `event`, which is ended."""
        self._driver.call("cuStreamWaitEvent", ctypes.c_void_p(stream), ctypes.c_void_p(event), 0)
        self._driver.call("cuEventDestroy_v2", ctypes.c_void_p(event))

    def between_s(self, first: int, second: int) -> float:
        """Seconds between two events on the GPU's clock, about half a microsecond fine; waits for and ends both."""
        elapsed_ms = ctypes.c_float()
        self._driver.call("cuEventSynchronize", ctypes.c_void_p(second))
        self._driver.call(
            "cuEventElapsedTime", ctypes.byref(elapsed_ms), ctypes.c_void_p(first), ctypes.c_void_p(second)
        )
        for event in (first, second):
            self._driver.call("cuEventDestroy_v2", ctypes.c_void_p(event))
        return elapsed_ms.value * 1e-3

    @contextmanager
    def recording(self, stream: int) -> Iterator[Graph]:
        """What is put into `stream` inside the `with` is recorded as a graph, not run."""
        graph = Graph(self._driver)
        self._driver.call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), 1)
        try:
            yield graph
        finally:
            graph.end(stream)

    def function(self, program: Program) -> Function:
        """The program compiled for this GPU and loaded; both happen once.

        Raises:
            UnavailableError: there is no compiler.
            CompileError: the compiler refused the source.
        """
        if program not in self._functions:
            code = machine_code(program, self.architecture, self._compiler)
            self._functions[program] = Function(self._driver, code, program.entry)
        return self._functions[program]

    def run(self, launch: Launch, stream: int = 0) -> None:
        """Put a launch into a stream."""
        self.function(launch.program).launch(launch, stream)


class Memory:
    """Bytes at an address; given back by `close` or with the object."""

    def __init__(self, address: int, nbytes: int, library: Driver, free: str) -> None:
        self.address, self.nbytes = address, nbytes
        self._driver, self._free = library, free

    def array(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Pinned memory as an array."""
        assert self._free == "cuMemFreeHost", "memory of the GPU is no array of the host"
        buffer = (ctypes.c_ubyte * self.nbytes).from_address(self.address)
        whole: NDArray[Any] = np.ctypeslib.as_array(buffer)
        return whole[: int(np.prod(shape)) * np.dtype(dtype).itemsize].view(dtype).reshape(shape)

    def close(self) -> None:
        """Give the memory back; wait for what uses it first."""
        if self.address:
            address, self.address = self.address, 0
            self._driver.call(self._free, ctypes.c_uint64(address))

    def __del__(self) -> None:
        # The driver may be gone before the last object is.
        with suppress(DriverError):
            self.close()


class Function:
    """A loaded kernel."""

    def __init__(self, library: Driver, code: bytes, entry: str) -> None:
        self._driver, self._code = library, code
        self._module, self._handle = ctypes.c_void_p(), ctypes.c_void_p()
        library.call("cuModuleLoadData", ctypes.byref(self._module), code)
        library.call("cuModuleGetFunction", ctypes.byref(self._handle), self._module, entry.encode())
        self._shared_bytes = _PLAIN_SHARED_BYTES
        offset, nbytes = ctypes.c_size_t(), ctypes.c_size_t()
        library.call("cuFuncGetParamInfo", self._handle, ctypes.c_size_t(0), ctypes.byref(offset), ctypes.byref(nbytes))
        self._argument_bytes = nbytes.value

    def attribute(self, name: str) -> int:
        """`registers` a thread, `local_bytes` a thread (spills), static `shared_bytes` a block."""
        value = ctypes.c_int()
        self._driver.call("cuFuncGetAttribute", ctypes.byref(value), FUNCTION_ATTRIBUTES[name], self._handle)
        return value.value

    def blocks_per_multiprocessor(self, launch: Launch) -> int:
        """How many blocks of a launch are resident on one multiprocessor."""
        self._allow(launch.shared_bytes)
        count = ctypes.c_int()
        shared = ctypes.c_size_t(launch.shared_bytes)
        self._driver.call(
            "cuOccupancyMaxActiveBlocksPerMultiprocessor", ctypes.byref(count), self._handle, launch.block, shared
        )
        return count.value

    def clusters(self, launch: Launch) -> int:
        """How many of a launch's clusters are resident on the whole GPU; 0 when it cannot run them."""
        count = ctypes.c_int()
        config, _kept = self._config(launch, 0)
        self._driver.call("cuOccupancyMaxActiveClusters", ctypes.byref(count), self._handle, ctypes.byref(config))
        return count.value

    def launch(self, launch: Launch, stream: int) -> None:
        """Put a launch into a stream."""
        if launch.grid == 0:
            return
        # The driver would read on behind an argument that is too short.
        found, wanted = len(launch.arguments), self._argument_bytes
        assert found == wanted, f"{launch.program.entry} takes {wanted} bytes, given {found}"
        config, _kept = self._config(launch, stream)
        argument = ctypes.create_string_buffer(launch.arguments, len(launch.arguments))
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        self._driver.call("cuLaunchKernelEx", ctypes.byref(config), self._handle, parameters, None)

    def _config(self, launch: Launch, stream: int) -> tuple[LaunchConfig, Any]:
        """The configuration and what it points to."""
        self._allow(launch.shared_bytes)
        config = LaunchConfig((launch.grid, 1, 1), (launch.block, 1, 1), launch.shared_bytes, stream)
        found = []
        if launch.cluster > 1:
            self._driver.call("cuFuncSetAttribute", self._handle, ANY_CLUSTER, 1)
            found.append(LaunchAttribute(CLUSTER_DIMENSION, 0, (launch.cluster, 1, 1)))
        if launch.window is not None:
            window = struct.pack("<QQfiiI", launch.window.address, launch.window.nbytes, 1.0, PERSISTING, 0, 0)
            found.append(LaunchAttribute(ACCESS_WINDOW, 0, struct.unpack("<8I", window)))
        attributes = (LaunchAttribute * len(found))(*found)
        if found:
            config.attributes, config.attribute_count = attributes, len(found)
        return config, attributes

    def _allow(self, shared_bytes: int) -> None:
        if shared_bytes > self._shared_bytes:
            self._driver.call("cuFuncSetAttribute", self._handle, MAX_SHARED, shared_bytes)
            self._shared_bytes = shared_bytes


class Graph:
    """Launches and copies recorded once, run as one."""

    def __init__(self, library: Driver) -> None:
        self._driver, self._graph, self._runnable = library, ctypes.c_void_p(), ctypes.c_void_p()

    def end(self, stream: int) -> None:
        """Stop recording what goes into `stream`."""
        self._driver.call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(self._graph))
        flags = ctypes.c_uint64(0)
        self._driver.call("cuGraphInstantiateWithFlags", ctypes.byref(self._runnable), self._graph, flags)

    def launch(self, stream: int = 0) -> None:
        """Put the whole graph into a stream."""
        self._driver.call("cuGraphLaunch", self._runnable, ctypes.c_void_p(stream))

    def close(self) -> None:
        """Give the graph back; nothing of it may still run."""
        if self._runnable:
            self._driver.call("cuGraphExecDestroy", self._runnable)
            self._driver.call("cuGraphDestroy", self._graph)
            self._graph, self._runnable = ctypes.c_void_p(), ctypes.c_void_p()
