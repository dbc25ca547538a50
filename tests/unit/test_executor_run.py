"""Predictions equal PyTorch's; calls from many threads and after a fork are right."""

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
from hand_plans import alone, build, owned, row_shards, symmetric  # noqa: E402

from recsmith.spec import (  # noqa: E402
    Batch,
    Feature,
    FormatError,
    InputError,
    Interaction,
    Jagged,
    Mlp,
    Model,
    Table,
    Weights,
)
from recsmith.testing.cases import random_case  # noqa: E402
from recsmith.testing.conformance import agree  # noqa: E402
from recsmith.testing.torch_dlrm import TorchDlrm  # noqa: E402

FEATURES, DIM, DENSE = 5, 8, 4


def dlrm(kind: str = "dot", *, self_terms: bool = False, outputs: int = 1) -> Model:
    vectors = FEATURES + 1
    pairs = vectors * (vectors + (1 if self_terms else -1)) // 2
    joined = DIM + pairs if kind == "dot" else vectors * DIM
    return Model(
        "dlrm",
        tuple(Table(f"t{i}", 20 + 30 * i, DIM) for i in range(FEATURES)),
        tuple(Feature(f"f{i}", f"t{i}", "mean" if i == 1 else "sum") for i in range(FEATURES)),
        DENSE,
        Mlp((DENSE, 16, DIM), ("relu", "relu"), "bot_l"),
        Interaction(kind, self_terms),
        Mlp((joined, 12, outputs), ("relu", "sigmoid"), "top_l"),
    )


def with_weights(model: Model) -> tuple[TorchDlrm, Weights]:
    torch.manual_seed(0)
    module = TorchDlrm(model).eval()
    dense = {}
    for part, stack in (("bot_l", module.bot_l), ("top_l", module.top_l)):
        linears = [layer for layer in stack if isinstance(layer, torch.nn.Linear)]
        for i, layer in enumerate(linears):
            dense[f"{part}.{i}.weight"] = layer.weight.detach().numpy()
            dense[f"{part}.{i}.bias"] = layer.bias.detach().numpy()
    tables = {f"t{i}": bag.weight.detach().numpy() for i, bag in enumerate(module.emb_l)}
    return module, Weights(tables, dense)


def random_batch(model: Model, batch: int, seed: int) -> Batch:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(0, 4, size=(FEATURES, batch))
    values = np.concatenate([draw.integers(0, t.rows, lengths[i].sum()) for i, t in enumerate(model.tables)])
    offsets = np.concatenate([[0], np.cumsum(lengths.reshape(-1))])
    dense = draw.normal(size=(batch, DENSE)).astype(np.float32)
    return Batch(Jagged(values.astype(np.int64), offsets.astype(np.int64), batch), dense)


@pytest.mark.parametrize("plan", [symmetric, alone, owned, row_shards])
@pytest.mark.parametrize(("kind", "self_terms"), [("dot", False), ("dot", True), ("cat", False)])
def test_predictions_equal_pytorchs(plan, kind, self_terms):
    model = dlrm(kind, self_terms=self_terms)
    module, weights = with_weights(model)
    with build(model, weights, plan(model)) as executable:
        for batch in (1, 2, 7, 128, 5):
            given = random_batch(model, batch, batch)
            wanted = module.predict(given).numpy()
            found = executable.run(given).values
            assert found.shape == (batch,) and found.dtype == np.float32
            assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_several_outputs_and_the_empty_batch():
    model = dlrm(outputs=3)
    _, weights = with_weights(model)
    with build(model, weights, symmetric(model)) as executable:
        assert executable.run(random_batch(model, 4, 0)).values.shape == (4, 3)
        assert executable.run(random_batch(model, 0, 0)).values.shape == (0, 3)
    model = dlrm()
    _, weights = with_weights(model)
    with build(model, weights, symmetric(model)) as executable:
        assert executable.run(random_batch(model, 0, 0)).values.shape == (0,)


def test_an_earlier_prediction_is_not_overwritten():
    model = dlrm()
    _, weights = with_weights(model)
    with build(model, weights, symmetric(model)) as executable:
        first = executable.run(random_batch(model, 6, 1)).values
        before = first.copy()
        executable.run(random_batch(model, 6, 2))
        np.testing.assert_array_equal(first, before)


def test_what_is_missing_is_named():
    model = dlrm()
    _, weights = with_weights(model)
    given = random_batch(model, 6, 1)
    with build(model, weights, symmetric(model)) as executable:
        for dense in (None, np.zeros((6, 3), np.float32), np.zeros((5, DENSE), np.float32)):
            with pytest.raises(InputError, match=r"dense inputs are .*wanted \[6, 4\]"):
                executable.run(Batch(given.sparse, dense))
    short = {name: array for name, array in weights.dense.items() if name != "top_l.1.bias"}
    with pytest.raises(InputError, match=r"'top_l\.1\.bias'"):
        build(model, Weights(weights.tables, short), symmetric(model))
    case = random_case(1)
    with (
        build(case.model, case.weights, alone(case.model)) as executable,
        pytest.raises(InputError, match="no dense part"),
    ):
        executable.run(Batch(case.ids))


@pytest.mark.parametrize("plan", [symmetric, owned, row_shards])
def test_eight_threads_at_once(plan):
    case = random_case(5, features=6, batch=150)
    parts = [random_case(5, features=6, batch=150)] * 8
    wrong: list[BaseException] = []
    with build(case.model, case.weights, plan(case.model)) as executable:
        wanted = executable.lookup(case.ids).pooled.copy()

        def call(ids: Jagged) -> None:
            try:
                for _ in range(60):
                    np.testing.assert_array_equal(executable.lookup(ids).pooled, wanted)
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=call, args=(part.ids,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        looked = executable.lookup(case.ids)
        agree(case, looked.pooled, looked.sequences)
    assert wrong == []


def test_predictions_from_several_threads():
    model = dlrm()
    module, weights = with_weights(model)
    wrong: list[float] = []
    with build(model, weights, symmetric(model)) as executable:

        def call(seed: int) -> None:
            for batch in (3, 64, 7, 20):
                given = random_batch(model, batch, seed)
                wanted = module.predict(given).numpy()
                wrong.append(float(np.abs(executable.run(given).values - wanted).max()))

        threads = [threading.Thread(target=call, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(wrong) == 32 and max(wrong) < 1e-5


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_looks_up_too():
    case = random_case(5, features=6, batch=150)
    with build(case.model, case.weights, symmetric(case.model)) as executable:
        wanted = executable.lookup(case.ids).pooled.copy()
        child = os.fork()
        if child == 0:
            try:
                same = all(np.array_equal(executable.lookup(case.ids).pooled, wanted) for _ in range(20))
                executable.close()
            finally:
                os._exit(0 if same else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        np.testing.assert_array_equal(executable.lookup(case.ids).pooled, wanted)


def test_a_dense_part_of_ones_own():
    case = random_case(9, features=3, batch=4)

    class Sum:
        def room(self, batch):
            return None

        def finish(self, batch, looked):
            return looked.pooled.sum(axis=1)

    with build(case.model, case.weights, alone(case.model), dense=Sum()) as executable:
        found = executable.run(Batch(case.ids)).values
        np.testing.assert_array_equal(found, executable.lookup(case.ids).pooled.sum(axis=1))


def test_an_exported_dense_part_needs_its_file():
    from recsmith.spec import Graph

    model = Model("g", (Table("t", 10, 4),), (Feature("f", "t"),), graph=Graph("dense.pt2"))
    with pytest.raises(FormatError, match=r"'g' refers to 'dense\.pt2'"):
        build(model, Weights({"t": np.zeros((10, 4), np.float32)}), alone(model))
