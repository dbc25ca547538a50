"""Tables kept in shared memory, and those streamed through it, run by the emulator, give what the oracle gives."""

import itertools

import numpy as np
import pytest
from batches import ELEMENT, UNTOUCHED, Placed, vectors_of
from emulated import device
from test_lookup import DTYPES, outside, recipes_of, run

from recsmith.kernels.cuda.adding import Partial, Summed, added, listed
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


def together(blocks, kept, spread=(1, 2, 4, 8)):
    """Blocks that keep `kept` of every table's rows, feature after feature by as many neighbours as `spread` says in
    turns. All of them serve samples but the last."""

    def make(placed, vectors, ids, recipes=()):
        def segment(at, block):
            rows, cut = vectors[at].rows.rows, [ids.batch * b // (blocks - 1) for b in range(blocks)]
            share = min(spread[at % len(spread)], blocks)
            mine = (cut[block], cut[block + 1]) if block + 1 < blocks else (0, 0)
            return Segment(at, *mine, {"all": rows, "hot": (rows + 1) // 2}[kept], share)

        plan = owners(vectors, [[segment(at, b) for at in range(len(vectors))] for b in range(blocks)])
        assert plan.cluster == min(max(spread), blocks)
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


CLUSTERS = {
    "kept by four": together(4, "all", (4,)),
    "hot rows by four": together(4, "hot", (4,)),
    "kept by eight, one, two, four": together(8, "all", (8, 1, 2, 4)),
    "hot rows by eight, one, two, four": together(8, "hot", (8, 1, 2, 4)),
}


IN_CLUSTERS = ("ONE_HOT", "EMPTY_BAG", "LAST_ROW", "ONE_ROW", "ODD_DIM", "LONG_BAG_TINY_TABLE", "MEAN", "PADDING_MEAN")


def test_corner_cases_in_clusters():
    """Those in which it matters where a row is; the others are other kernels' too."""
    gpu = device()
    cases = [case for case in corner_cases("int8") if case.name in IN_CLUSTERS]
    assert len(cases) == len(IN_CLUSTERS)
    shared = recipes_of(cases, gpu, aligned=True)
    for way in ("kept by four", "hot rows by four"):
        for case in cases:
            made = lambda placed, vectors, ids, way=way: CLUSTERS[way](placed, vectors, ids, shared)  # noqa: E731
            agree(case, *run(case, gpu, make=made, aligned=True)[:2])


@pytest.mark.parametrize("way", ["kept by eight, one, two, four", "hot rows by eight, one, two, four"])
def test_random_models_in_clusters(way):
    for case in small(pooled_only(random_case(seed, features=2) for seed in range(12)))[:2]:
        agree(case, *run(case, device(), make=CLUSTERS[way], aligned=True, bag=30.0)[:2])


def test_rows_come_from_the_neighbours():
    """What block 2 of four keeps is a copy of zeros: it shows in sums of rows 2, 6, 10 ... below 20, whoever asks."""
    case = single("NEIGHBOURS", [[1, 40], [2], [49], [6, 18, 19, 22], [3]], dim=8)

    def poisoned(placed, vectors, ids):
        plan = owners(vectors, [[Segment(0, at, at + 1, 20, 4)] for at in range(4)] + [[Segment(0, 4, 5)]])
        words = bytearray(plan.words)
        assert len(words) == 4 * 32 + 5 * 48 + 18 * 4, "four copies, five segments, firsts of eight blocks"
        words[64:72] = int(placed.put(np.zeros(5 * 32 * 4, np.uint8))).to_bytes(8, "little")
        return resident(vectors, ids, plan, placed.put(np.frombuffer(bytes(words), np.uint8)), tuning=TUNING)

    wanted = single("NEIGHBOURS", [[1, 40], [2], [49], [6, 18, 19, 22], [3]], dim=8)
    wanted.weights.tables["t"][2:20:4] = 0
    agree(wanted, *run(case, device(), make=poisoned, aligned=True)[:2])


def test_blocks_that_keep_rows_together_all_say_so():
    case = single("TOGETHER", [[1], [2]])
    for segments, problem in (
        ([[Segment(0, 0, 2, 50, 2)], []], "2 neighbouring blocks do not name the same rows"),
        ([[], [Segment(0, 0, 2, 50, 2)]], "2 neighbouring blocks do not name the same rows"),
        ([[Segment(0, 0, 2, 50, 3)]] * 3, "3 blocks cannot keep rows together"),
    ):
        with pytest.raises(InputError, match=problem):
            run(case, device(), make=lambda placed, vectors, ids, own=segments: owners(vectors, own), aligned=True)
    split = single("SPLIT", [[1], [2]], dim=7)
    with pytest.raises(InputError, match="rows that several blocks keep lie 28 bytes apart"):
        run(split, device(), make=lambda placed, vectors, ids: owners(vectors, [[Segment(0, 0, 2, 50, 2)]] * 2))


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


def test_partial_sums_are_added_in_the_order_in_which_they_are_listed():
    """1 is lost beside 1e8, but not once that is gone; samples that a part does not have are not read from it."""
    gpu, case = device(), single("ADDED", [[1], [2], [3]], dim=40)
    parts = {value: np.full((3, 40), value, np.float32) for value in (1e8, 1.0, -1e8)}
    parts[0.5] = np.full((3, 40), np.nan, np.float32)
    parts[0.5][1:2] = 0.5
    for output in ("fp32", "fp16"):
        for order in itertools.permutations(parts):
            placed = Placed(gpu, case)
            out = placed.room(3 * 80 * 4)
            one = vectors_of(placed, case.model.features[0], 0, out, 80 * 4)
            spans = [(1, 2) if value == 0.5 else (0, 3) for value in order]
            partials = tuple(Partial(placed.put(parts[at]), *span) for at, span in zip(order, spans, strict=True))
            sums = [Summed(one, partials)]
            gpu.run(added(sums, placed.ids(), placed.put(np.frombuffer(listed(sums), np.uint8)), output))
            found = gpu.fetch(out, (3, 80 * 4 // ELEMENT[output]().nbytes), ELEMENT[output])[:, :40]
            for sample in range(3):
                wanted = np.float32(0)
                for value in order:
                    wanted += np.float32(value) if value != 0.5 or sample == 1 else np.float32(0)
                assert (found[sample] == wanted.astype(ELEMENT[output])).all(), (order, sample)
