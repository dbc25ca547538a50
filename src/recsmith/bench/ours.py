"""Our own engine, planned and bound as a user would, over the shared copy of the weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsmith import __version__, api
from recsmith.cost import COSTS
from recsmith.planner.evaluate import Pricer
from recsmith.platforms import load, restrict
from recsmith.spec import Executable, Jagged, Model, Objective, Plan, Platform, Weights, Workload

from . import dlrm
from .engine import NoSettings, Setup
from .options import LookupOptions
from .records import PlanSummary


@dataclass(frozen=True, slots=True)
class Bound:
    """A plan and what runs it.

    Attributes:
        executable: reads the shared rows where they are.
        isa: the instruction set whose kernels run.
    """

    plan: Plan
    platform: Platform
    executable: Any
    isa: str

    @property
    def predicted_s(self) -> float | None:
        """What the cost model expected, if the plan says."""
        return self.plan.predicted[0].total.seconds if self.plan.predicted else None

    def summary(self, batch: int) -> PlanSummary:
        """The plan in a few words."""
        bucket = self.plan.bucket(batch)
        placements = Counter(placement.strategy for stage in bucket.stages for placement in stage.placements)
        return PlanSummary(
            planner=self.plan.planner,
            plan_digest=self.plan.digest(),
            isa=self.isa,
            cores=bucket.cores,
            placements=dict(placements),
            notes=self.plan.notes,
            predicted_source=self.plan.predicted[0].total.source if self.plan.predicted else "",
            platform_source=self.platform.source,
        )


def bind(setup: Setup, workload: Workload, options: LookupOptions) -> Bound:
    """Plan `setup`'s model for the workload on `options.threads` cores and bind the plan to the shared rows."""
    platform = restrict(load(options.platform or "cpu"), options.threads)
    dense = {} if setup.joint is None else dlrm.parameters(setup.model)
    objective, weights = Objective((workload,)), Weights(setup.tables, dense)
    if options.rehearse and options.planner == "auto":
        plan = settled(setup.model, platform, objective, weights, options.strategies)
    else:
        plan = planned(setup.model, platform, objective, options.planner, options.strategies)
    executable = bound(setup.model, plan, weights, platform)
    return Bound(plan, platform, executable, str(executable.isa))


def planned(
    model: Model, platform: Platform, objective: Objective, planner: str, strategies: tuple[str, ...] = ()
) -> Plan:
    """A plan for the whole of `platform`."""
    return api.plan(model, platform, objective, planner=planner, allow=strategies or None)


def expected_s(model: Model, platform: Platform, workload: Workload, plan: Plan) -> float:
    """Seconds that `platform`, which need not be the plan's, promises for a batch of `workload`."""
    problem = api.problem(model, platform, workload)
    pricer = Pricer(problem, api.strategies(), COSTS["fitted"]())
    return pricer.price(plan.bucket(workload.batch), workload).total.seconds


def settled(
    model: Model, platform: Platform, objective: Objective, weights: Weights, strategies: tuple[str, ...] = ()
) -> Plan:
    """A plan by `auto` whose finalists were timed with `weights`."""
    plan = planned(model, platform, objective, "auto", strategies)
    return api.rehearse(model, plan, weights, platform=platform, allow=strategies or None)


def bound(model: Model, plan: Plan, weights: Weights, platform: Platform) -> Any:
    """The plan bound to the given arrays where they are."""
    return api.compile(model, plan, weights, platform=platform, pages="borrow")


class Ours(NoSettings):
    """`executable.lookup(ids)`: ids checked, output allocated by the engine."""

    name = "recsmith"
    op_based = False

    def __init__(self, setup: Setup, executable: Executable) -> None:
        self.version = __version__
        self.settings = f"executable.lookup(ids), ids checked, rows shared, {setup.threads} threads"
        self._executable = executable

    def prepare(self, ids: Jagged) -> Any:
        """The batch as it is."""
        return ids

    def call(self, prepared: Any) -> Any:
        """The look-up's output."""
        return self._executable.lookup(prepared)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, width]."""
        return result.pooled

    def close(self) -> None:
        """Nothing: whoever bound the executable closes it."""


class OursSymmetric(Ours):
    """The same under the symmetric plan, where that is another one."""

    name = "recsmith[symmetric]"

    def __init__(self, setup: Setup, executable: Executable) -> None:
        super().__init__(setup, executable)
        self.settings = f"the symmetric plan, {self.settings}"


class OursInto(Ours):
    """The same into the caller's buffer."""

    name = "recsmith[out=]"

    def __init__(self, setup: Setup, executable: Executable) -> None:
        super().__init__(setup, executable)
        self.settings = f"executable.lookup(ids, out), ids checked, rows shared, {setup.threads} threads"
        self._out_BW = np.empty((setup.batch, setup.model.width), np.float32)

    def call(self, prepared: Any) -> Any:
        """The look-up's output, in the same array each time."""
        return self._executable.lookup(prepared, self._out_BW)


class OursArrays(Ours):
    """The fast path over plain arrays."""

    name = "recsmith[arrays]"

    def __init__(self, setup: Setup, executable: Any) -> None:
        super().__init__(setup, executable)
        self.settings = f"executable.lookup_arrays(values, offsets), ids checked, rows shared, {setup.threads} threads"
        self._look_up = executable.lookup_arrays

    def prepare(self, ids: Jagged) -> Any:
        """Values and offsets."""
        return (ids.values, ids.offsets)

    def call(self, prepared: Any) -> Any:
        """[B, width]."""
        return self._look_up(*prepared)

    def output(self, result: Any) -> NDArray[np.float32]:
        """[B, width]."""
        return result


ENGINES = (Ours, OursInto, OursArrays)
