"""CUDA kernels: source text compiled on the machine it runs on, launched through the driver. Imports no framework.

A launch is plain data, made by one function a kernel, and run by a `Device` (or an emulator):

- `lookup.lookup`: all features in one launch, whatever mixture of row formats, dims, poolings and bag lengths;
  concatenation too;
- `interaction.interact`: look-up and dot interaction in one; vectors never go to memory;
- `resident.resident`: tables, or some of their rows, in the shared memory of the multiprocessors that own them, one or
  a cluster of them;
- `adding.added`: partial sums of row shards added up, always in the same order;
- `streamed.streamed`: tables read in chunks through shared memory;
- `distinct.distinct`: the different ids of computed tables, each noted once;
- `hashed.decode`: rows of deep hash embeddings, all features in one launch.
"""

from __future__ import annotations

KEPT_BY = {"l1": 1, "l1x2": 2, "l1x4": 4, "l1x8": 8}
"""Data flows that keep rows in shared memory, and how many multiprocessors keep them together."""
FLOWS = ("gm", *KEPT_BY, "gm_ub")


class CudaKernels:
    """The kernels of kind "cuda"."""

    kind = "cuda"

    def supports(self, op: str, flow: str) -> bool:
        """Whether there is a kernel for an op (by its tag) and a data flow (by its name)."""
        return (op == "gather" and flow in FLOWS) or op in ("hash", "decode")
