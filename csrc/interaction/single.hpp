// One sample on its own, for batches too small to fill the lanes of a vector:
//   for each strip of columns: transpose the sample's vectors to [column][vector];
//   then for each vector i: sum[i][j] += x_i[column] * x_j[column], as many j side by side as there are lanes
#pragma once

#include "interaction/tile.hpp"

namespace recsmith {

// Fewer samples than these are worked on one by one.
template <class V>
inline constexpr int few_samples = V::width / 4 + (V::width > 1 ? 1 : 0);

// Columns [column, column + columns) of all vectors of a sample, as [column][vector], rows `padded` floats apart.
template <class V, class Index>
void load_sample(const Dots<Index>& call, std::int64_t sample, std::int64_t column, int columns, std::int64_t padded,
                 float* tile) {
  constexpr int W = V::width;
  for (std::int64_t j = 0; j < padded; j += W) {
    typename V::F x[W];
    for (int k = 0; k < W; ++k) {
      const std::int64_t f = j + k < call.count ? j + k : call.count - 1;
      const std::byte* at = vector_of(call.vectors[f], sample) + column * 4;
      x[k] = columns == W ? V::fp32(at) : V::fp32_part(at, columns);
    }
    V::transpose(x);
    for (int k = 0; k < columns; ++k) V::store(tile + k * padded + j, x[k]);
  }
}

// R rows of sums beside the W vectors from `x` on; `y` are the elements that the rows multiply with.
template <class V, int R>
[[gnu::always_inline]] inline void add_rows(const float* y, const float* x, std::int64_t padded, int columns,
                                            float* sums, bool first) {
  typename V::F sum[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sum[r] = first ? V::zero() : V::load(sums + r * padded);
  for (int k = 0; k < columns; ++k) {
    const auto x_k = V::load(x + k * padded);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sum[r] = V::fma(V::set1(y[k * padded + r]), x_k, sum[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) V::store(sums + r * padded, sum[r]);
}

template <class V>
void add_sample(std::int64_t count, const float* tile, std::int64_t padded, int columns, float* sums, bool first) {
  std::int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (std::int64_t j = 0; j < i + 4; j += V::width) {
      add_rows<V, 4>(tile + i, tile + j, padded, columns, sums + i * padded + j, first);
    }
  }
  for (; i < count; ++i) {
    for (std::int64_t j = 0; j <= i; j += V::width) {
      add_rows<V, 1>(tile + i, tile + j, padded, columns, sums + i * padded + j, first);
    }
  }
}

template <class V, bool Self, class Index>
void single(const Dots<Index>& call, std::int64_t sample) {
  constexpr int W = V::width;
  const std::int64_t count = call.count, padded = (count + W - 1) / W * W;
  float* const tile = call.scratch;
  float* const sums = tile + W * padded;
  for (std::int64_t column = 0; column < call.dim; column += W) {
    const int columns = static_cast<int>(call.dim - column < W ? call.dim - column : W);
    load_sample<V>(call, sample, column, columns, padded, tile);
    add_sample<V>(count, tile, padded, columns, sums, column == 0);
  }
  copy_first<V>(call, sample);
  float* const out = call.out + sample * call.out_stride + call.dim;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t n = Self ? i + 1 : i;
    float* const row = out + pairs_of(i, Self);
    std::int64_t j = 0;
    for (; j + W <= n; j += W) V::store(row + j, V::load(sums + i * padded + j));
    if (j < n) V::store_part(row + j, V::load(sums + i * padded + j), static_cast<int>(n - j));
  }
}

}  // namespace recsmith
