"""Rows of deep hash embeddings on a GPU: one launch for all features beside torch in bf16, eager and compiled.

All engines read the same ids, several sets of them, and the same parameters; ours with tuning by rows a block.
F features, B ids of a feature, K hashes, E dim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recsmith import __version__
from recsmith.kernels.cuda.hashed import MADE_IN, HashedRows, Operand, Products, decode, packed_decoder
from recsmith.kernels.cuda.program import Launch
from recsmith.reference.computed import computed_rows
from recsmith.representations import build
from recsmith.spec import Dhe, Progress, Record, RecsmithError, Table

from .. import records, rival, rounds
from .engine import GpuEngine
from .timing import Recording, in_turns
from .world import World, world_here

_CHECKED = 8
_TOLERANCE = 0.02
"""Of the largest element: codes, weights and hidden vectors have eight bits."""

_TOLERANCE_OF_EIGHTHS = 0.2
"""The same of numbers of eight bits."""


class GpuDheOptions(Record, frozen=True):
    """One cell.

    Attributes:
        widths: of the decoder: hashes, hidden layers, dim.
        blocks: rows a block of ours, 0 for as many as fit; each is an engine.
        grouped: the same of ours by products of warp groups (Hopper's), in bf16 and fp8; missing where they are wrong.
    """

    widths: tuple[int, ...]
    features: int = 26
    batch: int = 2048
    rows: int = 1_000_000
    blocks: tuple[int, ...] = (0, 64, 32)
    grouped: tuple[int, ...] = ()
    against: tuple[str, ...] = ("torch", "compile", "autotune")
    sets: int = 8
    rounds: int = 15


class GpuDheCell(Record, frozen=True):
    """One engine's times.

    Attributes:
        flops_per_s: of the decoders' products alone.
        worst: largest difference to float64, over the largest element.
    """

    engine: str
    version: str
    settings: str
    median_s: float
    q1_s: float
    q3_s: float
    runs: int
    flops_per_s: float
    worst: float


class GpuDheRecord(Record, frozen=True):
    """A cell's result."""

    run: records.Run
    options: GpuDheOptions
    cells: tuple[GpuDheCell, ...]
    missing: tuple[records.Missing, ...]
    kind: Literal["gpu_dhe"] = "gpu_dhe"
    version: int = 1


class DheCase:
    """Parameters and ids of a cell on the GPU.

    Attributes:
        ids: for each set [F, B] int64.
        out: [F, B, E] bfloat16, where ours writes.
    """

    def __init__(self, world: World, options: GpuDheOptions) -> None:
        torch = world.torch
        self.world, self.options = world, options
        self.dim, k, hidden = options.widths[-1], options.widths[0], options.widths[1:-1]
        prime = 10_000_019
        self.dhe = Dhe(k=k, prime=prime, hidden=hidden)
        made = Table("t", options.rows, self.dim, computed=self.dhe)
        self.tables = [made] * options.features
        self.parameters = [build(made, seed) for seed in range(options.features)]
        draw = np.random.default_rng(0)
        shape = (options.features, options.batch)
        self.host_ids = [draw.integers(0, options.rows, shape) for _ in range(options.sets)]
        self.ids = [world.tensor(ids, torch.int64) for ids in self.host_ids]
        self.out = world.empty((*shape, self.dim), torch.bfloat16)

    @property
    def flops(self) -> int:
        """Of the decoders' products for one set."""
        pairs = zip(self.options.widths, self.options.widths[1:], strict=False)
        return self.options.features * self.options.batch * sum(2 * a * b for a, b in pairs)

    def off(self, got: Any, at: int) -> float:
        """The largest difference to float64 of the first ids, over the largest element; NaN if one is no number."""
        if not bool(self.world.torch.isfinite(got).all()):
            return float("nan")
        found: NDArray[np.float64] = got[:, :_CHECKED].double().cpu().numpy()
        each = zip(self.tables, self.parameters, self.host_ids[at], strict=True)
        wanted = np.stack([computed_rows(t, parameters, ids[:_CHECKED]) for t, parameters, ids in each])
        return float(np.abs(found - wanted).max() / np.abs(wanted).max())


class OurRows:
    """One launch for all features."""

    name = "recsmith"
    version = __version__
    op_based = False
    graphable = True

    def __init__(self, case: DheCase, rows: int = 0, products: Products = "mma", operand: Operand = "bf16") -> None:
        self._case, self._operand = case, operand
        self.tolerance = _TOLERANCE if operand == "bf16" else _TOLERANCE_OF_EIGHTHS
        said = ([f"{products} {operand}"] if products != "mma" else []) + ([f"{rows} rows"] if rows else [])
        if said:
            self.name = f"recsmith[{', '.join(said)}]"
        self._kept = [
            case.world.tensor(packed_decoder(case.dhe, own, case.dim, operand), case.world.torch.uint8)
            for own in case.parameters
        ]
        self._launches = [self._launch(ids, rows, products) for ids in case.ids]
        chosen = dict(self._launches[0].program.constants)["ROWS"]
        self.settings = f"one launch, {operand} products by {products}, {chosen} rows a block"

    def _launch(self, ids: Any, rows: int, products: Products) -> Launch:
        case, stride = self._case, 2 * self._case.dim
        batch = case.options.batch
        features = [
            HashedRows(
                ids=ids.data_ptr() + 8 * batch * at,
                count=batch,
                parameters=self._kept[at].data_ptr(),
                out=case.out.data_ptr() + stride * batch * at,
                out_stride_bytes=stride,
                prime=case.dhe.prime,
                buckets=case.dhe.buckets,
            )
            for at in range(case.options.features)
        ]
        return decode(case.dhe, case.dim, features, operand=self._operand, output="bf16", rows=rows, products=products)

    def call(self, at: int) -> Any:
        """[F, B, E]."""
        self._case.world.run(self._launches[at])
        return self._case.out

    def output(self, result: Any) -> Any:
        """[F, B, E]."""
        return result

    def close(self) -> None:
        """Let go of the parameters."""
        self._kept = []


class TorchRows:
    """Hashes as int64 [F, B, K], codes in bf16, one batched product a layer for all features."""

    name = "torch"
    version = ""
    op_based = True
    graphable = True
    options: Mapping[str, Any] | None = None

    def __init__(self, case: DheCase) -> None:
        torch = case.world.torch
        self._case, self._torch, self.version = case, torch, str(torch.__version__)
        self.settings = "bf16, baddbmm over features" + (f", torch.compile({self.options})" if self.options else "")

        def stacked(name: str) -> Any:
            return torch.stack([torch.from_numpy(np.asarray(own[name])) for own in case.parameters]).to(
                case.world.place
            )

        self._a, self._b = stacked("a")[:, None], stacked("b")[:, None]
        self._layers = [
            (
                stacked(f"{at}.weight").to(torch.bfloat16).transpose(1, 2).contiguous(),
                stacked(f"{at}.bias").to(torch.bfloat16)[:, None],
                activation,
            )
            for at, activation in enumerate(case.dhe.activations())
        ]
        self._rows: Callable[[Any], Any] = self._written
        if self.options:
            self._rows = torch.compile(self._written, dynamic=False, **self.options)

    def _written(self, ids: Any) -> Any:
        torch, dhe = self._torch, self._case.dhe
        hashed = (ids[:, :, None] * self._a + self._b) % dhe.prime % dhe.buckets
        x = (hashed * (2 / (dhe.buckets - 1)) - 1).to(torch.bfloat16)
        for weight, bias, activation in self._layers:
            x = torch.baddbmm(bias, x, weight)
            x = x.relu() if activation == "relu" else x.sigmoid() if activation == "sigmoid" else x
        return x

    def call(self, at: int) -> Any:
        """[F, B, E]."""
        with self._torch.inference_mode():
            return self._rows(self._case.ids[at])

    def output(self, result: Any) -> Any:
        """[F, B, E]."""
        return result

    def close(self) -> None:
        """Let go of the parameters."""
        self._layers = []


class CompiledRows(TorchRows):
    """The same by inductor."""

    name = "compile"
    options = {"mode": "default"}  # noqa: RUF012


class AutotunedRows(TorchRows):
    """The same with every template of inductor's tried."""

    name = "autotune"
    options = {"mode": "max-autotune-no-cudagraphs"}  # noqa: RUF012


RIVALS: dict[str, type[TorchRows]] = {"torch": TorchRows, "compile": CompiledRows, "autotune": AutotunedRows}


def run_gpu_dhe(options: GpuDheOptions, progress: Progress | None = None, world: World | None = None) -> GpuDheRecord:
    """Measure one cell.

    Raises:
        UnavailableError: there is no GPU.
        RecsmithError: an engine of ours is wrong, or a rival is unknown.
    """
    rival.known(RIVALS, options.against, "rival for computed rows on a GPU")
    here = world or world_here()
    case = DheCase(here, options)
    missing: list[records.Missing] = []
    makers: list[tuple[str, Callable[[], Any]]] = [
        ("recsmith", partial(OurRows, case, rows)) for rows in options.blocks
    ]
    makers += [
        ("wgmma", partial(OurRows, case, rows, "wgmma", operand))
        for operand in MADE_IN["wgmma"]
        for rows in options.grouped
    ]
    makers += [(name, partial(RIVALS[name], case)) for name in options.against]
    engines: dict[str, GpuEngine] = {}
    worst: dict[str, float] = {}
    recordings: dict[str, Recording] = {}
    for name, make in makers:
        try:
            engine = make()
            off = _worst(case, engine)
            if off <= getattr(engine, "tolerance", _TOLERANCE):
                recordings[engine.name] = Recording(here, engine, options.sets)
                engines[engine.name], worst[engine.name] = engine, off
                continue
            problem = f"is off by {off:.2g} of the largest element"
        except Exception as error:
            if name == "recsmith":
                raise
            problem = rival.reason(error)
        if name == "recsmith":
            raise RecsmithError("bench", f"{engine.name} {problem}", "This is a fault in recsmith: please report it.")
        missing.append(records.Missing(name, problem))
    seconds = in_turns(recordings, options.rounds, progress)
    place = "emulated: seconds say nothing" if here.emulated else "graphs replayed in turns, the GPU's clock"
    run = records.Run(records.commit(), records.now(), here.name, 1, place)
    cells = tuple(_cell(case, engines[name], recordings[name].way, seconds[name], worst[name]) for name in recordings)
    for engine in engines.values():
        engine.close()
    return GpuDheRecord(run, options, cells, tuple(missing))


def _worst(case: DheCase, engine: GpuEngine) -> float:
    """For the first and the last set of ids; not a number when anything is none."""
    found = []
    for at in (0, case.options.sets - 1):
        case.out.fill_(float("nan"))
        got = engine.output(engine.call(at))
        case.world.synchronize()
        found.append(case.off(got, at))
    return float(np.max(found))


def _cell(case: DheCase, engine: GpuEngine, way: str, seconds: Sequence[float], worst: float) -> GpuDheCell:
    seen = rounds.measurement(seconds)
    return GpuDheCell(
        engine=engine.name,
        version=engine.version,
        settings=f"{engine.settings}; {way}",
        median_s=seen.seconds,
        q1_s=seen.q1_s,
        q3_s=seen.q3_s,
        runs=seen.runs,
        flops_per_s=case.flops / seen.seconds,
        worst=worst,
    )
