"""Tables kept in shared memory, and those streamed through it, run by the emulator, give what the oracle gives."""

import numpy as np
import pytest
from batches import UNTOUCHED
from emulated import device
from test_lookup import DTYPES, outside, recipes_of, run

from recsmith.kernels.cuda.gathering import GatherTuning
from recsmith.kernels.cuda.resident import Segment, owners, resident
from recsmith.kernels.cuda.streamed import streamed
from recsmith.spec import CapacityError, InputError
from recsmith.testing.cases import corner_cases, random_case, single
from recsmith.testing.conformance import agree

TUNING = GatherTuning(threads=128, min_blocks=1)


def pooled_only(cases):
    """Those whose features all make one vector a bag."""
    return [case for case in cases if all(feature.pooling != "none" for feature in case.model.features)]


def small(cases):
    """Those whose rows fit the emulated shared memory."""
    return [case for case in cases if case.model.nbytes < 100_000]


def shared_out(kept, blocks=3):
    """A launch in which every block serves a run of each feature's samples, `kept` of its rows from shared memory."""

    def make(placed, vectors, ids, recipes=()):
        def segment(at, block):
            rows = vectors[at].rows.rows
            cut = [ids.batch * b // blocks for b in range(blocks + 1)]
            return Segment(at, cut[block], cut[block + 1], {"all": rows, "hot": (rows + 1) // 2, "none": 0}[kept])

        plan = owners(vectors, [[segment(at, b) for at in range(len(vectors))] for b in range(blocks)])
        words = placed.put(np.frombuffer(plan.words, np.uint8))
        return resident(vectors, ids, plan, words, tuning=TUNING, recipes=recipes)

    return make


def chunks(chunk_bytes):
    def make(placed, vectors, ids, recipes=()):
        return streamed(vectors, ids, tuning=TUNING, recipes=recipes, chunk_bytes=chunk_bytes)

    return make


WAYS = {
    "kept": shared_out("all"),
    "hot": shared_out("hot"),
    "neither": shared_out("none"),
    "chunks": chunks(2048),
    "one chunk": chunks(1 << 16),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_corner_cases(dtype):
    gpu = device()
    cases = small(pooled_only(corner_cases(dtype)))
    assert len(cases) > 20
    shared = recipes_of(cases, gpu)
    for name, make in WAYS.items():
        for case in cases:
            if name == "one chunk" and case.name != "CHUNKED_TABLE":
                continue
            made = lambda placed, vectors, ids, make=make: make(placed, vectors, ids, shared)  # noqa: E731
            agree(case, *run(case, gpu, make=made)[:2])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bag", [1.0, 30.0])
def test_random_models(way, bag):
    for case in small(pooled_only(random_case(seed, features=2) for seed in range(12)))[:3]:
        agree(case, *run(case, device(), make=WAYS[way], bag=bag)[:2])


@pytest.mark.parametrize("way", WAYS)
def test_an_id_outside_its_table_is_noted_once(way):
    wanted = single("OUTSIDE", [[3], [], [7], [4]])
    pooled, sequences, faults = run(outside(out_of_range="error"), device(), make=WAYS[way])
    agree(wanted, pooled, sequences)
    assert faults.tolist() == [0, 0]
    wanted = single("OUTSIDE", [[0, 3], [49], [49, 7], [4]])
    pooled, sequences, faults = run(outside(out_of_range="clamp"), device(), make=WAYS[way])
    agree(wanted, pooled, sequences)
    assert faults.tolist() == [UNTOUCHED, 3]


def test_hot_rows_come_from_shared_memory():
    """What is kept is a copy of zeros, put in the table's place: they show in the sums of rows below 20."""
    case = single("HOT", [[1, 40], [2], [49]])

    def poisoned(placed, vectors, ids):
        plan = owners(vectors, [[Segment(0, 0, 3, 20)]])
        words = bytearray(plan.words)
        other = placed.put(np.zeros(20 * 64, np.uint8))
        words[:8] = int(other).to_bytes(8, "little")
        return resident(vectors, ids, plan, placed.put(np.frombuffer(bytes(words), np.uint8)), tuning=TUNING)

    wanted = single("HOT", [[1, 40], [2], [49]])
    wanted.weights.tables["t"][:20] = 0
    agree(wanted, *run(case, device(), make=poisoned)[:2])


def test_what_cannot_be_kept_is_refused():
    case = single("WIDE", [[1]], rows=2000, dim=64)
    with pytest.raises(CapacityError, match="Keep fewer rows a block"):
        run(case, device(), make=shared_out("all"))
    with pytest.raises(CapacityError, match="larger than a chunk"):
        run(case, device(), make=chunks(128))
    with pytest.raises(InputError, match="has no bags"):
        run(single("UNPOOLED", [[1]], pooling="none"), device(), make=chunks(4096))
    with pytest.raises(InputError, match="has no bags"):
        run(single("UNPOOLED", [[1]], pooling="none"), device(), make=shared_out("all"))
