"""Every kernel compiles for every architecture, keeps its loads in parallel and its registers few. Needs no GPU."""

import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import sass
from test_emulator import plant

from recsmith.kernels.cuda import nvrtc
from recsmith.kernels.cuda.adding import Partial, Summed, added
from recsmith.kernels.cuda.call import Ids, StoredRows, Vectors, best_offset, best_stride
from recsmith.kernels.cuda.compiler import Nvcc, Nvrtc, choose_compiler, machine_code
from recsmith.kernels.cuda.distinct import Noted, distinct
from recsmith.kernels.cuda.gathering import GatherTuning
from recsmith.kernels.cuda.hashed import HashedRows, decode
from recsmith.kernels.cuda.interaction import interact, pairs
from recsmith.kernels.cuda.lookup import lookup
from recsmith.kernels.cuda.nvrtc import CompileError
from recsmith.kernels.cuda.program import Program
from recsmith.kernels.cuda.resident import Segment, owners, resident
from recsmith.kernels.cuda.streamed import streamed
from recsmith.spec import Dhe, UnavailableError

ONE, BAGS = Ids(4096, 65536, "int32", faults=64), Ids(4096, 65536, "int32", 8192, "int32", faults=64)


@cache
def compiler():
    try:
        return choose_compiler()
    except UnavailableError as error:
        pytest.skip(str(error))


def vectors(dtype, dim, *, bag=1.0, features=26, element=2, weighted=False):
    rows = StoredRows((1 << 30) + best_offset(dtype), 1000, dim, dtype, best_stride(dim, dtype))
    width = dim * element
    return [
        Vectors(rows, at, (1 << 20) + at * width, width * features, bag=bag, weighted=weighted)
        for at in range(features)
    ]


def halved(sources):
    """Tables of which half lies elsewhere, at places that a list gives."""
    return [replace(one, rows=replace(one.rows, near=500, beyond=1 << 29, order=1 << 26)) for one in sources]


def fused(dtype, dim, ids, *, operand="fp16", count=26, bag=1.0, cut=False):
    bottom = Vectors(StoredRows(1 << 29, 2048, dim, "fp16", dim * 2), 0, 0, 0, "identity")
    columns = -(-(dim + pairs(count + 1, self_terms=False)) // 8) * 8
    looked = vectors(dtype, dim, bag=bag, features=count)
    sources = [bottom, *(halved(looked) if cut else looked)]
    return interact(sources, ids, 1 << 20, columns * 2, output="fp16", operand=operand, columns=columns)


def kept(ids, bag):
    small = vectors("fp16", 64, bag=bag, features=61)
    return resident(small, ids, owners(small, [[Segment(at % 61, 0, 100, 100)] for at in range(132)]), 1 << 22, "fp16")


def clustered(dtype, ids, bag, *, shift=0):
    """Rows kept by four blocks together, one table a cluster; `shift` moves them away from where they are read best."""
    small = vectors(dtype, 64, bag=bag, features=33)
    small = [replace(one, rows=replace(one.rows, address=one.rows.address + shift)) for one in small]
    return resident(
        small, ids, owners(small, [[Segment(at // 4, 0, 100, 100, 4)] for at in range(132)]), 1 << 22, "fp16"
    )


def decoder(*widths, numbers=0, operand="bf16", products="mma"):
    dhe = Dhe(k=widths[0], prime=10_000_019, hidden=widths[1:-1])
    rows = [
        HashedRows(1 << 20, 2048, 1 << 21, (1 << 30) + at * 256, 26 * 256, dhe.prime, dhe.buckets, numbers, numbers)
        for at in range(26)
    ]
    return decode(dhe, widths[-1], rows, operand=operand, output="fp16", index="int32", products=products)


def partial_sums():
    partials = tuple(Partial(1 << 24, 0, 65536) for _ in range(3))
    sums = [Summed(replace(one, mode="mean"), partials) for one in vectors("fp16", 128)]
    return added(sums, BAGS, 1 << 22, "fp16")


def noting():
    noted = [Noted(one, at, 1 << 20, 1 << 21) for at, one in enumerate(vectors("fp32", 16, element=4))]
    return distinct(noted, BAGS, 1 << 22, 1 << 17, 1 << 23)


# Launch, registers at most, and how many 16-byte (8-byte for int4) reads of rows must be issued together.
KERNELS = {
    "one-hot fp16 128": (lambda: lookup(vectors("fp16", 128), ONE, "fp16"), 64, ("LDG.128", 4)),
    "one-hot fp16 16": (lambda: lookup(vectors("fp16", 16), ONE, "fp16"), 64, ("LDG.128", 4)),
    "one-hot fp32 128": (lambda: lookup(vectors("fp32", 128, element=4), ONE), 64, ("LDG.128", 4)),
    "one-hot int8 128": (lambda: lookup(vectors("int8", 128), ONE, "fp16"), 80, ("LDG.128", 4)),
    "one-hot int4 128": (lambda: lookup(vectors("int4", 128), ONE, "fp16"), 80, ("LDG.64", 4)),
    "one-hot fp16 128, cut": (lambda: lookup(halved(vectors("fp16", 128)), ONE, "fp16"), 64, ("LDG.128", 4)),
    "bags fp16 128, cut": (lambda: lookup(halved(vectors("fp16", 128, bag=10)), BAGS, "fp16"), 80, ("LDG.128", 4)),
    "bags fp16 128": (lambda: lookup(vectors("fp16", 128, bag=10), BAGS, "fp16"), 80, ("LDG.128", 4)),
    "bags fp16 128, 8 in flight": (
        lambda: lookup(vectors("fp16", 128, bag=10), BAGS, "fp16", GatherTuning(rows_in_flight=8)),
        80,
        ("LDG.128", 8),
    ),
    "weighted bags fp32 64": (
        lambda: lookup(vectors("fp32", 64, bag=10, element=4, weighted=True), BAGS),
        80,
        ("LDG.128", 4),
    ),
    "bags int8 128": (lambda: lookup(vectors("int8", 128, bag=10), BAGS, "fp16"), 128, ("LDG.128", 4)),
    "bags int4 128": (lambda: lookup(vectors("int4", 128, bag=10), BAGS, "fp16"), 128, ("LDG.64", 4)),
    "interaction fp16 128": (lambda: fused("fp16", 128, ONE), 80, ("LDGSTS", 12)),
    "interaction fp16 128, cut": (lambda: fused("fp16", 128, ONE, cut=True), 80, ("LDGSTS", 12)),
    "interaction fp16 16": (lambda: fused("fp16", 16, ONE), 80, ("LDGSTS", 1)),
    "interaction bags fp16 128": (lambda: fused("fp16", 128, BAGS, bag=8), 80, ("LDG.128", 8)),
    "interaction of 64 vectors": (lambda: fused("fp16", 64, ONE, count=63), 255, ("LDGSTS", 12)),
    "interaction fp32": (lambda: fused("fp32", 128, ONE, operand="fp32"), 168, ("LDGSTS", 12)),
    "resident one-hot": (lambda: kept(ONE, 1.0), 128, ("LDS.128", 4)),
    "resident bags": (lambda: kept(BAGS, 20.0), 128, ("LDS.128", 3)),
    "clustered bags": (lambda: clustered("fp16", BAGS, 20.0), 128, ("LD.128", 3)),
    "clustered one-hot": (lambda: clustered("fp16", ONE, 1.0), 128, ("LD.128", 4)),
    "clustered one-hot int8, bytes": (lambda: clustered("int8", ONE, 1.0, shift=1), 128, ("LD.8", 3)),
    "partial sums": (partial_sums, 64, ("LDG.32", 4)),
    "decoder 1024-128-16": (lambda: decoder(1024, 128, 16), 128, ("LDSM", 8)),
    "decoder 1024-512-256-128": (lambda: decoder(1024, 512, 256, 128), 255, ("LDSM", 8)),
    "decoder by number 1024-128-16": (lambda: decoder(1024, 128, 16, numbers=1 << 24), 128, ("LDSM", 8)),
    "decoder fp32 1024-128-16": (lambda: decoder(1024, 128, 16, operand="fp32"), 168, ("LDS.128", 4)),
    "decoder fp32 1024-512-256-128": (lambda: decoder(1024, 512, 256, 128, operand="fp32"), 255, ("LDS.128", 4)),
    "decoder tf32 1024-512-256-128": (lambda: decoder(1024, 512, 256, 128, operand="tf32"), 255, ("LDSM", 8)),
    "decoder wgmma 1024-128-16": (lambda: decoder(1024, 128, 16, products="wgmma"), 128, ("HGMMA", 4)),
    "decoder wgmma 1024-512-256-128": (lambda: decoder(1024, 512, 256, 128, products="wgmma"), 255, ("HGMMA", 4)),
    "decoder wgmma fp8 1024-128-16": (
        lambda: decoder(1024, 128, 16, operand="fp8", products="wgmma"),
        128,
        ("QGMMA", 4),
    ),
    "decoder wgmma by number 2048-512-256-16": (
        lambda: decoder(2048, 512, 256, 16, numbers=1 << 24, products="wgmma"),
        255,
        ("HGMMA", 4),
    ),
    "different ids": (noting, 64, ("LDG.32", 1)),
    "streamed bags": (lambda: streamed(vectors("fp16", 64, bag=20), BAGS, "fp16"), 80, ("LDS.128", 4)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_loads_stay_parallel_and_nothing_is_spilled(name):
    make, registers, (load, together) = KERNELS[name]
    program = make().program
    code = sass.read(machine_code(program, "sm_90", compiler()), program.entry)
    assert code.spills == 0
    assert code.registers <= registers
    assert code.together(load) >= together


@pytest.mark.parametrize("architecture", ["sm_80", "sm_100"])
@pytest.mark.parametrize(
    "name",
    [
        "bags int8 128",
        "interaction fp16 128",
        "resident bags",
        "streamed bags",
        "partial sums",
        "different ids",
        "decoder by number 1024-128-16",
    ],
)
def test_other_architectures(architecture, name):
    program = KERNELS[name][0]().program
    code = sass.read(machine_code(program, architecture, compiler()), program.entry)
    assert code.spills == 0 and code.registers <= 128


def test_clusters_on_another_architecture():
    """None but those that have clusters: they are not known before Hopper."""
    program = KERNELS["clustered one-hot"][0]().program
    code = sass.read(machine_code(program, "sm_100", compiler()), program.entry)
    assert code.spills == 0 and code.registers <= 128
    with pytest.raises(CompileError):
        compiler().compile(program, "sm_80")


def test_too_few_registers_are_noticed():
    """Blocks that leave 32 registers a thread: the compiler takes one row after the other, or spills."""
    program = lookup(vectors("fp16", 128, bag=10), BAGS, "fp16", GatherTuning(rows_in_flight=8, min_blocks=8)).program
    code = sass.read(machine_code(program, "sm_90", compiler()), program.entry)
    assert code.registers <= 32
    assert code.spills > 0 or code.together("LDG.128") < 8


def test_products_that_wait_for_each_other_are_noticed(monkeypatch):
    """Sums that are touched between them."""
    launch = KERNELS["decoder wgmma 1024-128-16"][0]()
    code = sass.read(machine_code(launch.program, "sm_90", compiler()), launch.program.entry)
    assert code.count("HGMMA") == 8, "four of 16 columns for each layer"
    plant(
        monkeypatch,
        "hashed_wgmma.cu",
        "    for (int k = 0; k < 4; ++k)",
        "    for (int k = 0; k < 4; ++k) c[0][0] += 1,",
    )
    code = sass.read(machine_code(launch.program, "sm_90", compiler()), launch.program.entry)
    assert code.together("HGMMA") < 4 < code.count("HGMMA")


def test_machine_code_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSMITH_CACHE", str(tmp_path))
    program = lookup(vectors("fp16", 16, features=1), ONE, "fp16").program
    code = machine_code(program, "sm_90", compiler())
    (kept_file,) = (tmp_path / "cuda").iterdir()
    kept_file.write_bytes(b"kept")
    assert machine_code(program, "sm_90", compiler()) == b"kept"
    other = lookup(vectors("fp16", 16, features=2), ONE, "fp16").program
    assert machine_code(other, "sm_90", compiler()) not in (b"kept", code)


def test_a_refused_source_shows_the_log():
    broken = Program("lookup.cu", "lookup", (("FEATURES", "nonsense"),))
    with pytest.raises(CompileError, match="nonsense"):
        compiler().compile(broken, "sm_90")


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("RECSMITH_NVRTC", "/nowhere/libnvrtc.so")
    nvrtc._library.cache_clear()
    with pytest.raises(UnavailableError, match="pip install nvidia-cuda-nvrtc"):
        Nvrtc()
    nvrtc._library.cache_clear()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match="Install a CUDA toolkit"):
        Nvcc()


def disassembler():
    places = [shutil.which("nvdisasm")]
    try:
        import triton

        places.append(str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"))
    except ImportError:
        pass
    return next((place for place in places if place and Path(place).exists()), None)


def test_instructions_are_those_of_the_disassembler(tmp_path):
    tool = disassembler()
    if tool is None:
        pytest.skip("nvdisasm is neither on the PATH nor in triton")
    for name in ("bags int8 128", "interaction fp16 128", "streamed bags", "clustered bags", "decoder 1024-128-16"):
        program = KERNELS[name][0]().program
        cubin = tmp_path / "kernel.cubin"
        cubin.write_bytes(machine_code(program, "sm_90", compiler()))
        listing = subprocess.run([tool, "-c", str(cubin)], capture_output=True, text=True, check=True).stdout
        listed = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9]+)", listing)
        code = sass.read(cubin.read_bytes(), program.entry)
        for instruction in set(sass.NAMES.values()):
            assert code.count(instruction) == listed.count(instruction), (name, instruction)


def test_small_batches_are_spread_over_more_blocks():
    small, large = Ids(4096, 128, "int32"), Ids(4096, 65536, "int32")
    assert lookup(vectors("fp16", 128), small, "fp16").grid >= 132
    assert dict(lookup(vectors("fp16", 128), large, "fp16").program.constants)["ROWS_IN_FLIGHT"] == "4"
    assert fused("fp16", 128, small).grid == 128
    assert fused("fp16", 128, large).grid == 396
