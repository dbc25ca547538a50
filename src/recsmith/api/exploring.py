"""Which representation on which platform: every candidate made, planned and timed, and the paths worth keeping."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path as Folder
from typing import TYPE_CHECKING

from recsmith.data.asked import accesses
from recsmith.importers import artifact
from recsmith.planner.paths import pareto
from recsmith.spec import (
    InputError,
    Latency,
    Model,
    Objective,
    Path,
    Plan,
    Platform,
    Progress,
    RecsmithError,
    Way,
    Workload,
)

from .candidates import AnyChoice, Candidate, Held, Making, Original, opened, slug
from .compose import load, plan, platform
from .converter import STEPS
from .explored import ASKED_FILE, Asked, Explored, LeftOut
from .latency import measured, modelled
from .ways import ways_within
from .weighing import Ways, served_bytes, smallest

if TYPE_CHECKING:
    from recsmith.training.report import Report

PATHS_FILE = "paths.json"
QUERIES = (1, 16, 128, 1024, 4096)
_CANDIDATE_FILE = "candidate.json"


def explore(
    directory: str | Folder,
    data: str,
    platforms: Mapping[str, Platform],
    candidates: Mapping[str, Making | AnyChoice],
    *,
    steps: int = STEPS,
    memory: Mapping[str, int] | None = None,
    output: str | Folder | None = None,
    queries: Sequence[int] = QUERIES,
    planner: str = "auto",
    seconds: float = math.inf,
    resamples: int = 200,
    restart: bool = False,
    told: Callable[[str, Report], None] | None = None,
    progress: Progress | None = None,
) -> Explored:
    """Make every candidate from the model of a training folder, find out how fast it is on each platform, and tell
    which paths none beats in logloss, bytes and latency. Source: [MPREC] B4; the search is ours.

    Rows of fewer bits are rounded; other representations are trained as the original was, or converted, and kept in
    fewer bits afterwards where a candidate says so; those of one training share it. Latencies are measured on this
    machine and modelled on others. Resumable: what was trained, planned and timed stays so.

    Args:
        directory: written by `train`, with plain tables.
        data: what it was trained on.
        platforms: by name.
        candidates: how each is made, by name; what `train` takes means trained so.
        steps: updates of each DHE that is distilled.
        memory: platform to bytes for embeddings and MLPs; what its outermost memory holds by default.
        output: folder to keep everything in; `explored` inside `directory` by default.
        queries: samples asked for at once, to plan for and to time.
        planner: a name on `recsmith.planner.PLANNERS`.
        seconds: of training, then stop with a checkpoint.
        told: what a candidate's training reports, with its name.
        restart: forget an earlier exploration in `output`.

    Raises:
        FormatError: as `compress`; or `output` holds another exploration.
        InputError: `memory` names none of the platforms.
    """
    target = Folder(output or Folder(directory) / "explored")
    if restart:
        shutil.rmtree(target, ignore_errors=True)
    original = Original.open(Folder(directory), data, "explore", resamples)
    plain = original.held.model
    makings = {name: each if isinstance(each, Making) else Making(each) for name, each in candidates.items()}
    models = {name: each.of(plain) for name, each in makings.items()}
    asked = Asked(
        data,
        plain.digest(),
        {name: _told_apart(makings[name], model) for name, model in models.items()},
        {name: _identity(each) for name, each in platforms.items()},
        _rooms(platforms, memory or {}),
        tuple(sorted(set(queries))),
        planner,
        steps,
    )
    asked.claim(target / ASKED_FILE, "explore", "an exploration")
    often = accesses(original.kept)
    objective = Objective(tuple(Workload(f"{data} x {query}", query, often) for query in asked.queries))
    run = _Exploration(original, target, asked, platforms, models, makings, objective)
    run.make(seconds, told, progress)
    run.join(progress)
    found = run.outcome()
    found.save(target / PATHS_FILE)
    return found


@dataclass(slots=True)
class _Exploration:
    """An exploration on its way."""

    original: Original
    target: Folder
    asked: Asked
    platforms: Mapping[str, Platform]
    models: Mapping[str, Model]
    makings: Mapping[str, Making]
    objective: Objective
    made: dict[str, Candidate] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    finished: bool = True

    def make(self, seconds: float, told: Callable[[str, Report], None] | None, progress: Progress | None) -> None:
        """Train or convert every candidate that fits somewhere."""
        until = time.monotonic() + seconds
        most = max(self.asked.rooms.values())
        for at, (name, model) in enumerate(self.models.items()):
            if progress:
                progress("candidates", at, len(self.models))
            if served_bytes(model, smallest(model)) > most:
                continue  # `join` tells by how much
            kept = self._folder(name) / _CANDIDATE_FILE
            try:
                if not kept.is_file():
                    left_s = max(0.0, until - time.monotonic())
                    self._made(name, left_s, told, progress).save(kept)
            except RecsmithError as error:
                self.left_out.append(LeftOut(name, "", error.problem))
                continue
            self.made[name] = Candidate.open(kept)

    def join(self, progress: Progress | None) -> None:
        """Plan and time every candidate on every platform where it fits, each way."""
        todo = [(name, label) for name in self.models for label in self.platforms]
        here = platform("cpu").machine
        for at, (name, label) in enumerate(todo):
            if progress:
                progress("paths", at, len(todo))
            least, room = served_bytes(self.models[name], smallest(self.models[name])), self.asked.rooms[label]
            if least > room:
                self.left_out.append(LeftOut(name, label, f"{least:,} bytes; {room:,} allowed"))
            elif name in self.made:
                self._join(name, label, here)

    def outcome(self) -> Explored:
        """What is told."""
        return Explored(
            str(self.target),
            self.asked.data,
            self.asked.rooms,
            self.asked.queries,
            self.original.quality(self.original.held),
            tuple(self.made.values()),
            tuple(self.paths),
            tuple(path.name for path in pareto(self.paths)),
            tuple(self.left_out),
            self.finished,
        )

    def _made(
        self, name: str, seconds: float, told: Callable[[str, Report], None] | None, progress: Progress | None
    ) -> Candidate:
        return self.original.candidate(name, self._held(name, seconds, told, progress))

    def _held(
        self, name: str, seconds: float, told: Callable[[str, Report], None] | None, progress: Progress | None
    ) -> Held:
        original, making, folder = self.original, self.makings[name], self._training(name)
        plain, held = original.held.model, making.held(original.held.model)
        if held == plain:
            base = original.held
        elif not held.computes:
            base = original.held_as(original.held, held, folder, progress)
        elif making.converted:
            base = original.converted(making.choice, folder, steps=self.asked.steps, progress=progress)
        else:
            telling = None if told is None else partial(told, name)
            run = original.trained(making.choice, folder, seconds=seconds, told=telling, progress=progress)
            if run.quality is None:
                self.finished = False
                raise RecsmithError("explore", f"{run.steps:,} of {run.total_steps:,} updates; run again to go on")
            base = opened(folder)
        return original.held_as(base, self.models[name], folder / (making.dtype or ""), progress)

    def _training(self, name: str) -> Folder:
        """Where the model is that a candidate is made of: candidates that differ only in bits share it."""
        making, plain = self.makings[name], self.original.held.model
        same = [
            other
            for other, each in self.makings.items()
            if each.converted == making.converted and each.held(plain) == making.held(plain)
        ]
        return self._folder(min(same))

    def _stored(self, name: str) -> Folder:
        """Where the candidate's own model is."""
        making, plain = self.makings[name], self.original.held.model
        held = making.held(plain)
        if making.dtype is not None and self.models[name] != held:
            return self._training(name) / making.dtype / artifact.MODEL_FOLDER
        return (self.original.folder if held == plain else self._training(name)) / artifact.MODEL_FOLDER

    def _join(self, name: str, label: str, here: str) -> None:
        """The paths of one candidate on one platform."""
        try:
            found = ways_within(self.models[name], self.platforms[label], self.objective, self.asked.rooms[label])
            for way, ways in found.items():
                self.paths.append(self._path(name, label, way, ways, here))
        except RecsmithError as error:
            self.left_out.append(LeftOut(name, label, error.problem))

    def _path(self, name: str, label: str, way: Way, ways: Ways, here: str) -> Path:
        """The path, made and timed, or as it was kept before."""
        file = slug(f"{name}@{label}@{way}") + ".json"
        kept, planned = self.target / "paths" / file, self.target / "plans" / file
        if kept.is_file():
            return Path.open(kept)
        stored = self._stored(name)
        made, latencies = self._timed(stored, self.platforms[label], ways, here)
        made.save(planned)
        quality = self.made[name].quality
        assert quality is not None
        found = Path(
            name,
            label,
            way,
            served_bytes(self.models[name], ways),
            quality.accuracy.value,
            quality.auc.value,
            quality.logloss.value,
            latencies,
            os.path.relpath(stored, self.target),
            os.path.relpath(planned, self.target),
        )
        found.save(kept)
        return found

    def _timed(self, stored: Folder, machine: Platform, ways: Ways, here: str) -> tuple[Plan, tuple[Latency, ...]]:
        model, weights = load(stored)
        made = plan(model, machine, self.objective, planner=self.asked.planner, serving=ways)
        if machine.machine == here:
            return made, measured(model, made, weights, machine, self.asked.queries, self.original.kept)
        return made, modelled(model, made, machine)

    def _folder(self, name: str) -> Folder:
        return self.target / slug(name)


def _told_apart(making: Making, model: Model) -> str:
    return f"{'converted ' if making.converted else ''}{model.digest()}"


def _rooms(platforms: Mapping[str, Platform], memory: Mapping[str, int]) -> dict[str, int]:
    unknown = [name for name in memory if name not in platforms]
    if unknown:
        raise InputError(
            "explore", f"there is no platform '{unknown[0]}' to give memory to", f"There are: {', '.join(platforms)}."
        )
    return {name: memory.get(name) or each.main_bytes for name, each in platforms.items()}


def _identity(machine: Platform) -> str:
    # What is probed varies a little, clock rates for instance.
    return machine.machine if machine.source == "probed" else machine.digest()
