"""A workload's DLRM is the published one, and whole-model rivals agree with us."""

import numpy as np
import pytest
from msgspec.structs import replace

from recsmith import api
from recsmith.bench import dlrm, first_layer, layer_engines, lookup, model, prediction, process
from recsmith.bench.engine import NoSettings
from recsmith.bench.options import LookupOptions
from recsmith.calibration import folding
from recsmith.data import shapes, synthetic
from recsmith.reference import forward
from recsmith.reference import lookup as oracle
from recsmith.spec import InputError, Interaction, RecsmithError, Uniform, UnknownNameError, Weights
from recsmith.testing.machines import cached_machine


def test_kaggle_has_the_published_widths():
    made = dlrm.dlrm(shapes.shape("criteo_kaggle"))
    assert made.bottom.widths == (13, 512, 256, 64, 16)
    assert made.top.widths == (367, 512, 256, 1)
    assert made.interaction == Interaction("dot") and made.dense_inputs == 13


def test_terabyte_and_concatenating_widths():
    assert dlrm.dlrm(shapes.shape("criteo_terabyte_10M")).top.widths[0] == 415
    assert dlrm.dlrm(shapes.shape("deeprecsys_rm3")).top.widths[0] == 32 + 10 * 32


def test_mixed_dims_are_concatenated_and_dcn_is_refused():
    assert dlrm.dlrm(shapes.shape("taobao_ad")).interaction.kind == "cat"
    with pytest.raises(InputError, match="dcn_v2"):
        dlrm.dlrm(shapes.shape("mlperf_dlrm_v2"))


@pytest.mark.parametrize("name", ["avazu", "criteo_kaggle", "kuairec_big", "taobao_ad"])
def test_every_width_fits_the_next(name):
    shape = shapes.shape(name, max_bytes=200_000)
    made = dlrm.dlrm(shape)
    rng = np.random.default_rng(0)
    tables = {t.name: rng.standard_normal((t.rows, t.dim)).astype(np.float32) for t in made.tables}
    weights = Weights(tables, dlrm.parameters(made))
    (ids,) = synthetic.batches(made, shape.workload(3, Uniform()), 1)
    pooled, _ = oracle(made, weights, ids)
    out = forward(made, weights, rng.random((3, made.dense_inputs)), pooled)
    assert out.shape == (3,) and np.all((out > 0) & (out < 1))


def test_an_unknown_rival_is_refused():
    with pytest.raises(UnknownNameError, match="torch"):
        model.run_model_bench(model.ModelOptions("criteo_kaggle", against=("keras",)))


@pytest.mark.slow
def test_whole_models_are_compared():
    pytest.importorskip("torch")
    options = model.ModelOptions(
        "criteo_kaggle", (1, 33), max_bytes=100_000, planner="symmetric", against=("torch",), rounds=3, seconds=0.02
    )
    record = model.run_model_bench(options)
    assert not record.missing and {each.batch for each in record.ratios} == {1, 33}
    assert {(case.engine, case.batch) for case in record.cases} == {
        (e, b) for e in ("recsmith", "torch") for b in (1, 33)
    }
    for case in record.cases:
        assert 0 < case.q1_s <= case.median_s <= case.q3_s <= case.p90_s <= case.p99_s <= case.p999_s
    assert model.ModelRecord.from_json(record.to_json()) == record


def test_a_model_that_folds_is_timed_beside_itself(monkeypatch):
    monkeypatch.setattr(folding, "trial", lambda *_: folding.Trial(2e-3, 1e-3, faster=True))
    options = model.ModelOptions(
        "criteo_kaggle", (8,), dim=4, max_bytes=400_000, pages="4k", against=("torch",), rounds=2, seconds=0.05,
        interaction="cat", fold_bytes=3_000_000,
    )  # fmt: skip
    record = model.run_model_bench(options)
    settings = {case.engine: case.settings for case in record.cases}
    assert set(settings) == {"recsmith", "recsmith[unfolded]", "torch"} and record.interaction == "cat"
    assert "features folded in" in settings["recsmith"] and "folded" not in settings["recsmith[unfolded]"]
    assert [each.best_peer for each in record.ratios] == ["torch"]


@pytest.mark.slow
@pytest.mark.parametrize("ids", ["uniform", "zipf:1.05"])
def test_a_lookup_benchmark_is_complete(ids):
    options = LookupOptions(
        "taobao_ad", 8, ids=ids, max_bytes=1_000_000, pages="4k", planner="symmetric",
        against=("numba", "onnxruntime"), rounds=3, sample_s=2e-4,
    )  # fmt: skip
    record = lookup.run_lookup_bench(options)
    ours = [case for case in record.cases if case.engine == "recsmith"]
    assert len(ours) == 1 and record.case.row_cap > 0 and record.case.bytes_moved > 0
    ran = {case.engine for case in record.cases if not case.engine.startswith("recsmith")}
    assert ran | {each.engine for each in record.missing} == {"numba", "onnxruntime"}
    if ran:
        best = min((case for case in record.cases if case.engine in ran), key=lambda case: case.median_s)
        assert record.best_peer == best.engine
        assert record.ratio_to_best_peer == pytest.approx(best.median_s / ours[0].median_s)
    assert record.bound_s == max(record.bound.read_s, record.bound.write_s) > 0
    assert record.share_of_bound == pytest.approx(record.bound_s / ours[0].median_s)
    # Every sample may be taken twelve times, and the pool lasts for two.
    assert 3 * len(record.cases) <= record.cache.batches_used <= 6 * record.cache.pool_batches
    assert type(record).from_json(record.to_json()) == record


@pytest.mark.slow
def test_every_case_of_a_grid_is_predicted_and_measured():
    options = prediction.PredictionOptions(
        ("tenrec_qb_article_guess",), ("uniform", "fixed"), (64,), threads=1, rounds=3, sample_s=2e-4, rest_s=0.0
    )
    machine = api.platform("cpu")
    record = prediction.run_prediction_bench(options, machine, lambda platform: platform, stored=machine)
    assert [(case.ids, case.batch) for case in record.cases] == [("uniform", 64), ("fixed", 64)]
    for case in record.cases:
        assert [each.planner for each in case.planners] == ["auto", "symmetric"]
        for each in case.planners:
            assert each.predicted_s > 0 and each.error == pytest.approx(each.predicted_s / each.measured_s - 1)
            assert each.stored_error == pytest.approx(each.error)
        assert not case.asymmetric
        if case.same_plan:
            assert case.auto_over_symmetric == 1 and case.planners[0].measured_s == case.planners[1].measured_s
    assert record.stored_median_abs_error == pytest.approx(record.median_abs_error)
    assert record.median_abs_error <= record.p95_abs_error == pytest.approx(record.stored_p95_abs_error)
    assert record.drift.median_ratio == 1
    assert type(record).from_json(record.to_json()) == record


@pytest.mark.parametrize("rounds", [1, 2, 3, 15, 16])
def test_all_rounds_are_taken_in_spells_with_rests_between(monkeypatch, rounds):
    rests, taken = [], {"a": 0, "b": 0}

    def sampler(name):
        def sample():
            taken[name] += 1
            return float(taken[name])

        return sample

    monkeypatch.setattr(prediction.time, "sleep", lambda seconds: rests.append((seconds, taken["a"])))
    options = prediction.PredictionOptions(rounds=rounds, threads=1, rest_s=7.0)
    with process.Pins(1) as pins:
        found = prediction._in_spells({(0, "a"): sampler("a"), (0, "b"): sampler("b")}, options, pins)
    assert found == {(0, name): [float(at + 1) for at in range(rounds)] for name in "ab"}
    assert rests == [(0.0, 0), (7.0, rounds // 3), (7.0, 2 * rounds // 3)]


def test_drift_names_the_curve_that_changed_most():
    before = cached_machine()
    memory = before.memories[0]
    changed = (replace(memory.curves[0], seconds=memory.curves[0].seconds * 3), *memory.curves[1:])
    after = replace(before, memories=(replace(memory, curves=changed), *before.memories[1:]))
    found = prediction.drift(before, after)
    assert found.curves == sum(len(each.curves) for each in before.memories)
    assert found.median_ratio == 1 and memory.id in found.worst and "3.00" in found.worst


@pytest.mark.slow
def test_a_rival_that_is_wrong_or_missing_is_not_timed(monkeypatch):
    class Wrong(NoSettings):
        name, version, settings, op_based = "wrong", "0", "", True

        def __init__(self, setup):
            self.shape = (setup.batch, setup.model.width)

        def prepare(self, ids):
            return ids

        def call(self, prepared):
            return np.zeros(self.shape, np.float32)

        def output(self, result):
            return result

        def close(self):
            pass

    class Menu(dict):
        def names(self):
            return tuple(self)

    def fails(setup):
        raise OSError("libfoo.so: cannot open")

    monkeypatch.setattr(lookup, "PEERS", Menu(odd=(Wrong, fails)))
    options = LookupOptions(
        "kuairec_big", 4, pages="4k", planner="symmetric", against=("odd",), rounds=2, sample_s=1e-4
    )
    record = lookup.run_lookup_bench(options)
    reasons = {each.engine: each.reason for each in record.missing}
    assert "off by" in reasons["wrong"] and "libfoo" in reasons["odd"]
    assert record.best_peer is None and record.ratio_to_best_peer is None


@pytest.mark.parametrize("wrong", [{"against": ("torhc",)}, {"platform": "nowhere.json"}])
def test_what_is_cheap_to_refuse_is_refused_before_tables_are_filled(monkeypatch, wrong):
    monkeypatch.setattr(lookup, "SharedTables", lambda *_: pytest.fail("tables were filled"))
    with pytest.raises(RecsmithError, match=r"torhc|nowhere"):
        lookup.run_lookup_bench(LookupOptions("criteo_kaggle", 4, **wrong))


def test_a_first_layer_is_timed_folded_and_not():
    options = LookupOptions(
        "criteo_kaggle", 8, 4, max_bytes=400_000, pages="4k", against=("torch",), rounds=2, sample_s=1e-4
    )
    record = first_layer.run_layer_bench(options, 3_000_000)
    times = {case.engine: case.median_s for case in record.cases}
    assert {"recsmith", "recsmith[unfolded]", "torch+linear", "torch+onednn"} <= set(times)
    assert record.outputs == 512 and record.case.fuse == "cat"
    assert record.folded_bytes <= 3_000_000 and (record.folded_bytes > 0) == (len(record.folded) > 0)
    assert record.ratio_to_best_peer == pytest.approx(times[record.best_peer] / times["recsmith"])
    assert record.ratio_to_torch >= record.ratio_to_best_peer and "onednn" not in record.best_torch
    assert record.ratio_to_unfolded == pytest.approx(times["recsmith[unfolded]"] / times["recsmith"])
    assert "0" in record.rehearsed_s
    assert min(record.rehearsed_s, key=record.rehearsed_s.get) == str(len(record.folded))
    assert type(record).from_json(record.to_json()) == record


def test_a_rival_that_is_wrong_about_the_first_layer_takes_no_part(monkeypatch):
    def wrong(peer, makers, weight, bias):
        return layer_engines.engines(peer, makers, weight, bias + 1)

    monkeypatch.setattr(first_layer, "engines", wrong)
    options = LookupOptions(
        "criteo_kaggle", 4, 4, max_bytes=400_000, pages="4k", against=("torch",), rounds=2, sample_s=1e-4
    )
    record = first_layer.run_layer_bench(options, 1_000_000)
    assert record.best_peer is None and any("off by" in each.reason for each in record.missing)
