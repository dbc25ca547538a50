"""Who else looks up embeddings on a GPU. The menu: each entry is the engines of one library.

An entry is a tuple of callables that take a `GpuCase` and return a `GpuEngine`, or raise `UnavailableError` saying why
the library cannot take part.
"""

from recsmith.spec import Registry

RIVALS = Registry(
    "peer",
    {
        "torch": "recsmith.bench.gpu.rivals.torch_eager:ENGINES",
        "compile": "recsmith.bench.gpu.rivals.torch_compile:ENGINES",
        "fbgemm": "recsmith.bench.gpu.rivals.fbgemm:ENGINES",
        "torchrec-triton": "recsmith.bench.gpu.rivals.torchrec_triton:ENGINES",
        "cuembed": "recsmith.bench.gpu.rivals.cuembed:ENGINES",
    },
)
