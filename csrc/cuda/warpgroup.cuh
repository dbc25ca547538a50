// Hopper's products of a warp group (sm_90a): 64 rows of codes times N rows of weights, both in shared memory and named by
// descriptors; sums arrive in registers when they are waited for.
#pragma once

#include "device.cuh"

// Rows of 128 bytes, eight of them a pattern of 1024 aligned bytes in which piece p of row r lies where piece p ^ r would: no two of
// a column share a bank. One such panel is 64 elements of 16 bits wide, or 128 of 8.
constexpr int panel_bytes = 128, pattern_bytes = 1024;
DEVICE int in_panel(int row, int byte) { return row * panel_bytes + (byte ^ row % 8 * 16); }

// Rows from `at` on, of a panel; `at` may be a multiple of 32 bytes beyond the start of a pattern, which names the columns of one product.
DEVICE u64 descriptor(const u8* at) {
  constexpr u64 swizzle_128 = 1;
  const u64 start = (window_address(at) & 0x3FFFF) >> 4, between_patterns = pattern_bytes >> 4;
  return start | between_patterns << 32 | swizzle_128 << 62;
}

#ifndef RECSMITH_EMULATED

// Names of 8, 16 ... 128 operands, and as many registers: four a tile of eight columns.
#define OPERANDS_10(t) "%" t "0, %" t "1, %" t "2, %" t "3, %" t "4, %" t "5, %" t "6, %" t "7, %" t "8, %" t "9"
#define OPERANDS_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define OPERANDS_16 OPERANDS_10("") ", %10, %11, %12, %13, %14, %15"
#define OPERANDS_32 OPERANDS_10("") ", " OPERANDS_10("1") ", " OPERANDS_10("2") ", %30, %31"
#define OPERANDS_60 OPERANDS_10("") ", " OPERANDS_10("1") ", " OPERANDS_10("2") ", " OPERANDS_10("3") ", " OPERANDS_10("4") ", " OPERANDS_10("5")
#define OPERANDS_64 OPERANDS_60 ", %60, %61, %62, %63"
#define OPERANDS_128                                                                                             \
  OPERANDS_60 ", " OPERANDS_10("6") ", " OPERANDS_10("7") ", " OPERANDS_10("8") ", " OPERANDS_10("9") ", "        \
  OPERANDS_10("10") ", " OPERANDS_10("11") ", %120, %121, %122, %123, %124, %125, %126, %127"
#define TILES_1(i) "+f"(c[From + i][0]), "+f"(c[From + i][1]), "+f"(c[From + i][2]), "+f"(c[From + i][3])
#define TILES_2(i) TILES_1(i), TILES_1(i + 1)
#define TILES_4(i) TILES_2(i), TILES_2(i + 2)
#define TILES_8(i) TILES_4(i), TILES_4(i + 4)
#define TILES_16(i) TILES_8(i), TILES_8(i + 8)
#define TILES_32(i) TILES_16(i), TILES_16(i + 16)

// c[From ..] = left right^T, or more by that with `add`: N columns, of 16 bfloat16 or with `Eighths` of 32 e4m3 numbers a row.
template <bool Eighths, int N, int From, int Tiles>
DEVICE void multiply_group(float (&c)[Tiles][4], u64 left, u64 right, bool add) {
#define MULTIPLY(columns, registers, tiles, from, to, how)                                                     \
  if constexpr (N == columns && !Eighths) {                                                                    \
    asm volatile("{.reg .pred p; setp.ne.b32 p, %" how ", 0;"                                                  \
                 "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" OPERANDS_##registers "}, " \
                 "%" from ", %" to ", p, 1, 1, 0, 0;}"                                                         \
                 : TILES_##tiles(0) : "l"(left), "l"(right), "r"((int)add));                                   \
  }                                                                                                            \
  if constexpr (N == columns && Eighths) {                                                                     \
    asm volatile("{.reg .pred p; setp.ne.b32 p, %" how ", 0;"                                                  \
                 "wgmma.mma_async.sync.aligned.m64n" #columns "k32.f32.e4m3.e4m3 {" OPERANDS_##registers "}, " \
                 "%" from ", %" to ", p, 1, 1;}"                                                               \
                 : TILES_##tiles(0) : "l"(left), "l"(right), "r"((int)add));                                   \
  }
  MULTIPLY(16, 8, 2, "8", "9", "10")
  MULTIPLY(32, 16, 4, "16", "17", "18")
  MULTIPLY(64, 32, 8, "32", "33", "34")
  MULTIPLY(128, 64, 16, "64", "65", "66")
  MULTIPLY(256, 128, 32, "128", "129", "130")
#undef MULTIPLY
}

// What ordinary stores and copies of this thread wrote to shared memory becomes visible to products that begin behind a barrier.
DEVICE void show_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
DEVICE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void mark_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// All products that were marked: their sums are there, and what they read may be written to.
template <int Tiles>
DEVICE void wait_products(float (&c)[Tiles][4]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  // Nothing is read of the sums before that.
  UNROLL
  for (int n = 0; n < Tiles; ++n) {
    UNROLL
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(c[n][i])::"memory");
  }
}

#endif

// All columns: the most at a time.
template <bool Eighths, int From, int Tiles>
DEVICE void multiply_rows(float (&c)[Tiles][4], u64 left, const u8* right, bool add) {
  constexpr int most = Tiles - From >= 32 ? 32 : Tiles - From >= 16 ? 16 : Tiles - From >= 8 ? 8 : Tiles - From >= 4 ? 4 : 2;
  multiply_group<Eighths, most * 8, From>(c, left, descriptor(right), add);
  if constexpr (From + most < Tiles) multiply_rows<Eighths, From + most>(c, left, right + most * 8 * panel_bytes, add);
}
