// Pairwise products of one sample on its own, for groups too small to fill the lanes of a vector: for each block of pairs
//   sum[i][j] += x_i[columns] * x_j[columns], strip by strip; then the lanes of all sums are added up at once
#pragma once

#include "interaction/tile.hpp"

namespace recsmith {

// Columns and rows of a block of pairs: as many sums as fill vectors when they are added up.
inline constexpr int row_columns = 4;
template <class V>
inline constexpr int row_rows = V::width == 16 ? 4 : V::width == 8 ? 2 : V::width == 4 ? 4 : 2;

// R x C sums, of those wanted of a diagonal block. N is the number of vectors in a row, 0 when it is known only at run
// time.
template <class V, int N, int R, int C, bool Diagonal, bool Self, bool Spills>
class RowBlock {
 public:
  using F = typename V::F;

  // `out` + places[r] is where the products of row r with the C vectors from `b` on go.
  [[gnu::always_inline]] static void put(const std::byte* const* a, const std::byte* const* b, std::int32_t dim,
                                         float* const* places) {
    F sum[R][C];
    if constexpr (N > 0) {
#pragma GCC unroll 8
      for (int k = 0; k < N; ++k) {
        auto load = [&](const std::byte* x) __attribute__((always_inline)) { return V::fp32(x + k * V::width * 4); };
        add(sum, load, a, b, k == 0);
      }
    } else {
      add_any(sum, a, b, dim);
    }
    store(sum, places);
  }

 private:
  static constexpr bool wanted(int r, int c) { return !Diagonal || (Self ? c <= r : c < r); }

  [[gnu::always_inline]] static void add_any(F (&sum)[R][C], const std::byte* const* a, const std::byte* const* b,
                                             std::int32_t dim) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sum[r][c] = V::zero();
    }
    std::int32_t column = 0;
    for (; column + V::width <= dim; column += V::width) {
      auto load = [&](const std::byte* x) __attribute__((always_inline)) { return V::fp32(x + column * 4); };
      add(sum, load, a, b, false);
    }
    const int rest = dim - column;
    if (rest > 0) {
      auto load = [&](const std::byte* x) __attribute__((always_inline)) { return V::fp32_part(x + column * 4, rest); };
      add(sum, load, a, b, false);
    }
  }

  // The first products are what the sums start with.
  template <class Load>
  [[gnu::always_inline]] static void add(F (&sum)[R][C], Load load, const std::byte* const* a, const std::byte* const* b,
                                         bool first) {
    F x[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) x[c] = load(b[c]);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const F y = Diagonal ? x[r] : load(a[r]);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        if (wanted(r, c)) sum[r][c] = first ? V::mul(y, x[c]) : V::fma(y, x[c], sum[r][c]);
      }
    }
  }

  [[gnu::always_inline]] static void store(const F (&sum)[R][C], float* const* places) {
    if constexpr (V::width == 1) {
      for (int r = 0; r < R; ++r) {
        for (int c = 0; c < C; ++c) {
          if (wanted(r, c)) V::store(places[r] + c, sum[r][c]);
        }
      }
    } else {
      constexpr int together = V::width / row_columns;  // rows whose sums one vector holds
#pragma GCC unroll 4
      for (int r = 0; r < R; r += together) {
        F lanes[V::width];
#pragma GCC unroll 16
        for (int k = 0; k < V::width; ++k) {
          const int row = r + k / row_columns, c = k % row_columns;
          lanes[k] = row < R && c < C && wanted(row, c) ? sum[row < R ? row : 0][c < C ? c : 0] : V::zero();
        }
        put_rows<0, together>(V::sums(lanes), r, places);
      }
    }
  }

  template <int Quarter, int Together>
  [[gnu::always_inline]] static void put_rows(F x, int r, float* const* places) {
    if constexpr (Quarter < Together) {
      if (r + Quarter < R) put_row<Quarter>(x, r + Quarter, places);
      put_rows<Quarter + 1, Together>(x, r, places);
    }
  }

  // Four products, or as many as there are. Beyond those of a diagonal block lie products that are put later, but for
  // the last block of a sample, and for samples with fewer products than that.
  template <int Quarter>
  [[gnu::always_inline]] static void put_row(F x, int r, float* const* places) {
    if (Spills || (!Diagonal && C == row_columns)) {
      V::template store_quarter<Quarter>(places[r], x);
      return;
    }
    float four[row_columns];
    V::template store_quarter<Quarter>(four, x);
    for (int c = 0; c < C; ++c) {
      if (wanted(r, c)) places[r][c] = four[c];
    }
  }
};

// All products of one sample. `between()` is called before each block of pairs.
template <class V, int N, bool Self, class Between>
class SampleRows {
 public:
  SampleRows(const std::byte* const* vectors, std::int32_t count, std::int32_t dim, float* out, Between& between)
      : vectors_(vectors), count_(count), dim_(dim), out_(out), between_(between) {}

  [[gnu::always_inline]] void put() {
    constexpr int edge = row_rows<V>;
    int i = 0;
    if (pairs_of(count_, Self) >= row_columns) {
      for (; i + edge < count_; i += edge) rows<edge, V::width != 1>(i);
    } else {
      for (; i + edge < count_; i += edge) rows<edge, false>(i);
    }
    switch (count_ - i) {
      case 4: return rows<edge < 4 ? 1 : 4, false>(i);
      case 3: return rows<edge < 3 ? 1 : 3, false>(i);
      case 2: return rows<2, false>(i);
      default: return rows<1, false>(i);
    }
  }

 private:
  // The diagonal goes first: what it spills is put afterwards.
  template <int R, bool Spills>
  [[gnu::always_inline]] void rows(int i) {
    float* places[R];
    float* ends[R];
    for (int r = 0; r < R; ++r) places[r] = out_ + pairs_of(i + r, Self), ends[r] = places[r] + i;
    between_();
    RowBlock<V, N, R, R, true, Self, Spills>::put(vectors_ + i, vectors_ + i, dim_, ends);
    int j = 0;
    for (; j + row_columns <= i; j += row_columns) {
      between_();
      RowBlock<V, N, R, row_columns, false, Self, false>::put(vectors_ + i, vectors_ + j, dim_, places);
      for (int r = 0; r < R; ++r) places[r] += row_columns;
    }
    for (; j < i; ++j) {
      RowBlock<V, N, R, 1, false, Self, false>::put(vectors_ + i, vectors_ + j, dim_, places);
      for (int r = 0; r < R; ++r) ++places[r];
    }
  }

  const std::byte* const* vectors_;
  const std::int32_t count_, dim_;
  float* const out_;
  Between& between_;
};

template <class V, bool Self, class Index>
void rows_of(const Dots<Index>& call, std::int64_t sample, const std::byte** vectors) {
  for (std::int32_t f = 0; f < call.count; ++f) vectors[f] = vector_of(call.vectors[f], sample);
  copy_first<V>(call, sample);
  auto nothing = [] {};
  float* out = call.out + sample * call.out_stride + call.dim;
  SampleRows<V, 0, Self, decltype(nothing)>(vectors, call.count, call.dim, out, nothing).put();
}

}  // namespace recsmith
