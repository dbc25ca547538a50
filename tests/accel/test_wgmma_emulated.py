"""What the emulator sees of products of warp groups: descriptors, layouts, what is shown, waited for, kept apart."""

import ctypes

import numpy as np
import pytest
from emulated import build
from test_emulator import plant
from test_hashed import DIM, run
from test_wgmma import WIDE

from recsmith.kernels.cuda.driver import DriverError
from recsmith.reference import eighths


def found_with(order, monkeypatch):
    """Rows when threads run in an order of their own."""
    monkeypatch.setenv("RECSMITH_EMULATED_ORDER", order)
    return run(WIDE, DIM, [np.arange(40)], operand="bf16", products="wgmma", rows=128)[0]


def test_every_product_and_sum_is_that_of_mma(monkeypatch):
    """The emulator adds both up alike."""
    wanted = run(WIDE, DIM, [np.arange(40)], operand="bf16")[0]
    for order in ("0", "3", "4"):
        np.testing.assert_array_equal(found_with(order, monkeypatch), wanted)


# Text of a kernel, what to put in its place, and what is noticed: a fault that the emulator names, or wrong rows.
FAULTS = {
    "groups of eight rows nearer": ("warpgroup.cuh", "pattern_bytes >> 4;", "panel_bytes >> 4;", "rows"),
    "another swizzle": ("warpgroup.cuh", "swizzle_128 = 1", "swizzle_128 = 2", "rows"),
    "an address in bytes": (
        "warpgroup.cuh",
        "(window_address(at) & 0x3FFFF) >> 4",
        "window_address(at) & 0x3FFF",
        "reads",
    ),
    "patterns that do not begin at 1024 bytes": (
        "hashed_wgmma.cu",
        "return shared_memory() + (0u - window_address(shared_memory())) % pattern_bytes;",
        "return shared_memory();",
        "rows",
    ),
    "codes as they come": (
        "hashed_wgmma.cu",
        "in_panel(row, pair * 2 * element_bytes)",
        "row * panel_bytes + pair * 4",
        "rows",
    ),
    "sums that do not begin at zero": ("hashed_wgmma.cu", "at + k > 0", "true", "rows"),
    "stores that are not shown": ("hashed_wgmma.cu", "  show_to_products();\n", "", "what was not shown to it"),
    "sums that are not given over": (
        "hashed_wgmma.cu",
        "    begin_products();\n",
        "",
        "before its sums were given over",
    ),
    "products without a mark": ("hashed_wgmma.cu", "    mark_products();\n", "", "rows"),
    "no barrier": ("hashed_wgmma.cu", "  show_to_products();\n  sync_block();", "  show_to_products();", "rows"),
    "copies that are not waited for": ("hashed_wgmma.cu", "  copy_async_wait<0>();\n", "", "rows"),
    "a barrier before the wait": (
        "hashed_wgmma.cu",
        "    wait_products(c);\n    make_ready();",
        "    make_ready();\n    wait_products(c);",
        "was written to meanwhile",
    ),
    "the next codes over those that are multiplied": (
        "hashed_wgmma.cu",
        "u8* const to = base + at % 2 * code_bytes;",
        "u8* const to = base + (at + 1) % 2 * code_bytes;",
        "was not shown to it",
    ),
    "other weights for each warp": (
        "hashed_wgmma.cu",
        "group = thread_index() / 128;",
        "group = thread_index() / 32 % 2;",
        "multiply different matrices",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_kernel_is_noticed(fault, monkeypatch):
    file, right, wrong, noticed = FAULTS[fault]
    wanted = found_with("0", monkeypatch)
    plant(monkeypatch, file, right, wrong)
    if noticed == "rows":
        assert not np.allclose(found_with("5", monkeypatch), wanted, rtol=1e-3, atol=1e-3)
        return
    with pytest.raises(DriverError, match=noticed):
        found_with("5", monkeypatch)


def test_numbers_of_eight_bits_are_rounded_alike():
    """All codes, what lies between two of them and around it, and what is too large; by torch as well."""
    text = """extern "C" void round_all(const float* x, unsigned char* bits, float* back, int count) {
      for (int i = 0; i < count; ++i) bits[i] = to_eighths(x[i], 0), back[i] = eighth_value(to_eighths(0, x[i]) >> 8);
    }"""
    codes = eighths.decoded(np.arange(127, dtype=np.uint8)).astype(np.float32)
    middle = (codes[1:] + codes[:-1]) / 2
    beside = [np.nextafter(middle, np.float32(at)) for at in (0, 1e9)]
    x = np.concatenate([codes, middle, *beside, np.float32([1e-9, 464, 500, 1e30])])
    x = np.concatenate([x, -x])
    bits, back = np.zeros(len(x), np.uint8), np.zeros(len(x), np.float32)
    library = ctypes.CDLL(str(build(text, "round_all", kernel=True)))
    library.round_all(*(ctypes.c_void_p(a.ctypes.data) for a in (x, bits, back)), len(x))
    np.testing.assert_array_equal(bits, eighths.encoded(x))
    np.testing.assert_array_equal(back, eighths.decoded(bits))
    torch = pytest.importorskip("torch")
    theirs = torch.from_numpy(x).clamp(-448, 448).to(torch.float8_e4m3fn)
    np.testing.assert_array_equal(theirs.view(torch.uint8).numpy(), bits)


def test_descriptors_are_read_as_the_ptx_manual_says():
    """Worked by hand: element [row, k] of 16-bit numbers, rows in the direction of k."""
    text = (
        """extern "C" unsigned window(u64 descriptor, u32 row, u32 k) { return window_of(descriptor, row, 2 * k); }"""
    )
    window = ctypes.CDLL(str(build(text, "window", kernel=True))).window
    window.argtypes = (ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint32)

    def at(swizzle, row, k, *, start=4096, leading=0, stride=1024):
        return window(start >> 4 | leading >> 4 << 16 | stride >> 4 << 32 | swizzle << 62, row, k) - 4096

    # 128 bytes: piece p of row r is where p ^ r would be, also from 32 bytes further on.
    assert [at(1, r, 0) for r in (0, 1, 7, 8)] == [0, 128 + 16, 7 * 128 + 112, 1024]
    assert [at(1, 3, k) for k in (1, 8, 15)] == [3 * 128 + 48 + 2, 3 * 128 + (16 ^ 48), 3 * 128 + (16 ^ 48) + 14]
    assert [at(1, r, 0, start=4096 + 32) for r in (0, 1, 2, 5)] == [32, 128 + 48, 256 + 0, 640 + 112]
    # 64 and 32 bytes: two and four rows to 128 bytes, which are crossed by where these lie.
    assert [at(2, r, 8, stride=512) for r in (0, 1, 2, 6, 8)] == [16, 64 + 16, 128 + 0, 384 + 32, 512 + 16]
    assert [at(3, r, 8, stride=256) for r in (0, 3, 4, 7, 8)] == [16, 96 + 16, 128 + 0, 224 + 0, 256 + 16]
    # None: blocks of eight rows of 16 bytes; the other eight columns are `leading` further on.
    assert [at(0, r, k, leading=128, stride=256) for r, k in ((0, 0), (1, 1), (0, 8), (9, 15))] == [0, 18, 128, 414]
