"""Whole models for `bench model`: ours, eager PyTorch, torch.compile. All read one copy of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith import __version__
from recsmith.spec import Batch, Executable, Fold, Mlp, Model

from .records import OURS


class OursModel:
    """`executable.run(batch)`."""

    def __init__(self, executable: Executable, threads: int, name: str = OURS, fold: Fold | None = None) -> None:
        self.name, self.version = name, __version__
        self.settings = f"executable.run(batch), ids checked, {threads} threads, as many intra-op"
        if fold is not None:
            self.settings += f", {len(fold.features)} features folded in {fold.nbytes:,} bytes"
        self._executable = executable
        self._threads = threads

    def activate(self) -> None:
        """Set torch's threads, which run the MLPs."""
        import torch

        self._before = torch.get_num_threads()
        torch.set_num_threads(self._threads)

    def deactivate(self) -> None:
        """Put the threads back."""
        import torch

        torch.set_num_threads(self._before)

    def prepare(self, batch: Batch) -> Any:
        """The batch as it is."""
        return batch

    def call(self, prepared: Any) -> Any:
        """A `Prediction`."""
        return self._executable.run(prepared)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B]."""
        return result.values.reshape(-1)

    def close(self) -> None:
        """Nothing: whoever bound the executable closes it."""


class TorchModel:
    """The published DLRM in PyTorch, one `nn.EmbeddingBag` a feature, in inference mode."""

    name = "torch"
    compiled = False

    def __init__(
        self,
        model: Model,
        tables: Mapping[str, NDArray[np.generic]],
        dense: Mapping[str, NDArray[np.float32]],
        threads: int,
    ) -> None:
        import torch

        from recsmith.testing.torch_dlrm import TorchDlrm

        from .peers.torch_tensors import TorchSettings, tensor

        self._settings = TorchSettings()
        self._settings.threads = threads
        self.version = str(torch.__version__)
        with torch.device("meta"):
            module = TorchDlrm(model)
        state = {f"emb_l.{i}.weight": tensor(tables[f.table]) for i, f in enumerate(model.features)}
        for part, prefix in ((model.bottom, "bot_l"), (model.top, "top_l")):
            state |= _stacked(part, prefix, dense, tensor)
        module.load_state_dict(state, assign=True)
        module.eval()
        form = "torch.compile(dynamic=False)" if self.compiled else "eager"
        self.settings = f"{form}, nn.EmbeddingBag a feature, inference mode, {threads} intra-op threads"
        self._features = len(model.features)
        self._module = torch.compile(module, dynamic=False) if self.compiled else module

    def activate(self) -> None:
        """Enter inference mode with the wanted threads."""
        self._settings.activate()

    def deactivate(self) -> None:
        """Leave it."""
        self._settings.deactivate()

    def prepare(self, batch: Batch) -> Any:
        """Dense inputs, and ids and offsets of each feature."""
        from recsmith.testing.torch_dlrm import split

        from .peers.torch_tensors import tensor

        return (None if batch.dense is None else tensor(batch.dense), *split(batch.sparse, self._features))

    def call(self, prepared: Any) -> Any:
        """[B, 1]."""
        return self._module(*prepared)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B]."""
        return result.numpy().reshape(-1)

    def close(self) -> None:
        """Nothing to give back."""


class CompiledModel(TorchModel):
    """The same through torch.compile."""

    name = "compile"
    compiled = True


def _stacked(part: Mlp | None, prefix: str, dense: Mapping[str, NDArray[np.float32]], tensor: Any) -> dict[str, Any]:
    # In an nn.Sequential an activation stands between two linear layers.
    if part is None:
        return {}
    return {
        f"{prefix}.{2 * layer}.{kind}": tensor(dense[f"{part.prefix}.{layer}.{kind}"])
        for layer in range(len(part.activations))
        for kind in ("weight", "bias")
    }


PEERS = {"torch": TorchModel, "compile": CompiledModel}
