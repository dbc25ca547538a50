"""Artifacts of models whose tables are computed."""

import numpy as np
import pytest
from msgspec.structs import replace

from recsmith.importers import artifact
from recsmith.representations import build, hold
from recsmith.spec import Dhe, Feature, FormatError, Hybrid, Model, QuotientRemainder, Select, Table, Weights


def held() -> tuple[Model, Weights]:
    plain = Model("m", (Table("a", 9, 4), Table("b", 20, 4)), (Feature("a", "a"), Feature("b", "b")))
    model = hold(plain, None, Select({"a": Hybrid(dhe=Dhe(k=6, hidden=(3,), batch_norm=True))}, QuotientRemainder()))
    tables, parameters = {}, {}
    for table in model.tables:
        arrays = build(table, seed=2)
        if table.computed is None:
            tables[table.name] = arrays["rows"]
        parameters |= {f"{table.name}.{name}": array for name, array in arrays.items() if table.computed}
    return model, Weights(tables, parameters=parameters)


def test_a_model_of_several_representations_comes_back_as_it_was(tmp_path):
    model, weights = held()
    found, read = artifact.open(artifact.save(model, weights, tmp_path / "m"))
    assert found == model
    assert read.parameters.keys() == weights.parameters.keys()
    for name, array in weights.parameters.items():
        assert read.parameters[name].dtype == array.dtype
        np.testing.assert_array_equal(read.parameters[name], array)
    assert "dhe 6-3-4" in (tmp_path / "m" / "README.md").read_text()


def test_a_lost_parameter_is_named(tmp_path):
    model, weights = held()
    lost = {name: array for name, array in weights.parameters.items() if name != "a+dhe.norm.mean"}
    with pytest.raises(FormatError, match=r"parameter 'a\+dhe.norm.mean'"):
        artifact.save(model, Weights(weights.tables, parameters=lost), tmp_path / "m")


def test_a_table_beside_that_does_not_exist_is_named(tmp_path):
    model, weights = held()
    broken = replace(model, features=(replace(model.features[0], beside="x"), model.features[1]))
    with pytest.raises(FormatError, match="reads table 'x'"):
        artifact.save(broken, weights, tmp_path / "m")


def test_saving_a_plain_model_over_it_leaves_no_stale_parameters(tmp_path):
    model, weights = held()
    folder = artifact.save(model, weights, tmp_path / "m")
    plain = hold(model, None, "table")
    artifact.save(plain, Weights({t.name: build(t, 0)["rows"] for t in plain.tables}), folder)
    assert not (folder / "representations.safetensors").exists()
