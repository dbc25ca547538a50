"""One number each: seconds of something repeated on the GPU, by its own clock. Nothing here knows platforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from recsmith.kernels.cuda.call import Ids, StoredRows, Vectors
from recsmith.kernels.cuda.device import Device, Memory
from recsmith.kernels.cuda.lookup import lookup
from recsmith.kernels.cuda.program import Launch
from recsmith.kernels.cuda.resident import Segment, owners, resident

_ELEMENT_BYTES = 2
_BAG = 32


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done at once.

    Attributes:
        rows: looked up in one launch.
        sets: of ids, so that none comes again while its rows are near.
        nodes: of a graph when nodes themselves are timed.
        rounds: of which the median counts.
        copied_bytes: across the bus.
        decoders: of computed rows, for which products are chosen; none: there is no choice.
        features, batch: that such a decoder serves, and ids of each.
    """

    rows: int = 1 << 20
    sets: int = 8
    nodes: int = 200
    rounds: int = 7
    copied_bytes: int = 128 << 20
    decoders: tuple[tuple[int, ...], ...] = ((1024, 128, 16), (1024, 512, 256, 128))
    features: int = 16
    batch: int = 2048


class Probes:
    """What is timed.

    Args:
        device: the GPU.
        sms: its multiprocessors.
    """

    def __init__(self, device: Device, sms: int, sizes: Sizes | None = None, seed: int = 0) -> None:
        self._device, self._sms, self._sizes = device, sms, sizes or Sizes()
        self._random = np.random.default_rng(seed)
        self._stream = device.stream()

    def random_row_s(self, row_bytes: int, footprint_bytes: int, bag: int, *, pinned: bool = False) -> float:
        """Seconds of one multiprocessor for a row of `row_bytes` anywhere in `footprint_bytes`, when all work.

        Args:
            pinned: the rows lie in the host's memory.
        """
        sizes = self._sizes
        rows = max(1, footprint_bytes // row_bytes)
        samples = max(1, sizes.rows // bag)
        with Room(self._device) as room:
            where = room.pin(rows * row_bytes) if pinned else room.take(rows * row_bytes)
            table = StoredRows(where, rows, row_bytes // _ELEMENT_BYTES, "fp16", row_bytes)
            out = room.take(samples * row_bytes)
            offsets = 0 if bag == 1 else room.put(np.arange(0, samples * bag + 1, bag, dtype=np.int32))
            sets = [
                Ids(room.put(self._ids(rows, samples * bag)), samples, "int32", offsets, "int32", length=samples * bag)
                for _ in range(sizes.sets)
            ]
            far = footprint_bytes > 4 << 20
            vectors = Vectors(table, 0, out, row_bytes, bag=float(bag), far=far)
            launches = [lookup([vectors], ids, "fp16") for ids in sets]
            return self.graph_s(launches) / len(launches) * self._sms / (samples * bag)

    def owned_row_s(self, row_bytes: int, kept_bytes: int, together: int = 1) -> float:
        """The same for rows in shared memory: the slope between few and many look-ups.

        Args:
            kept_bytes: by each multiprocessor.
            together: multiprocessors of a cluster, all of whose rows are read by each.
        """
        few, many = (self._owned_s(row_bytes, kept_bytes, part, together) for part in (4, 1))
        looked = self._sizes.rows - self._sizes.rows // 4
        return max(many - few, 0.0) * (self._sms // together * together) / looked

    def clusters(self, kept_bytes: int, together: int) -> int:
        """How many clusters of so many blocks run at once, each of which keeps `kept_bytes`."""
        row_bytes = 64
        rows = kept_bytes // row_bytes * together
        with Room(self._device) as room:
            segments = [[Segment(0, at, at + 1, rows, together)] for at in range(together)]
            launch = self._resident(room, row_bytes, rows, together, segments)
            return self._device.function(launch.program).clusters(launch)

    def segment_s(self) -> float:
        """Seconds of one more segment of a few samples on a multiprocessor."""
        row_bytes, each = 64, 32
        few, many = (self._segments_s(row_bytes, count, each) for count in (1, 17))
        return max(many - few, 0.0) / 16

    def node_s(self) -> float:
        """Seconds of a graph's node that does nothing to speak of."""
        with Room(self._device) as room:
            word = room.take(16)
            device, stream = self._device, self._stream
            return self._recorded_s(lambda: device.fill(word, 16, 0, stream), self._sizes.nodes)

    def one_row_s(self) -> float:
        """Seconds of a node that looks one row up."""
        with Room(self._device) as room:
            table = StoredRows(room.take(1 << 20), 1 << 14, 32, "fp16", 64)
            ids = Ids(room.put(np.zeros(1, np.int32)), 1, "int32")
            launch = lookup([Vectors(table, 0, room.take(64), 64)], ids, "fp16")
            self._device.function(launch.program)
            return self._recorded_s(lambda: self._device.run(launch, self._stream), self._sizes.nodes)

    def launch_s(self) -> float:
        """Seconds of a small kernel put into a stream, many in a row."""
        with Room(self._device) as room:
            word, device, stream = room.take(16), self._device, self._stream

            def several() -> None:
                for _ in range(self._sizes.nodes):
                    device.fill(word, 16, 0, stream)

            return self._median(several) / self._sizes.nodes

    def write_byte_s(self, nbytes: int) -> float:
        """Seconds that one multiprocessor's share of a byte takes to be written, over and over the same `nbytes`."""
        with Room(self._device) as room:
            start, device, stream = room.take(nbytes), self._device, self._stream
            return self._recorded_s(lambda: device.fill(start, nbytes, 1, stream), 4) * self._sms / nbytes

    def bus_bytes_per_s(self) -> tuple[float, float]:
        """Bytes a second to the GPU and back, from pinned memory."""
        nbytes, device, stream = self._sizes.copied_bytes, self._device, self._stream
        host = device.pinned(nbytes)
        try:
            with Room(device) as room:
                there, array = room.take(nbytes), host.array((nbytes,), "uint8")
                up = self._median(lambda: device.upload(there, array, stream))
                back = self._median(lambda: device.download(array, there, stream))
        finally:
            host.close()
        return nbytes / up, nbytes / back

    def _ids(self, rows: int, count: int) -> np.ndarray:
        return self._random.integers(0, rows, count, dtype=np.int32)

    def _owned_s(self, row_bytes: int, kept_bytes: int, part: int, together: int) -> float:
        """Every multiprocessor, or every whole cluster, keeps the table and looks up its part of the samples."""
        blocks = self._sms // together * together
        samples = max(blocks, self._sizes.rows // part // _BAG)
        edges = [samples * at // blocks for at in range(blocks + 1)]
        rows = kept_bytes // row_bytes * together
        segments = [[Segment(0, edges[at], edges[at + 1], rows, together)] for at in range(blocks)]
        return self._resident_s(row_bytes, rows, samples, segments)

    def _segments_s(self, row_bytes: int, count: int, each: int) -> float:
        samples = self._sms * count * each
        segments = [
            [Segment(0, (at * count + i) * each, (at * count + i + 1) * each) for i in range(count)]
            for at in range(self._sms)
        ]
        return self._resident_s(row_bytes, 1024, samples, segments)

    def _resident_s(self, row_bytes: int, rows: int, samples: int, segments: Sequence[Sequence[Segment]]) -> float:
        with Room(self._device) as room:
            return self.graph_s([self._resident(room, row_bytes, rows, samples, segments)])

    def _resident(
        self, room: Room, row_bytes: int, rows: int, samples: int, segments: Sequence[Sequence[Segment]]
    ) -> Launch:
        table = StoredRows(room.take(rows * row_bytes), rows, row_bytes // _ELEMENT_BYTES, "fp16", row_bytes)
        offsets = room.put(np.arange(0, samples * _BAG + 1, _BAG, dtype=np.int32))
        values = room.put(self._ids(rows, samples * _BAG))
        ids = Ids(values, samples, "int32", offsets, "int32", length=samples * _BAG)
        vectors = [Vectors(table, 0, room.take(samples * row_bytes), row_bytes, bag=float(_BAG))]
        owned = owners(vectors, segments)
        words = room.put(np.frombuffer(owned.words, np.uint8))
        return resident(vectors, ids, owned, words, "fp16")

    def graph_s(self, launches: Sequence[Launch]) -> float:
        """Seconds of all launches once, as a graph."""
        for launch in launches:
            self._device.function(launch.program)

        def all_once() -> None:
            for launch in launches:
                self._device.run(launch, self._stream)

        return self._recorded_s(all_once, 1)

    def _recorded_s(self, do: Callable[[], None], times: int) -> float:
        """Seconds of `do`, recorded `times` times in one graph."""
        with self._device.recording(self._stream) as graph:
            for _ in range(times):
                do()
        return self._median(lambda: graph.launch(self._stream)) / times

    def _median(self, do: Callable[[], None]) -> float:
        found = []
        for turn in range(self._sizes.rounds + 2):
            first = self._device.event(self._stream)
            do()
            seconds = self._device.between_s(first, self._device.event(self._stream))
            if turn >= 2:
                found.append(seconds)
        return median(found)


class Room:
    """Memory of one measurement."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._taken: list[Memory] = []

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *error: object) -> None:
        self._device.synchronize()
        for memory in self._taken:
            memory.close()

    def take(self, nbytes: int) -> int:
        """Cleared memory; its address."""
        memory = self._device.allocate(nbytes)
        self._taken.append(memory)
        self._device.fill(memory.address, nbytes, 0)
        return memory.address

    def pin(self, nbytes: int) -> int:
        """Cleared memory of the host; its address."""
        memory = self._device.pinned(nbytes)
        self._taken.append(memory)
        memory.array((nbytes,), "uint8")[:] = 0
        return memory.address

    def put(self, array: np.ndarray) -> int:
        """A copy of `array`; its address."""
        memory = self._device.place(np.ascontiguousarray(array))
        self._taken.append(memory)
        return memory.address
