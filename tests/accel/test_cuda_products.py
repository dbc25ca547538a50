"""Products of warp groups are tried where there are some, apart, and taken where they are right and faster."""

import dataclasses
import json

import pytest
from emulated import device
from msgspec.structs import replace
from test_cuda_calibration import NEAR, SMALL, here
from test_cuda_computed import HOT, bind, cached, drawn, finished, mixed, near, ways
from test_cuda_executor import PLATFORM
from test_emulator import plant

from recsmith.calibration.cuda import measure, products
from recsmith.calibration.cuda.products import Tried, chosen, main, tried, tried_apart
from recsmith.executor.cuda import computed
from recsmith.reference import lookup
from recsmith.spec import UnavailableError

# One decoder for blocks of 128 rows, one whose sums two warp groups must share.
FEW = dataclasses.replace(SMALL, decoders=((64, 32, 8), (64, 272, 8)), features=1, batch=40)


@pytest.fixture(autouse=True)
def _timed_once(monkeypatch):
    monkeypatch.setattr(products, "_ROUNDS", 1)


def test_they_are_taken_where_they_are_right_and_faster():
    same = Tried((64, 8), "bf16", 128, 0.001, mma_s=1.0, wgmma_s=0.9)
    others = (replace(same, rows=64, wgmma_s=0.98), replace(same, off=0.1), replace(same, off=None))
    eighths = replace(same, operand="fp8", off=0.1)
    assert chosen((same, others[0], eighths)) == ("wgmma:bf16:128", "wgmma:fp8:128")
    for wrong in others[1:]:
        assert chosen((same, wrong, eighths)) == chosen((wrong, same, eighths)) == ("wgmma:fp8:128",)
    assert same.note.endswith("the same rows: wgmma is chosen.")
    assert "rows off by 0.1 of the largest element: mma.sync is chosen." in others[1].note
    assert "no numbers: mma.sync is chosen." in others[2].note


def test_both_make_the_same_rows_in_either_form():
    found = tried(device(), FEW)
    assert [(one.operand, one.rows) for one in found] == [("bf16", 128), ("fp8", 128), ("bf16", 64), ("fp8", 64)]
    assert all(one.same and one.off > 0 and one.mma_s > 0 and one.wgmma_s > 0 for one in found)


def test_a_measured_profile_says_what_is_chosen(monkeypatch):
    monkeypatch.setattr(products, "FASTER", 1e9)
    options = {"device": device(), "row_bytes": (64,), "footprints": NEAR, "budget_s": 0.0}
    found = measure(replace(here(), capabilities=("wgmma:bf16:32",)), sizes=FEW, **options)
    assert [each for each in found.capabilities if "wgmma" in each] == [
        f"wgmma:{operand}:{rows}" for rows in (128, 64) for operand in ("bf16", "fp8")
    ]
    assert [note for note in found.notes if "64-272-8" in note and "wgmma is chosen" in note]
    plant(monkeypatch, "warpgroup.cuh", "swizzle_128 = 1", "swizzle_128 = 2")
    found = measure(here(), sizes=dataclasses.replace(FEW, decoders=FEW.decoders[1:]), **options)
    assert not [each for each in found.capabilities if "wgmma" in each]
    assert [note for note in found.notes if "64-272-8" in note and "mma.sync is chosen" in note]


def test_what_fails_apart_is_a_reason(monkeypatch, capsys):
    assert tried_apart(0.01) == ((), "it did not end in 0.01 s")
    monkeypatch.setenv("RECSMITH_CUDA_DRIVER", "/nowhere/libcuda.so")
    found, reason = tried_apart()
    assert found == () and "NVIDIA's driver could not be loaded" in reason
    monkeypatch.setattr(products, "Device", device)
    monkeypatch.setattr(products, "Sizes", lambda: FEW)
    main()
    assert [one["rows"] for one in json.loads(capsys.readouterr().out)] == [128, 128, 64, 64]


@pytest.mark.parametrize("capabilities", [(), ("wgmma:bf16:64", "wgmma:fp8:128"), ("wgmma:bf16:128",)])
def test_an_executable_multiplies_as_its_platform_says(capabilities, monkeypatch):
    """Rows of hot ids, which are finished when it is bound, and the others."""
    used, decode = [], computed.decode
    monkeypatch.setattr(computed, "decode", lambda *a, **more: (used.append(more["products"]), decode(*a, **more))[1])
    model, weights = mixed()
    stored, rows = finished(model, weights)
    ids = drawn(model, 17, one_hot=True)
    platform = replace(PLATFORM, capabilities=(*PLATFORM.capabilities, *capabilities))
    with bind(model, weights, cached(), profile=HOT, platform=platform) as engine:
        near(engine.lookup(ids).pooled, lookup(stored, rows, ids)[0])
    assert set(used) == ({"wgmma"} if capabilities == ("wgmma:bf16:128",) else {"mma"})


def test_fp8_is_computed_where_the_platform_says_so_alone():
    model, weights = mixed()
    stored, rows = finished(model, weights, "fp8")
    ids, serving = drawn(model, 17, one_hot=True), ways(model, precision="fp8")
    platform = replace(PLATFORM, capabilities=(*PLATFORM.capabilities, "wgmma:fp8:128"))
    with bind(model, weights, serving, platform=platform) as engine:
        near(engine.lookup(ids).pooled, lookup(stored, rows, ids)[0], "fp8")
    with pytest.raises(UnavailableError, match="in fp8, by products that were not found right and faster"):
        bind(model, weights, serving)
