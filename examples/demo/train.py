"""Train a DLRM for about a minute and save it as anybody would: a PyTorch checkpoint, and samples to score."""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from dataset import Dataset, Labelled, load
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from recsmith.spec import Batch, Model
from recsmith.testing.torch_dlrm import TorchDlrm, split

PATIENCE = 2  # passes without a better score before training ends


def main() -> None:
    """Train, say how good it is on samples kept back, and write `dlrm.pt`, `samples.parquet` and `features.txt`."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, help="MovieLens-100K folder or Criteo TSV")
    options.add_argument("--out", type=Path, default=Path("demo"))
    options.add_argument("--seconds", type=float, default=60.0)
    chosen = options.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    dataset = load(chosen.data)
    module = train(dataset, chosen.seconds)
    print(f"trained on {dataset.title}: AUC {auc(module, dataset.held_back):.4f} on samples kept back (its best pass)")
    torch.save({"state_dict": module.state_dict()}, chosen.out / "dlrm.pt")
    write_samples(chosen.out / "samples.parquet", dataset.model, dataset.held_back)
    (chosen.out / "features.txt").write_text(",".join(feature.name for feature in dataset.model.features))


def train(dataset: Dataset, seconds: float) -> TorchDlrm:
    """The best of the passes that fit in `seconds`: Adagrad, rows of the tables updated sparsely."""
    torch.sparse.check_sparse_tensor_invariants.disable()
    torch.manual_seed(0)
    module = TorchDlrm(dataset.model)
    for bag in module.emb_l:
        bag.sparse = True
        torch.nn.init.uniform_(bag.weight, -(bag.num_embeddings**-0.5), bag.num_embeddings**-0.5)
    optimizer = torch.optim.Adagrad(module.parameters(), lr=0.02)
    columns = (TextColumn("training"), BarColumn(), TextColumn("AUC {task.fields[auc]:.4f}"), TimeRemainingColumn())
    began, best, best_auc, stale = time.monotonic(), module, 0.0, 0
    with Progress(*columns, transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=seconds, auc=0.5)
        while time.monotonic() - began < seconds and stale < PATIENCE:
            for batch, labels in dataset.train:
                step(module, optimizer, batch, labels)
                bar.update(task, completed=time.monotonic() - began, auc=best_auc)
                if time.monotonic() - began > seconds:
                    break
            score = auc(module, dataset.held_back)
            stale += 1
            if score > best_auc:
                best, best_auc, stale = copy.deepcopy(module), score, 0
    return best.eval()


def step(module: TorchDlrm, optimizer: torch.optim.Optimizer, batch: Batch, labels: NDArray[np.float32]) -> None:
    """One update of all parameters that the batch touches."""
    ids, offsets = split(batch.sparse, len(module.emb_l))
    probability_B = module(torch.from_numpy(batch.dense), ids, offsets)[:, 0]
    loss = torch.nn.functional.binary_cross_entropy(probability_B, torch.from_numpy(labels))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def auc(module: TorchDlrm, samples: list[Labelled]) -> float:
    """Area under the ROC curve: how often a click scores above a non-click."""
    scores = np.concatenate([module.predict(batch).numpy() for batch, _ in samples])
    clicks = np.concatenate([labels for _, labels in samples]) > 0.5
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores)] = np.arange(1, len(scores) + 1)
    hits, misses = int(clicks.sum()), int((~clicks).sum())
    return (ranks[clicks].sum() - hits * (hits + 1) / 2) / (hits * misses)


def write_samples(path: Path, model: Model, samples: list[Labelled]) -> None:
    """One Parquet row a sample: ids (a list where bags vary), dense inputs, label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for batch, labels in samples:
        ids, offsets = split(batch.sparse, len(model.features))
        columns = {}
        for feature, own, steps in zip(model.features, ids, offsets, strict=True):
            bags = pa.ListArray.from_arrays(steps.to(torch.int32).numpy(), own.numpy())
            columns[feature.name] = own.numpy() if batch.sparse.offsets is None else bags
        columns |= {f"dense.{i}": batch.dense[:, i] for i in range(model.dense_inputs)}
        tables.append(pa.table(columns | {"label": labels}))
    pq.write_table(pa.concat_tables(tables), path)


if __name__ == "__main__":
    main()
