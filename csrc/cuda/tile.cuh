// Pairwise products of the vectors of one sample, by one warp: x x^T on tensor cores for 16-bit elements, on plain ones for 32.
#pragma once

#include "row.cuh"

DEVICE constexpr int up_to(int x, int multiple) { return (x + multiple - 1) / multiple * multiple; }
DEVICE constexpr int pairs_before(int row, bool self) { return self ? row * (row + 1) / 2 : row * (row - 1) / 2; }

// The vectors of a sample in shared memory, rows of Vectors x Dim elements, and the products before they go out.
// With `First` vector 0 goes out from here, too: it is stored as outputs are.
template <int Vectors, int Dim, int Operand, class Out, int Columns, bool Self, bool First>
struct Tile {
  static constexpr bool narrow = Operand != fp32;
  static constexpr int bytes = narrow ? 2 : 4;
  static constexpr int columns = up_to(Dim, narrow ? 16 : 4);
  static constexpr int rows = up_to(Vectors, narrow ? 16 : 1);
  // An odd number of 16-byte pieces, so that eight rows' pieces lie in different banks.
  static constexpr int stride = (columns * bytes / 16 | 1) * 16;
  static constexpr int pairs = pairs_before(Vectors, Self);
  static constexpr int products_bytes = up_to((Columns - Dim) * Out::bytes, 16);
  // Products may take the place of vectors that they were made of, unless what is behind a row must stay zero.
  static constexpr bool overlaid = columns == Dim && products_bytes <= (Vectors - 1) * stride;
  static constexpr int products_at = overlaid ? stride : rows * stride;
  static constexpr int size = rows * stride + (overlaid ? 0 : products_bytes);

  using Put = Output<Operand, 16, true>;

  u8* const base;

  DEVICE u8* row(int vector) const { return base + vector * stride; }

  // What is never written must be zero.
  DEVICE void clear(int lane) const {
    for (int at = lane * 16; at < size; at += 32 * 16) store_shared_raw(base + at, Raw<16>{{0, 0, 0, 0}});
  }

  DEVICE void product(int i, int j, float x) const {
    if (i >= Vectors || j > i || (!Self && j == i)) return;
    store_shared_raw(base + products_at + (pairs_before(i, Self) + j) * Out::bytes, Out::template packed<1>(&x));
  }

  // All products, out of registers and into shared memory.
  DEVICE void multiply(int lane) const {
    if constexpr (narrow) multiply_narrow(lane);
    else multiply_wide(lane);
    for (int at = pairs + lane; at < Columns - Dim; at += 32) {
      const float zero = 0.0f;
      store_shared_raw(base + products_at + at * Out::bytes, Out::template packed<1>(&zero));
    }
    sync_warp();
  }

  // Columns [Dim, Columns) of the sample's output, or all of them.
  DEVICE void write(u8* out, int lane) const {
    if constexpr (First) {
      constexpr int vector = at_most(Out::largest * Out::bytes, (Dim * bytes) & -(Dim * bytes));
      UNROLL
      for (int at = 0; at < Dim * bytes; at += 32 * vector) {
        const int own = at + lane * vector;
        if (own < Dim * bytes) Out::store(out + own, load_shared<vector>(base + own, true));
      }
    }
    constexpr int total = (Columns - Dim) * Out::bytes, whole = Out::largest * Out::bytes;
    constexpr int piece = at_most(whole, (Dim * Out::bytes) & -(Dim * Out::bytes));
    for (int at = lane * piece; at + piece <= total; at += 32 * piece) {
      Out::store(out + Dim * Out::bytes + at, load_shared<piece>(base + products_at + at, true));
    }
    for (int at = total / piece * piece + lane * Out::bytes; at < total; at += 32 * Out::bytes) {
      Out::store(out + Dim * Out::bytes + at, load_shared<Out::bytes>(base + products_at + at, true));
    }
    sync_warp();
  }

 private:
  static constexpr int row_blocks = rows / 16;
  // Blocks of 8 columns that hold products wanted in rows below 16 (m + 1).
  static DEVICE constexpr int column_blocks(int m) { return at_most(2 * m + 2, (Vectors + 7) / 8); }

  DEVICE void multiply_narrow(int lane) const {
    float c[row_blocks][2 * row_blocks][4];
    UNROLL
    for (int m = 0; m < row_blocks; ++m) {
      UNROLL
      for (int n = 0; n < column_blocks(m); ++n) {
        UNROLL
        for (int i = 0; i < 4; ++i) c[m][n][i] = 0.0f;
      }
      const u8* const a_row = row(m * 16 + lane % 16) + lane / 16 * 16;
      const u8* const b_row = row(lane % 8 + lane / 16 * 8) + lane / 8 % 2 * 16;
      UNROLL
      for (int k = 0; k < columns / 16; ++k) {
        u32 a[4];
        load_matrices(a, a_row + k * 32);
        UNROLL
        for (int n = 0; n < column_blocks(m); n += 2) {
          u32 b[4];
          load_matrices(b, b_row + n * 8 * stride + k * 32);
          add_product(c[m][n], a, b[0], b[1]);
          if (n + 1 < column_blocks(m)) add_product(c[m][n + 1], a, b[2], b[3]);
        }
      }
    }
    sync_warp();
    UNROLL
    for (int m = 0; m < row_blocks; ++m) {
      UNROLL
      for (int n = 0; n < column_blocks(m); ++n) {
        UNROLL
        for (int i = 0; i < 4; ++i) product(m * 16 + lane / 4 + i / 2 * 8, n * 8 + lane % 4 * 2 + i % 2, c[m][n][i]);
      }
    }
  }

  static DEVICE void add_product(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    if constexpr (Operand == fp16) multiply_halves(c, a, b0, b1);
    else multiply_bfloats(c, a, b0, b1);
  }

  // Blocks of 3 x 3 products, one a lane at a time.
  static constexpr int edge = 3, blocks = (Vectors + edge - 1) / edge, all_blocks = blocks * (blocks + 1) / 2;

  DEVICE void multiply_wide(int lane) const {
    constexpr int turns = (all_blocks + 31) / 32;
    float c[turns][edge][edge];
    UNROLL
    for (int turn = 0; turn < turns; ++turn) {
      int i, j;
      block_of(turn * 32 + lane, i, j);
      multiply_block(c[turn], i * edge, j * edge);
    }
    sync_warp();
    UNROLL
    for (int turn = 0; turn < turns; ++turn) {
      int i, j;
      block_of(turn * 32 + lane, i, j);
      UNROLL
      for (int r = 0; r < edge; ++r) {
        UNROLL
        for (int s = 0; s < edge; ++s) {
          if (turn * 32 + lane < all_blocks) product(i * edge + r, j * edge + s, c[turn][r][s]);
        }
      }
    }
  }

  // Row and column of the block of products that is `at` in order of rows; the last one for those behind it.
  static DEVICE void block_of(int at, int& i, int& j) {
    at = at < all_blocks ? at : all_blocks - 1;
    i = 0;
    for (int next = 1; next < blocks; ++next) i += at >= next * (next + 1) / 2 ? 1 : 0;
    j = at - i * (i + 1) / 2;
  }

  DEVICE void multiply_block(float (&c)[edge][edge], int i, int j) const {
    UNROLL
    for (int r = 0; r < edge; ++r) {
      UNROLL
      for (int s = 0; s < edge; ++s) c[r][s] = 0.0f;
    }
    for (int k = 0; k < columns; k += 4) {
      Raw<16> x[edge], y[edge];
      UNROLL
      for (int r = 0; r < edge; ++r) {
        x[r] = load_shared<16>(row(at_most(i + r, Vectors - 1)) + k * 4, true);
        y[r] = load_shared<16>(row(at_most(j + r, Vectors - 1)) + k * 4, true);
      }
      UNROLL
      for (int r = 0; r < edge; ++r) {
        UNROLL
        for (int s = 0; s < edge; ++s) {
          UNROLL
          for (int e = 0; e < 4; ++e) c[r][s] = multiply_add(as_float(x[r].word[e]), as_float(y[s].word[e]), c[r][s]);
        }
      }
    }
  }
};
