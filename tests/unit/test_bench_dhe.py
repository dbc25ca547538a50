"""The benchmark of deep hash embeddings, on tables small enough for a test."""

from xml.etree import ElementTree

import numpy as np
import pytest
from msgspec.structs import replace

from recsmith.bench.dhe import DheOptions, DheRecord, run_dhe_bench
from recsmith.bench.plain_dhe import PlainDhe
from recsmith.bench.report.caches import drawn
from recsmith.data.hot import most_asked
from recsmith.reference import computed_rows
from recsmith.representations import build
from recsmith.representations.dhe import settled
from recsmith.spec import Dhe, Table

pytest.importorskip("torch")

SMALL = Dhe(k=24, hidden=(16,))


def test_every_engine_gives_the_right_rows_and_says_what_it_computed():
    options = DheOptions(
        rows=4000, ids="zipf:1.3", batch=64, dhe=SMALL, dim=5, shares=(0.1,), materialise=True, rounds=3
    )
    record = run_dhe_bench(options)
    cells = {cell.engine: cell for cell in record.cells}
    names = ["torch fp32", "torch bf16", "every id", "computed fp32", "computed bf16", "cache 10.00%", "materialised"]
    assert list(cells) == names
    assert all(cell.worst < (0.03 if "bf16" in name else 1e-6) for name, cell in cells.items())
    assert all(0 < cell.q1_s <= cell.median_s <= cell.q3_s for cell in record.cells)
    assert 0 < cells["cache 10.00%"].computed < cells["computed fp32"].computed < 64
    assert 0.5 < cells["cache 10.00%"].hit_rate < 1 and cells["materialised"].hit_rate == 1
    assert cells["cache 10.00%"].kept_bytes == 400 * 5 * 4
    assert DheRecord.from_json(record.to_json()) == record


def test_unique_ids_are_all_computed():
    record = run_dhe_bench(DheOptions(rows=500, batch=32, dhe=SMALL, dim=4, rounds=1))
    assert [cell.computed for cell in record.cells if cell.engine.startswith("computed")] == [32, 32]
    assert set(record.rates) == {"fp32", "bf16"}


def test_plain_torch_is_the_published_formula():
    table = Table("t", 3_000_000, 4, computed=settled(SMALL, 3_000_000))
    arrays = build(table, 5)
    ids = np.array([0, 1, 2_999_999])
    found = PlainDhe(table, arrays, "float32").rows(ids).numpy()
    np.testing.assert_allclose(found, computed_rows(table, arrays, ids), atol=1e-6)


@pytest.mark.parametrize(
    ("count", "wanted"), [(0, []), (1, [7]), (2, [7, 2]), (3, [7, 2, 9]), (5, [7, 2, 9, 0, 1]), (10, None)]
)
def test_ids_asked_for_most_come_first_and_ties_by_number(count, wanted):
    found = most_asked(np.array([9, 7, 2, 7, 2, 7]), 10, count).tolist()
    assert found == wanted if wanted is not None else sorted(found) == list(range(10))


def test_the_picture_of_caches_shows_every_size_and_every_number_of_centroids():
    options = DheOptions(rows=4000, ids="zipf:1.3", batch=64, dhe=SMALL, dim=5, shares=(0.01, 0.1), rounds=2)
    record = run_dhe_bench(replace(options, centroids=(4, 16), materialise=True))
    cells = {cell.engine: cell for cell in record.cells}
    assert cells["centroids 4"].error > 1e-3 > 1e-5 > cells["cache 1.00%"].error
    assert cells["centroids 4"].hit_rate == cells["cache 1.00%"].hit_rate
    assert abs(cells["cache 10.00%"].expected_hits - cells["cache 10.00%"].hit_rate) < 0.1
    svg = drawn(record)
    ElementTree.fromstring(svg)
    assert all(f'data-tip="{name}: ' in svg for name in cells if name.startswith(("cache", "centroids")))
