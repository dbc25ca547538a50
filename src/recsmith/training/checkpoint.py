"""Where training stands, on disk: written whole or not at all, so that it may be killed at any moment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from recsmith.spec import Record

from .recipe import Recipe
from .report import Report

RUN_FILE = "run.json"
STATE_FILE = "state.pt"


class Run(Record, frozen=True):
    """What is being trained; a folder holds one run, and only the same run is resumed.

    Attributes:
        model: digest of the untrained model.
        data: fingerprint of the samples.
        threads, torch: sums are taken in another order when these change.
    """

    recipe: Recipe
    model: str
    data: str
    threads: int
    torch: str


@dataclass(slots=True)
class State:
    """Where training stands: parameters and optimisers besides.

    Attributes:
        mean: of each parameter over `averaged` moments of the last part of training; empty before.
    """

    step: int = 0
    reports: list[Report] = field(default_factory=list)
    scores: list[torch.Tensor] = field(default_factory=list)
    labels: list[torch.Tensor] = field(default_factory=list)
    mean: dict[str, torch.Tensor] = field(default_factory=dict)
    averaged: int = 0


def write(folder: Path, module: torch.nn.Module, optimizers: list[torch.optim.Optimizer], state: State) -> None:
    """Put the checkpoint in `folder`, in place of the one before."""
    content = {
        "step": state.step,
        "reports": [report.to_json() for report in state.reports],
        "scores": state.scores,
        "labels": state.labels,
        "mean": state.mean,
        "averaged": state.averaged,
        "module": module.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    partial = folder / (STATE_FILE + ".partial")
    with partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / STATE_FILE)


def read(folder: Path, module: torch.nn.Module, optimizers: list[torch.optim.Optimizer]) -> State:
    """Bring module and optimisers to where the checkpoint in `folder` left them; without one, to the start."""
    path = folder / STATE_FILE
    if not path.is_file():
        return State()
    found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(found["module"])
    for optimizer, state in zip(optimizers, found["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    reports = [Report.from_json(text) for text in found["reports"]]
    return State(
        found["step"], reports, found["scores"], found["labels"], found.get("mean", {}), found.get("averaged", 0)
    )
