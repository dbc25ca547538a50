// Pairwise products, with as many samples side by side as a vector has lanes, so that nothing is added up across lanes:
//   for each group of samples, for each strip of columns: transpose all vectors to [column][sample];
//   then for each block of pairs: sum[pair][sample] += x_i[column][sample] * x_j[column][sample]
// and at last the sums, transposed to [sample][pair], go out. Meanwhile the next group's vectors are prefetched.
#pragma once

#include "interaction/call.hpp"
#include "interaction/single.hpp"
#include "interaction/tile.hpp"

namespace recsmith {

// Rows and columns of a block of pairs whose sums are in registers at once.
template <class V>
inline constexpr int block_edge = V::registers >= 32 ? 4 : 3;

// R x C sums over `columns` columns of the tiles from `a` and `b` on; of a diagonal block those with c < r (c <= r).
template <class V, int R, int C, bool Diagonal, bool Self>
class PairBlock {
 public:
  using F = typename V::F;
  static constexpr std::int64_t tile = std::int64_t{V::width} * V::width;

  [[gnu::always_inline]] static void add(const float* a, const float* b, int columns, float* const* sums, bool first) {
    F sum[R][C];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sum[r][c] = V::zero();
    }
    if (!first) each(sum, sums, [](F& x, float* at) { x = V::load(at); });
    for (int k = 0; k < columns; ++k) {
      F x[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) x[c] = V::load(b + c * tile + k * V::width);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const F y = V::load(a + r * tile + k * V::width);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
          if (wanted(r, c)) sum[r][c] = V::fma(y, x[c], sum[r][c]);
        }
      }
    }
    each(sum, sums, [](F& x, float* at) { V::store(at, x); });
  }

 private:
  static constexpr bool wanted(int r, int c) { return !Diagonal || (Self ? c <= r : c < r); }

  template <class Each>
  [[gnu::always_inline]] static void each(F (&sum)[R][C], float* const* sums, Each visit) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        if (wanted(r, c)) visit(sum[r][c], sums[r] + c * V::width);
      }
    }
  }
};

// All pairs over one strip of columns. `step` is called once a block.
template <class V, bool Self, class Step>
class Pairs {
 public:
  Pairs(std::int32_t count, const float* tiles, float* sums, Step step)
      : count_(count), tiles_(tiles), sums_(sums), step_(step) {}

  void add(int columns, bool first) {
    constexpr int edge = block_edge<V>;
    int i = 0;
    for (; i + edge <= count_; i += edge) rows<edge>(i, columns, first);
    if constexpr (edge > 3) {
      if (count_ - i == 3) rows<3>(i, columns, first);
    }
    if (count_ - i == 2) rows<2>(i, columns, first);
    if (count_ - i == 1) rows<1>(i, columns, first);
  }

  // Blocks that one strip has.
  static std::int64_t blocks(std::int64_t count) {
    const std::int64_t edges = (count + block_edge<V> - 1) / block_edge<V>;
    return edges * (edges + 1) / 2;
  }

 private:
  static constexpr std::int64_t tile = std::int64_t{V::width} * V::width;

  template <int R>
  void rows(int i, int columns, bool first) {
    constexpr int edge = block_edge<V>;
    const float* a = tiles_ + i * tile;
    for (int j = 0; j < i; j += edge) {
      float* sums[R];
      for (int r = 0; r < R; ++r) sums[r] = sums_ + (pairs_of(i + r, Self) + j) * V::width;
      PairBlock<V, R, edge, false, Self>::add(a, tiles_ + j * tile, columns, sums, first);
      step_();
    }
    float* sums[R];
    for (int r = 0; r < R; ++r) sums[r] = sums_ + (pairs_of(i + r, Self) + i) * V::width;
    PairBlock<V, R, R, true, Self>::add(a, a, columns, sums, first);
    step_();
  }

  const std::int32_t count_;
  const float* const tiles_;
  float* const sums_;
  Step step_;
};

// The first `n` lanes of `pairs` sums to rows of the output.
template <class V>
void put_pairs(const float* sums, std::int64_t pairs, int n, float* out, std::int64_t out_stride) {
  constexpr int W = V::width;
  typename V::F x[W];
  std::int64_t p = 0;
  for (; p + W <= pairs; p += W) {
#pragma GCC unroll 16
    for (int k = 0; k < W; ++k) x[k] = V::load(sums + (p + k) * W);
    V::transpose(x);
    if (n == W) {
#pragma GCC unroll 16
      for (int s = 0; s < W; ++s) V::store(out + s * out_stride + p, x[s]);
    } else {
      for (int s = 0; s < n; ++s) V::store(out + s * out_stride + p, x[s]);
    }
  }
  const int rest = static_cast<int>(pairs - p);
  if (rest == 0) return;
  for (int k = 0; k < W; ++k) x[k] = k < rest ? V::load(sums + (p + k) * W) : V::zero();
  V::transpose(x);
  for (int s = 0; s < n; ++s) V::store_part(out + s * out_stride + p, x[s], rest);
}

template <class V, bool Self, class Index>
void dots_of(const Dots<Index>& call) {
  constexpr int W = V::width;
  constexpr std::int64_t tile = std::int64_t{W} * W;
  float* const tiles = call.scratch;
  float* const sums = tiles + call.count * tile;
  const std::int64_t pairs = pairs_of(call.count, Self);
  for (std::int64_t s0 = 0; s0 < call.samples; s0 += W) {
    const int n = static_cast<int>(call.samples - s0 < W ? call.samples - s0 : W);
    if (n < few_samples<V>) {
      for (int s = 0; s < n; ++s) single<V, Self>(call, s0 + s);
      return;
    }
    const std::int64_t strips = (call.dim + W - 1) / W;
    GroupAhead<V, Index> ahead(call, s0 + W, strips * Pairs<V, Self, int>::blocks(call.count));
    for (std::int64_t column = 0; column < call.dim; column += W) {
      const int columns = static_cast<int>(call.dim - column < W ? call.dim - column : W);
      for (std::int32_t f = 0; f < call.count; ++f) {
        load_tile<V>(call.vectors[f], s0, n, column, columns, tiles + f * tile);
      }
      auto step = [&] { ahead.step(); };
      Pairs<V, Self, decltype(step)>(call.count, tiles, sums, step).add(columns, column == 0);
    }
    for (int s = 0; s < n; ++s) copy_first<V>(call, s0 + s);
    put_pairs<V>(sums, pairs, n, call.out + s0 * call.out_stride + call.dim, call.out_stride);
  }
}

template <class V, class Index>
void dots(const Dots<Index>& call) {
  if (call.self_terms) return dots_of<V, true>(call);
  return dots_of<V, false>(call);
}

}  // namespace recsmith
