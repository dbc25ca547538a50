"""Every strategy on the menu computes the oracle's sums and reads the bytes it declares."""

import numpy as np
import pytest

from recsmith.spec import Access, Gather, Shard, Table, UnknownNameError
from recsmith.strategies import STRATEGIES
from recsmith.testing.conformance import check_strategy


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_strategy_conforms(name):
    strategy = STRATEGIES[name]()
    assert strategy.name == name
    check_strategy(strategy)


def test_a_strategy_that_declares_too_little_is_caught():
    class Liar(STRATEGIES["gm"]):
        def work(self, op, table, shard, samples, access):
            return super().work(op, table, shard, samples / 2, access)

    with pytest.raises(AssertionError, match="declares"):
        check_strategy(Liar())


def test_a_strategy_that_computes_wrongly_is_caught():
    class Wrong(STRATEGIES["gm"]):
        def dataflow(self, memory, rows, bags, weights):
            return super().dataflow(memory, rows, bags, weights) + 1e-6

    with pytest.raises(AssertionError, match="gm on"):
        check_strategy(Wrong())


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_shards_of_a_table_share_its_lookups(name):
    strategy, table, access = STRATEGIES[name](), Table("t", 100, 8), Access("f", 3.0)
    op = Gather("f", "t", "sum")
    whole = strategy.work(op, table, Shard("t", 0, 100), 64, access)
    parts = [strategy.work(op, table, Shard("t", *ends), 64, access) for ends in ((0, 30), (30, 100))]
    assert sum(part.requests[0].count for part in parts) == pytest.approx(whole.requests[0].count)
    assert sum(s.nbytes for part in parts for s in part.streams) == sum(s.nbytes for s in whole.streams)


def test_ub_flows_stream_bytes_that_do_not_depend_on_the_ids():
    op, table = Gather("f", "t", "sum"), Table("t", 1000, 16)
    for name in ("gm_ub", "l1_ub"):
        few = STRATEGIES[name]().work(op, table, Shard("t", 0, 1000), 1, Access("f"))
        many = STRATEGIES[name]().work(op, table, Shard("t", 0, 1000), 10_000, Access("f"))
        assert few.streams == many.streams
        assert few.streams[0].nbytes == table.nbytes


def test_l1_keeps_its_shard_and_gm_keeps_nothing():
    table, shard = Table("t", 1000, 16), Shard("t", 0, 250)
    assert STRATEGIES["gm"]().resident(table, shard) == {}
    assert STRATEGIES["l1"]().resident(table, shard) == {"local": 250 * 64}
    assert STRATEGIES["l1_ub"]().resident(table, shard)["local"] == 250 * 64
    assert np.all([v <= 16 * 1024 for v in STRATEGIES["gm_ub"]().resident(table, shard).values()])


def test_unknown_strategy_lists_the_menu():
    with pytest.raises(UnknownNameError, match="gm, l1, gm_ub, l1_ub"):
        STRATEGIES["warp"]
