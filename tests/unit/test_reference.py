"""The oracle itself, on numbers worked by hand."""

import numpy as np
import pytest

from recsmith.reference import decode, encode, forward, interact, lookup
from recsmith.spec import Feature, Interaction, Jagged, Mlp, Model, RowFormat, Table, Weights

ROWS = np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]], np.float32)


def _lookup(feature, values, offsets, batch, weights=None):
    model = Model("m", (Table("t", 3, 2),), (feature,))
    ids = Jagged(np.array(values, np.int64), None if offsets is None else np.array(offsets, np.int64), batch, weights)
    return lookup(model, Weights({"t": ROWS}), ids)


def test_sum_adds_the_rows_of_each_bag():
    pooled, _ = _lookup(Feature("f", "t"), [0, 1, 2], [0, 2, 2, 3], 3)
    assert pooled.tolist() == [[11, 22], [0, 0], [100, 200]]


def test_mean_divides_by_the_number_of_ids():
    pooled, _ = _lookup(Feature("f", "t", "mean"), [0, 1, 2], [0, 2, 3], 2)
    assert pooled.tolist() == [[5.5, 11], [100, 200]]


def test_padding_is_neither_added_nor_counted():
    pooled, _ = _lookup(Feature("f", "t", "mean", padding_id=0), [0, 1, 2, 0], [0, 3, 4], 2)
    assert pooled.tolist() == [[55, 110], [0, 0]]


def test_weights_scale_each_row():
    pooled, _ = _lookup(Feature("f", "t", weighted=True), [0, 1], [0, 2], 1, np.array([2.0, 0.5], np.float32))
    assert pooled.tolist() == [[7, 14]]


def test_without_offsets_every_bag_holds_one_id():
    pooled, _ = _lookup(Feature("f", "t"), [2, 0], None, 2)
    assert pooled.tolist() == [[100, 200], [1, 2]]


def test_unpooled_keeps_one_vector_per_id():
    pooled, sequences = _lookup(Feature("f", "t", "none"), [0, 2, 1], [0, 2, 3], 2)
    assert pooled.shape == (2, 0)
    assert sequences["f"].tolist() == [[1, 2], [100, 200], [10, 20]]


def test_features_lie_side_by_side_and_may_share_a_table():
    model = Model("m", (Table("t", 3, 2), Table("u", 1, 1)), (Feature("a", "t"), Feature("b", "u"), Feature("c", "t")))
    weights = Weights({"t": ROWS, "u": np.array([[7.0]], np.float32)})
    pooled, _ = lookup(model, weights, Jagged(np.array([0, 0, 2]), None, 1))
    assert pooled.tolist() == [[1, 2, 7, 100, 200]]


def test_bf16_keeps_the_upper_half_of_the_bits():
    table = Table("t", 1, 3, RowFormat("bf16"))
    stored = encode(np.array([[1.0, -2.5, 1.00390625]]), table.format)
    assert stored.tolist() == [[0x3F80, 0xC020, 0x3F80]]
    assert decode(stored, table).tolist() == [[1.0, -2.5, 1.0]]


def test_int8_row_is_scale_bias_codes():
    table = Table("t", 1, 3, RowFormat("int8"))
    stored = encode(np.array([[0.0, 127.5, 255.0]]), table.format)
    assert stored[0, :4].view(np.float16).tolist() == [1.0, 0.0]
    assert stored[0, 4:].tolist() == [0, 128, 255]
    assert decode(stored, table).tolist() == [[0.0, 128.0, 255.0]]


def test_int4_packs_the_even_element_low():
    table = Table("t", 1, 3, RowFormat("int4"))
    stored = encode(np.array([[0.0, 5.0, 15.0]]), table.format)
    assert stored[0, 4:].tolist() == [0x50, 0x0F]
    assert decode(stored, table).tolist() == [[0.0, 5.0, 15.0]]


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_quantised_rows_stay_within_half_a_step(dtype):
    levels = 255 if dtype == "int8" else 15
    values = np.random.default_rng(0).normal(size=(100, 33))
    table = Table("t", 100, 33, RowFormat(dtype))
    step = (values.max(axis=1) - values.min(axis=1)) / levels
    header_rounding = 4 * 2.0**-11 * np.abs(values).max()
    error = np.abs(decode(encode(values, table.format), table) - values).max(axis=1)
    assert (error <= step / 2 + header_rounding).all()


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_a_constant_row_survives_quantisation(dtype):
    table = Table("t", 2, 4, RowFormat(dtype))
    stored = encode(np.array([[0.5] * 4, [0.0] * 4]), table.format)
    assert decode(stored, table).tolist() == [[0.5] * 4, [0.0] * 4]


def test_rows_start_at_multiples_of_the_alignment():
    assert RowFormat("int8", 64).stride_bytes(64) == 128
    assert RowFormat("int4").stride_bytes(5) == 7
    assert encode(np.ones((2, 5)), RowFormat("int4", 8)).shape == (2, 8)


def test_dot_interaction_lists_the_lower_triangle_row_by_row():
    bottom = np.array([[1.0, 2.0]])
    vectors = np.array([[[3.0, 4.0], [5.0, 6.0]]])
    without = interact(Interaction("dot"), bottom, vectors)
    assert without.tolist() == [[1, 2, 1 * 3 + 2 * 4, 1 * 5 + 2 * 6, 3 * 5 + 4 * 6]]
    with_self = interact(Interaction("dot", self_terms=True), bottom, vectors)
    assert with_self.tolist() == [[1, 2, 5, 11, 25, 17, 39, 61]]


def test_cat_interaction_keeps_everything():
    joined = interact(Interaction("cat"), np.array([[1.0]]), np.array([[[2.0], [3.0]]]))
    assert joined.tolist() == [[1, 2, 3]]


def test_forward_of_a_hand_sized_model():
    model = Model(
        "m",
        (Table("t", 3, 2),),
        (Feature("f", "t"),),
        dense_inputs=1,
        bottom=Mlp((1, 2), ("relu",), "bottom"),
        interaction=Interaction("dot"),
        top=Mlp((3, 1), ("sigmoid",), "top"),
    )
    dense = {
        "bottom.0.weight": np.array([[1.0], [-1.0]], np.float32),
        "bottom.0.bias": np.array([1.0, 0.0], np.float32),
        "top.0.weight": np.array([[0.1, 1.0, 0.01]], np.float32),
        "top.0.bias": np.array([-0.3], np.float32),
    }
    # bottom(2) = relu([3, -2]) = [3, 0]; dot with row [1, 2] = 3; top = 0.1*3 + 0 + 0.01*3 - 0.3 = 0.03
    found = forward(model, Weights({}, dense), np.array([[2.0]]), np.array([[1.0, 2.0]]))
    assert found == pytest.approx([1 / (1 + np.exp(-0.03))], rel=1e-6)
