"""Who else looks up embeddings on a CPU. The menu: each entry is the engines of one library.

An entry is a tuple of callables that take a `Setup` and return an `Engine`, or raise `UnavailableError` saying why
the library cannot take part.
"""

from recsmith.spec import Registry

PEERS = Registry(
    "peer",
    {
        "torch": "recsmith.bench.peers.torch_eager:ENGINES",
        "compile": "recsmith.bench.peers.torch_compile:ENGINES",
        "fbgemm": "recsmith.bench.peers.fbgemm:ENGINES",
        "zentorch": "recsmith.bench.peers.zentorch_group:ENGINES",
        "onnxruntime": "recsmith.bench.peers.onnx_graph:ENGINES",
        "numba": "recsmith.bench.peers.numba_loop:ENGINES",
    },
)
