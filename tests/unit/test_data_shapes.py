"""The workloads are whole, and a row cap is the largest that fits."""

import pytest

from recsmith.data import shapes
from recsmith.spec import CapacityError, Uniform, UnknownNameError, Zipf

# Bytes at fp32 and look-ups a sample, as published with the numbers or computed from them by hand.
KNOWN = {
    "criteo_kaggle": (26, 2_160_804_928, 26),
    "criteo_terabyte_10M": (26, 12_576_332_032, 26),
    "mlperf_dlrm_v2": (26, 104_542_509_056, 214),
    "small84_25mb": (84, 24_999_296, 84),
    "taobao_ad": (16, 402_226_912, 165),
}


@pytest.mark.parametrize("name", shapes.names())
def test_every_workload_opens_and_says_where_it_is_from(name):
    shape = shapes.shape(name)
    assert shape.file.name == name
    assert shape.file.source and shape.file.provenance
    assert len(shape.pooling_factors) == len(shape.model.features)
    assert all(shape.model.table_of(feature).rows > 0 for feature in shape.model.features)
    assert shape.row_cap == 0


@pytest.mark.parametrize("name", KNOWN)
def test_sizes_are_those_published(name):
    tables, nbytes, lookups = KNOWN[name]
    shape = shapes.shape(name)
    assert (len(shape.model.tables), shape.model.nbytes, shape.lookups_per_sample) == (tables, nbytes, lookups)


def test_shared_tables_are_counted_once():
    model = shapes.shape("taobao_ad").model
    shared = {feature.name: feature.table for feature in model.features if feature.name != feature.table}
    assert shared == {"cate_his": "cate_id", "brand_his": "brand"}


@pytest.mark.parametrize("max_bytes", [1664, 10_000, 1_000_000, 300_000_000])
@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_the_cap_is_the_largest_that_fits(max_bytes, dtype):
    shape = shapes.shape("criteo_kaggle", max_bytes=max_bytes, dtype=dtype)
    full = shapes.shape("criteo_kaggle", dtype=dtype)
    assert shape.model.nbytes <= max_bytes
    assert all(t.rows == min(f.rows, shape.row_cap) for t, f in zip(shape.model.tables, full.model.tables, strict=True))
    one_more = sum(
        min(table.rows, shape.row_cap + 1) * table.format.stride_bytes(table.dim) for table in full.model.tables
    )
    assert one_more > max_bytes


def test_a_model_that_fits_is_not_cut():
    shape = shapes.shape("criteo_kaggle", max_bytes=2_160_804_928)
    assert shape.row_cap == 0 and shape.model.tables == shapes.shape("criteo_kaggle").model.tables


def test_dim_replaces_all_dims():
    assert {table.dim for table in shapes.shape("taobao_ad", dim=24).model.tables} == {24}


def test_too_small_a_cap_names_the_bytes():
    with pytest.raises(CapacityError, match="1,664"):
        shapes.shape("criteo_kaggle", max_bytes=1000)


def test_an_unknown_workload_answers_with_the_menu():
    with pytest.raises(UnknownNameError, match="criteo_kaggle"):
        shapes.shape("criteo")


def test_workload_asks_features_as_the_shape_says():
    shape = shapes.shape("mlperf_dlrm_v2")
    workload = shape.workload(128, {f.name: Zipf(1.2) if f.name == "C1" else Uniform() for f in shape.model.features})
    assert workload.batch == 128
    assert (workload.access("C1").ids, workload.access("C1").pooling_factor) == (Zipf(1.2), 3)
    assert workload.access("C2").ids == Uniform()
