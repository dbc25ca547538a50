"""Che's approximation against hand-worked numbers and a simulated LRU cache."""

from collections import OrderedDict

import numpy as np
import pytest

from recsmith.cost.contention import SharedCache, Traffic, shares
from recsmith.cost.footprint import footprint, lines_per_row
from recsmith.spec import Popularity, PopularityClass

LINE = 64


def traffic_of(*tables: tuple[str, Popularity, float], fresh_bytes=0.0, own_bytes=0.0) -> Traffic:
    traffic = Traffic(fresh_bytes=fresh_bytes, own_bytes=own_bytes)
    for name, popularity, count in tables:
        traffic.ask(name, count, footprint(popularity, LINE, LINE))
    return traffic


def hit_share(cache: SharedCache, name: str, popularity: Popularity) -> float:
    return cache.found[name, footprint(popularity, LINE, LINE)]


@pytest.mark.parametrize(
    ("row_bytes", "lines"), [(64, 1), (32, 1), (16, 1), (256, 4), (68, 2), (260, 5), (40, 1 + 36 / 64)]
)
def test_lines_per_row(row_bytes, lines):
    assert lines_per_row(row_bytes, LINE) == pytest.approx(lines)


@pytest.mark.parametrize(("row_bytes", "nbytes"), [(16, 16_000), (64, 64_000), (68, 68_000), (256, 256_000)])
def test_all_rows_together_take_the_tables_bytes(row_bytes, nbytes):
    assert footprint(Popularity.uniform(1000), row_bytes, LINE).bytes_G.sum() == pytest.approx(nbytes)


def test_a_few_hot_rows_take_a_line_each():
    hot_and_cold = Popularity((PopularityClass(10, 0.5), PopularityClass(99_990, 0.5)))
    lines = footprint(hot_and_cold, 16, LINE)
    assert lines.bytes_G == pytest.approx([10 * LINE, 100_000 * 16 - 10 * LINE], rel=1e-3)


def test_what_fits_stays_for_ever():
    assert SharedCache([traffic_of(("a", Popularity.uniform(100), 1))], 100 * LINE).batches == float("inf")


def test_uniform_rows_are_hit_in_proportion_to_the_part_that_fits():
    uniform = Popularity.uniform(1000)
    cache = SharedCache([traffic_of(("a", uniform, 50))], 250 * LINE)
    assert hit_share(cache, "a", uniform) == pytest.approx(0.25)


def test_a_cache_is_split_by_how_often_tables_are_asked():
    uniform = Popularity.uniform(1000)
    cache = SharedCache([traffic_of(("often", uniform, 300), ("rarely", uniform, 30))], 1000 * LINE)
    often, rarely = (hit_share(cache, name, uniform) for name in ("often", "rarely"))
    assert often + rarely == pytest.approx(1, rel=1e-4)  # 1000 of 2000 lines
    assert 1 - often == pytest.approx((1 - rarely) ** 10, rel=1e-3)


def test_cores_that_ask_for_the_same_rows_share_their_lines():
    uniform = Popularity.uniform(1000)
    same = SharedCache([traffic_of(("a", uniform, 50)), traffic_of(("a", uniform, 50))], 500 * LINE)
    apart = SharedCache([traffic_of(("a", uniform, 50)), traffic_of(("b", uniform, 50))], 500 * LINE)
    assert hit_share(same, "a", uniform) == pytest.approx(0.5)
    assert hit_share(apart, "a", uniform) == pytest.approx(0.25)


def test_ids_and_output_take_room():
    uniform = Popularity.uniform(1000)
    alone = SharedCache([traffic_of(("a", uniform, 500))], 500 * LINE)
    beside = SharedCache([traffic_of(("a", uniform, 500), fresh_bytes=100 * LINE, own_bytes=100 * LINE)], 500 * LINE)
    assert hit_share(beside, "a", uniform) < hit_share(alone, "a", uniform) - 0.1


def test_a_buffer_larger_than_the_cache_is_never_found():
    assert SharedCache([traffic_of(own_bytes=1000.0)], 400).cyclic == 0
    assert SharedCache([traffic_of(own_bytes=1000.0)], 1000).cyclic == 1


def test_shares_by_level_add_up_and_inner_levels_count_as_held_by_outer_ones():
    assert shares([0.5, 0.75]) == (0.5, 0.25, 0.25)
    assert shares([0.5, 0.4]) == (0.5, 0.0, 0.5)
    assert shares([]) == (1.0,)


def simulated_hits(tables, capacity_lines, batches, rng):
    """Hit share of each table in an LRU cache of lines, over the last half of `batches`."""
    cache: OrderedDict[tuple[int, int], None] = OrderedDict()
    seen, found = np.zeros(len(tables)), np.zeros(len(tables))
    for batch in range(batches):
        for t, (weights, count) in enumerate(tables):
            for row in rng.choice(len(weights), size=count, p=weights):
                key = (t, int(row))
                if batch >= batches // 2:
                    seen[t] += 1
                    found[t] += key in cache
                cache[key] = None
                cache.move_to_end(key)
                if len(cache) > capacity_lines:
                    cache.popitem(last=False)
    return found / seen


def zipf_weights(rows, alpha):
    edges = np.arange(1, rows + 2, dtype=float)
    mass = -np.diff(edges ** (1 - alpha)) / (alpha - 1)
    return mass / mass.sum()


def test_che_agrees_with_a_simulated_lru_cache():
    rng = np.random.default_rng(7)
    errors = []
    for capacity_lines in (100, 400, 1500):
        kinds = [("uniform", 500, 40), ("zipf", 3000, 60), ("zipf", 300, 10)]
        weights = [
            np.full(rows, 1 / rows) if kind == "uniform" else zipf_weights(rows, 1.05) for kind, rows, _ in kinds
        ]
        counts = [count for _, _, count in kinds]
        seen = simulated_hits(list(zip(weights, counts, strict=True)), capacity_lines, 300, rng)
        laws = [
            Popularity.uniform(rows) if kind == "uniform" else Popularity.zipf(rows, 1.05) for kind, rows, _ in kinds
        ]
        named = [(str(i), law, count) for i, (law, count) in enumerate(zip(laws, counts, strict=True))]
        cache = SharedCache([traffic_of(*named)], capacity_lines * LINE)
        errors += [abs(hit_share(cache, name, law) - seen[i]) for i, (name, law, _) in enumerate(named)]
    assert np.median(errors) < 0.02
    assert max(errors) < 0.06


def test_what_is_not_found_is_spread_over_the_rows_that_are_asked_for():
    big = 100_000_000
    uniform = footprint(Popularity.uniform(big), 64, 64)
    traffic = Traffic()
    traffic.ask("t", 1000.0, uniform)
    assert SharedCache([traffic], 1 << 20).spread_bytes == pytest.approx(big * 64)
    traffic.ask("u", 1000.0, uniform)
    assert SharedCache([traffic], 1 << 20).spread_bytes == pytest.approx(2 * big * 64)
    traffic.ask("seldom", 1.0, uniform)
    assert SharedCache([traffic], 1 << 20).spread_bytes == pytest.approx(2 * big * 64, rel=0.01)


def test_rows_that_are_found_are_not_spread():
    traffic = Traffic()
    traffic.ask("t", 1000.0, footprint(Popularity.uniform(1000), 64, 64))
    assert SharedCache([traffic], 1 << 20).spread_bytes == 0.0
