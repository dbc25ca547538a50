"""The Triton gather, run by Triton's interpreter, gives what the oracle gives; it compiles for sm_90 without a GPU."""

import os
import subprocess
import sys

import numpy as np
import pytest

from recsmith.reference import lookup
from recsmith.spec import Feature, Jagged, Model, RowFormat, Table, Weights

os.environ.setdefault("TRITON_INTERPRET", "1")
triton = pytest.importorskip("triton", reason="triton is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")
if os.environ["TRITON_INTERPRET"] == "1" and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
    pytest.skip(f"Triton's interpreter does not work with numpy {np.__version__}", allow_module_level=True)

from recsmith.kernels.cuda import triton_gather  # noqa: E402

FORMATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def assert_agrees(dtype, dim, batch, *, one_hot, mean=False, features=3, device="cpu"):
    draw = np.random.default_rng(dim + batch)
    rows = [int(draw.integers(1, 60)) for _ in range(features)]
    tables = [torch.from_numpy(draw.normal(size=(count, dim))).to(FORMATS[dtype]).to(device) for count in rows]
    lengths = np.ones((features, batch), int) if one_hot else draw.integers(0, 9, (features, batch))
    values = np.concatenate([draw.integers(0, count, n.sum()) for count, n in zip(rows, lengths, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(lengths.reshape(-1))])
    out = torch.full((batch, features * dim + 3), torch.nan, device=device)
    triton_gather.gather(
        torch.tensor([table.data_ptr() for table in tables], device=device),
        tables[0],
        dim,
        torch.from_numpy(values).to(device),
        None if one_hot else torch.from_numpy(offsets).to(device),
        out[:, : features * dim],
        mean=mean,
    )
    made = tuple(Table(f"t{i}", count, dim, RowFormat("fp32")) for i, count in enumerate(rows))
    looked = tuple(Feature(f"f{i}", f"t{i}", "mean" if mean else "sum") for i in range(features))
    stored = {f"t{i}": table.float().cpu().numpy() for i, table in enumerate(tables)}
    wanted, _ = lookup(Model("m", made, looked), Weights(stored), Jagged(values, None if one_hot else offsets, batch))
    assert out[:, features * dim :].isnan().all()
    np.testing.assert_allclose(out[:, : features * dim].cpu().numpy(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("dim", [1, 7, 16, 128])
@pytest.mark.parametrize("batch", [1, 37])
def test_agrees_with_the_oracle(dtype, dim, batch):
    assert_agrees(dtype, dim, batch, one_hot=True)
    assert_agrees(dtype, dim, batch, one_hot=False)
    assert_agrees(dtype, dim, batch, one_hot=False, mean=True)


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from recsmith.kernels.cuda import triton_gather

one = {"DIM": 128, "WIDTH": 128, "BAGS": 32}
bags = one | {"MEAN": False, "UNROLL": 4}
pointers = {"tables": "*i64", "ids": "*i32", "like": "*fp16", "out": "*fp16", "batch": "i32", "out_stride": "i32"}
for kernel, constants, more in (
    (triton_gather.gather_rows, one, {}),
    (triton_gather.gather_bags, bags, {"offsets": "*i32"}),
):
    names = [name for name in kernel.arg_names if name not in constants]
    signature = {name: (pointers | more)[name] for name in names} | dict.fromkeys(constants, "constexpr")
    made = triton.compile(
        ASTSource(kernel, signature, {(kernel.arg_names.index(k),): v for k, v in constants.items()}),
        target=GPUTarget("cuda", 90, 32),
    )
    print(len(made.asm["cubin"]))
"""


def test_it_compiles_without_a_gpu(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    assert all(int(size) > 1000 for size in run.stdout.split()) and len(run.stdout.split()) == 2


@pytest.mark.gpu
def test_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    for dtype in FORMATS:
        for dim in (7, 16, 128):
            assert_agrees(dtype, dim, 333, one_hot=True, device="cuda")
            assert_agrees(dtype, dim, 333, one_hot=False, mean=True, device="cuda")
