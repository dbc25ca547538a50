"""`recsmith inspect` on models of computed tables."""

import json

import pytest

from recsmith.cli.app import main
from recsmith.importers import artifact
from recsmith.representations import build, hold
from recsmith.spec import Dhe, Feature, Hybrid, Model, Select, Table, Weights


def test_computed_tables_are_named_and_their_parameters_counted(tmp_path, capsys):
    names = ("a", "b", "c")
    plain = Model("m", tuple(Table(n, 100, 4) for n in names), tuple(Feature(n, n) for n in names))
    dhe = Dhe(k=8, hidden=(6,))
    model = hold(plain, None, Select({"a": dhe, "b": Hybrid(dhe=dhe)}))
    stored, parameters = {}, {}
    for table in model.tables:
        arrays = build(table, 0)
        if table.computed is None:
            stored[table.name] = arrays["rows"]
        else:
            parameters |= {f"{table.name}.{name}": array for name, array in arrays.items()}
    artifact.save(model, Weights(stored, parameters=parameters), tmp_path / "model")
    with pytest.raises(SystemExit):
        main(["inspect", str(tmp_path / "model"), "--json"])
    seen = json.loads(capsys.readouterr().out)
    held = [(each["feature"], each["table"], each["format"]) for each in seen["features"]]
    assert held == [("a", "a", "dhe 8-6-4"), ("b", "b", "fp32"), ("b", "b+dhe", "dhe 8-6-4"), ("c", "c", "fp32")]
    one = 2 * 8 + 8 * 6 + 6 + 6 * 4 + 4
    assert seen["table_parameters"] == 2 * one + 2 * 100 * 4 == sum(array.size for array in parameters.values()) + 800
