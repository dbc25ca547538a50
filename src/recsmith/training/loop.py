"""The training loop: samples in a fixed order, one update a batch, checkpoints by time. Legend: B, S samples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor

from recsmith.data.store import Store
from recsmith.spec import Progress, RecsmithError

from . import checkpoint
from .checkpoint import State
from .layers import DheRows, MixedDimensionRows, QuotientRemainderRows, StoredRows
from .metrics import auc
from .module import TrainedDlrm, probabilities
from .recipe import Recipe
from .report import Report

_EVALUATION_BATCH = 16384
_WINDOW = 1 << 20
_AVERAGE_STEPS = 50  # between two moments that are averaged: a mean over all tables costs as much as an update

Told = Callable[[Report], None]


def train(
    module: TrainedDlrm,
    store: Store,
    how: Recipe,
    folder: Path,
    *,
    checkpoint_s: float = 30.0,
    report_steps: int = 1000,
    seconds: float = math.inf,
    told: Told | None = None,
    progress: Progress | None = None,
) -> State:
    """Train `module` in place; picks up where the checkpoint in `folder` left off, with the same result.

    Args:
        checkpoint_s: seconds between checkpoints.
        report_steps: updates between reports.
        seconds: stop after these, with a checkpoint; training is done when `State.step` is `steps(...)`.

    Raises:
        RecsmithError: the loss is no number any more.
    """
    optimizers = optimizers_of(module, how)
    first = rates(optimizers)
    state = checkpoint.read(folder, module, optimizers)
    total = steps(store.facts.training, how)
    module.train()
    began = saved = time.monotonic()
    for at_B in positions(store.facts.training, how, state.step):
        set_rates(optimizers, [rate * rate_left(state.step, total, how.decay) for rate in first])
        _step(module, optimizers, store, at_B, state)
        state.step += 1
        if state.step > total * (1 - how.average) and (state.step % _AVERAGE_STEPS == 0 or state.step == total):
            add_to_mean(module, state)
        if state.step % report_steps == 0 or state.step == total:
            _report(state, told)
        now = time.monotonic()
        stop = state.step == total or now - began > seconds
        if now - saved > checkpoint_s or stop:
            checkpoint.write(folder, module, optimizers, state)
            saved = time.monotonic()
        if progress:
            progress("training", state.step, total)
        if stop:
            break
    if how.average and state.step == total:
        module.load_state_dict(state.mean)
    return state


def rate_left(step: int, total: int, decay: float) -> float:
    """The part of the learning rate that update `step`, from 0 on, is made with."""
    return min(1.0, (total - step) / (decay * total)) if decay else 1.0


def rates(optimizers: list[torch.optim.Optimizer]) -> list[float]:
    """The learning rate of each group of parameters."""
    return [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]


def set_rates(optimizers: list[torch.optim.Optimizer], wanted: list[float]) -> None:
    """Each group of parameters learns at this rate."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for group, rate in zip(groups, wanted, strict=True):
        group["lr"] = rate


def add_to_mean(module: TrainedDlrm, state: State) -> None:
    """Take the parameters as they stand into the mean."""
    state.averaged += 1
    for name, parameter in module.state_dict().items():
        if not parameter.is_floating_point() or name not in state.mean:
            state.mean[name] = parameter.clone()
        else:
            state.mean[name].lerp_(parameter, 1 / state.averaged)


def one_pass(module: TrainedDlrm, optimizers: list[torch.optim.Optimizer], store: Store, how: Recipe) -> None:
    """See every training sample once, in the order of `how.seed`, without checkpoints."""
    module.train()
    for at_B in positions(store.facts.training, replace(how, passes=1), 0):
        _step(module, optimizers, store, at_B, State())


def predict(
    module: TrainedDlrm, store: Store, start: int, stop: int, progress: Progress | None = None
) -> NDArray[np.float32]:
    """[S] click probabilities of the stored samples [start, stop)."""
    found = []
    module.eval()
    for low in range(start, stop, _EVALUATION_BATCH):
        batch, _ = store.batch(np.arange(low, min(low + _EVALUATION_BATCH, stop)))
        found.append(probabilities(module, batch))
        if progress:
            progress("evaluating", low - start, stop - start)
    return np.concatenate(found) if found else np.zeros(0, np.float32)


def steps(samples: int, how: Recipe) -> int:
    """Updates in all; the last batch of a pass may be smaller."""
    return how.passes * math.ceil(samples / how.batch)


def positions(samples: int, how: Recipe, first: int) -> Iterator[NDArray[np.int64]]:
    """[B] positions of each batch, from update `first` on."""
    each = math.ceil(samples / how.batch)
    for at in range(first // each if each else 0, how.passes):
        begin = first - at * each if at == first // each else 0
        window, order_S = -1, np.zeros(0, np.int64)
        size = max(how.batch, (how.shuffle or _WINDOW) // how.batch * how.batch)
        for step in range(begin, each):
            low = step * how.batch
            if low // size != window:
                window = low // size
                order_S = np.arange(window * size, min((window + 1) * size, samples))
                if how.shuffle:
                    np.random.Generator(np.random.SFC64([how.seed, 6, at, window])).shuffle(order_S)
            inside = low - window * size
            yield order_S[inside : inside + how.batch]


def optimizers_of(module: TrainedDlrm, how: Recipe) -> list[torch.optim.Optimizer]:
    """One for parameters whose gradients are sparse, one for the rest."""
    sparse: list[Tensor] = []
    decoders: list[Tensor] = []
    for part in module.embeddings:
        match part:
            case StoredRows():
                sparse.append(part.weight)
            case QuotientRemainderRows():
                sparse.append(part.quotient)
            case MixedDimensionRows():
                sparse.append(part.narrow)
            case DheRows():
                decoders += part.parameters()
    apart = decoders if how.decoder_rate is not None else []
    known = {id(parameter) for parameter in [*sparse, *apart]}
    dense = _groups([p for p in module.parameters() if id(p) not in known], how.rate)
    dense += _groups(apart, how.decoder_rate or 0.0)
    torch.sparse.check_sparse_tensor_invariants.disable()  # torch's default, said aloud so that it does not warn
    rows = _groups(sparse, how.rate if how.table_rate is None else how.table_rate)
    if how.optimizer == "adagrad":
        return [torch.optim.Adagrad(groups) for groups in (rows, dense) if groups]
    plain = [torch.optim.SGD(rows, foreach=False)] if rows else []
    return [*plain, torch.optim.SGD(dense, fused=True)]


def _groups(parameters: list[Tensor], rate: float) -> list[dict[str, Any]]:
    return [{"params": parameters, "lr": rate}] if parameters else []


def _step(
    module: TrainedDlrm, optimizers: list[torch.optim.Optimizer], store: Store, at_B: NDArray[np.int64], state: State
) -> None:
    batch, labels = store.batch(at_B)
    labels_B = torch.from_numpy(labels)
    logits_B = module(batch)
    loss = F.binary_cross_entropy_with_logits(logits_B, labels_B)
    if not torch.isfinite(loss):
        raise RecsmithError("train", f"the loss is {loss.item()} at step {state.step}", "Train with a lower --rate.")
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    state.scores.append(logits_B.detach())
    state.labels.append(labels_B)


def _report(state: State, told: Told | None) -> None:
    logits, labels = torch.cat(state.scores), torch.cat(state.labels)
    logloss = F.binary_cross_entropy_with_logits(logits, labels).item()
    accuracy = ((logits >= 0) == (labels > 0.5)).float().mean().item()
    area = auc(logits.numpy(), labels.numpy())
    report = Report(state.step, len(labels), logloss, accuracy, None if math.isnan(area) else area)
    state.reports.append(report)
    state.scores, state.labels = [], []
    if told:
        told(report)
