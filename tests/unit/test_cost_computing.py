"""What computing costs: parts counted by hand, found again from whole computations, and added up."""

import numpy as np
import pytest
from msgspec.structs import replace

from recsmith.calibration.computing import Computation, arithmetic, fitted
from recsmith.cost.arithmetic import nearest, parts_of_mlp, parts_of_rows, seconds
from recsmith.cost.computing import Computing
from recsmith.representations import hold
from recsmith.spec import (
    Arithmetic,
    Dhe,
    Feature,
    MixedDimension,
    Mlp,
    Model,
    QuotientRemainder,
    Serving,
    Table,
    Workload,
)
from recsmith.testing.machines import cached_machine

SLOW = Arithmetic("fp32", 1, 1e-9, 1e-11, 2e-5, 5e-6, 3e-8)
FAST = replace(SLOW, precision="bf16", flop_s=4e-12)


def held(choice, rows=1000):
    plain = Model("m", (Table("t", rows, 8),), (Feature("f", "t"),))
    return hold(plain, None, choice)


def test_parts_by_hand():
    dhe = held(Dhe(k=32, hidden=(16,))).tables[0]
    assert parts_of_rows(dhe, 10, 1) == {"hash": 320, "flop": 10 * 2 * (32 * 16 + 16 * 8), "decoder layer": 2}
    assert parts_of_rows(dhe, 10, 2) == {"hash": 160, "flop": 10 * (32 * 16 + 16 * 8), "decoder layer": 2}
    assert parts_of_rows(held(QuotientRemainder(4)).tables[0], 10, 1) == {"pick": 10, "flop": 80}
    assert parts_of_rows(held(MixedDimension(2)).tables[0], 10, 1) == {"pick": 10, "flop": 320}
    assert parts_of_mlp((4, 3, 1), 10, 1) == {"flop": 300, "mlp layer": 2}
    assert seconds({"hash": 2, "flop": 3, "decoder layer": 4, "mlp layer": 5, "pick": 6}, SLOW) == pytest.approx(
        2e-9 + 3e-11 + 8e-5 + 25e-6 + 18e-8
    )


def test_costs_are_found_again_from_whole_computations():
    draw = np.random.default_rng(0)
    names = ("hash", "flop", "decoder layer", "mlp layer", "pick")
    done = []
    for _ in range(30):
        parts = dict(zip(names, draw.random(5) * [1e5, 1e7, 4, 4, 1e3], strict=True))
        done.append(Computation(parts, seconds(parts, SLOW)))
    found = fitted("fp32", 1, done)
    for field in Arithmetic.__struct_fields__[2:]:
        assert getattr(found, field) == pytest.approx(getattr(SLOW, field), rel=0.02)
    without = fitted("bf16", 2, [Computation({"flop": 1e6}, 1e-3)])
    assert without.flop_s == pytest.approx(1e-9) and without.mlp_layer_s == without.hash_s == 0


def test_no_part_is_found_to_cost_less_than_nothing():
    done = [Computation({"hash": 1.0, "flop": 1.0}, 1.0), Computation({"hash": 1.0, "flop": 2.0}, 0.5)]
    found = fitted("fp32", 1, done)
    assert found.flop_s == 0 and found.hash_s > 0


def test_measured_with_at_most_as_many_cores():
    four = replace(SLOW, active_cores=4)
    assert nearest((four, SLOW, FAST), "fp32", 3) == SLOW and nearest((four, SLOW), "fp32", 8) == four
    assert nearest((four,), "fp32", 1) == four and nearest((four,), "bf16", 1) is None


def machine(*measured):
    one = cached_machine(1)
    return replace(one, cores=tuple(replace(core, flops_per_s=1e11) for core in one.cores), arithmetic=measured)


def test_measured_arithmetic_takes_the_rooflines_place():
    model = held(Dhe(k=32, hidden=(16,)), rows=10**9)
    asked = Workload.uniform(model, 10)
    wanted = seconds(parts_of_rows(model.tables[0], 10, 1), SLOW)
    price = Computing(machine(SLOW, FAST))
    assert price.rows(model, Serving("t"), asked) == pytest.approx(wanted, rel=1e-6)
    brain = price.rows(model, Serving("t", precision="bf16"), asked)
    assert brain == pytest.approx(seconds(parts_of_rows(model.tables[0], 10, 1), FAST), rel=1e-6)
    assert price.rows(model, Serving("t", "materialise"), asked) == 0
    assert price.seconds(model, (), asked).source == "fitted"
    assert Computing(machine()).seconds(model, (), asked).source == "modelled"
    mlp = replace(model, bottom=Mlp((4, 3, 8), ("relu", "relu"), "bottom"))
    assert price.seconds(mlp, (), asked).breakdown["mlps"] == pytest.approx(
        seconds(parts_of_mlp((4, 3, 8), 10, 1), SLOW)
    )


def test_decoders_that_push_each_other_out_are_read_from_further_out():
    large = Dhe(k=64, hidden=(1024, 1024))
    names = [f"t{i}" for i in range(40)]
    plain = Model("m", tuple(Table(n, 1000, 8) for n in names), tuple(Feature(n, n) for n in names))
    many, alone = hold(plain, None, large), hold(Model("m", plain.tables[:1], plain.features[:1]), None, large)
    price = Computing(machine(SLOW))
    asked = Serving("t0")
    both = [price.rows(model, asked, Workload.uniform(model, 10)) for model in (many, alone)]
    assert both[0] > both[1]


def test_every_number_of_cores_is_measured_in_both_precisions():
    asked = []

    def rows_of(table, parameters, precision, threads):
        asked.append((precision, threads))
        return lambda ids: None

    found = arithmetic((1, 2), rows_of, lambda part, threads: lambda inputs: None)
    assert [(one.precision, one.active_cores) for one in found] == [("fp32", 1), ("bf16", 1), ("fp32", 2), ("bf16", 2)]
    assert set(asked) == {("fp32", 1), ("bf16", 1), ("fp32", 2), ("bf16", 2)}


def test_what_serves_is_what_is_timed():
    pytest.importorskip("torch")
    from recsmith.executor.timing import mlp_of, rows_of

    (fp32, bf16) = arithmetic((1,), rows_of, mlp_of)
    for one in (fp32, bf16):
        assert 1e-14 < one.flop_s < 1e-8 and one.hash_s >= 0
    assert fp32.mlp_layer_s + fp32.decoder_layer_s > 0
