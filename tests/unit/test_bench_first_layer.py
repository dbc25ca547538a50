"""The benchmark of the way through the first layer checks every engine and times it."""

import pytest

pytest.importorskip("torch")

from recsmith.bench.first_layer import run_layer_bench
from recsmith.bench.options import LookupOptions


def test_a_case_is_timed_from_end_to_end():
    options = LookupOptions("criteo_kaggle", 8, 16, threads=1, max_bytes=2_000_000, against=("torch",), rounds=2)
    record = run_layer_bench(options, 1_000_000)
    engines = {case.engine: case.median_s for case in record.cases}
    assert engines["recsmith"] > 0 and len(engines) >= 3 and not record.missing
    assert record.folded_bytes <= 1_000_000 and "0" in record.rehearsed_s
    assert record.ratio_to_unfolded == pytest.approx(engines["recsmith[unfolded]"] / engines["recsmith"])
