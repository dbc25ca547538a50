"""Each installed rival returns what the oracle says, over the shared rows."""

import numpy as np
import pytest

from recsmith.bench import expected, rounds
from recsmith.bench.engine import Setup
from recsmith.bench.peers import PEERS
from recsmith.bench.tables import SharedTables
from recsmith.data import synthetic
from recsmith.spec import Access, Feature, Model, RowFormat, Table, UnavailableError, Uniform, Workload

pytestmark = pytest.mark.slow

BATCH = 6
FORMS = {"one-hot": (1, 1, 1), "bags": (1, 3, 2), "varied": (2, 3, 2)}


def case(form, threads, dtype="fp32"):
    tables = (Table("a", 50, 16, RowFormat(dtype)), Table("b", 7, 32, RowFormat(dtype)))
    model = Model("m", tables, (Feature("x", "a"), Feature("y", "b"), Feature("z", "a")))
    accesses = tuple(Access(f.name, n, Uniform()) for f, n in zip(model.features, FORMS[form], strict=True))
    lengths = "poisson" if form == "varied" else "exact"
    made = synthetic.batches(model, Workload("w", BATCH, accesses), 2, lengths=lengths)
    shared = SharedTables(model, "4k")
    fixed = None if form == "varied" else FORMS[form]
    return Setup(model, shared.buffer, shared.tables, BATCH, fixed, threads, "4k"), made


def makers(peer):
    try:
        return PEERS[peer]
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("peer", PEERS.names())
def test_rivals_are_right(peer, form, threads):
    setup, made = case(form, threads)
    ran = 0
    for make in makers(peer):
        try:
            engine = make(setup)
        except UnavailableError:
            continue
        for ids in made:
            wanted = expected.pooled(setup.model, setup.tables, ids)
            with rounds.active(engine):
                got = engine.output(engine.call(engine.prepare(ids)))
            assert expected.disagreement(got, wanted) == "", engine.name
        assert engine.version and engine.settings
        engine.close()
        ran += 1
    assert ran or (peer, form) == ("onnxruntime", "varied")


@pytest.mark.parametrize("dtype", ["fp16", "int8", "int4"])
def test_fbgemm_reads_our_reduced_rows(dtype):
    setup, made = case("bags", 1, dtype)
    engine = makers("fbgemm")[0](setup)
    wanted = expected.pooled(setup.model, setup.tables, made[0])
    got = engine.output(engine.call(engine.prepare(made[0])))
    assert np.abs(got - wanted).max() <= 1e-3 * np.abs(wanted).max()
    engine.close()


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer != "fbgemm"])
def test_rivals_that_cannot_share_reduced_rows_say_so(peer):
    setup, _ = case("one-hot", 1, "int8")
    for make in makers(peer):
        with pytest.raises(UnavailableError, match="int8"):
            make(setup)
