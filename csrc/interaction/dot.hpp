// Pairwise products, with as many samples side by side as a vector has lanes, so that nothing is added up across lanes:
//   for each group of samples, for each strip of columns: transpose all vectors to [column][sample];
//   then for each block of pairs: sum[pair][sample] += x_i[column][sample] * x_j[column][sample]
// and at last the sums, transposed to [sample][pair], go out. Meanwhile the next group's vectors are prefetched. Long rows
// go another way (interaction/stream.hpp).
#pragma once

#include "interaction/call.hpp"
#include "interaction/rows.hpp"
#include "interaction/stream.hpp"
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

// All pairs over one strip of columns. `done(n)` is called when the first n sums are complete for this strip.
template <class V, bool Self>
class Pairs {
 public:
  Pairs(std::int32_t count, const float* tiles, float* sums) : count_(count), tiles_(tiles), sums_(sums) {}

  template <class Done>
  void add(int columns, bool first, Done done) {
    constexpr int edge = block_edge<V>;
    int i = 0;
    for (; i + edge <= count_; i += edge) {
      rows<edge>(i, columns, first);
      done(pairs_of(i + edge, Self));
    }
    if constexpr (edge > 3) {
      if (count_ - i == 3) rows<3>(i, columns, first);
    }
    if (count_ - i == 2) rows<2>(i, columns, first);
    if (count_ - i == 1) rows<1>(i, columns, first);
    done(pairs_of(count_, Self));
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
    }
    float* sums[R];
    for (int r = 0; r < R; ++r) sums[r] = sums_ + (pairs_of(i + r, Self) + i) * V::width;
    PairBlock<V, R, R, true, Self>::add(a, a, columns, sums, first);
  }

  const std::int32_t count_;
  const float* const tiles_;
  float* const sums_;
};

// Puts sums out, the first `n` lanes of them, as whole vectors of pairs as long as there are any.
template <class V>
class PairWriter {
 public:
  PairWriter(const float* sums, int n, float* out, std::int64_t out_stride)
      : sums_(sums), n_(n), out_(out), out_stride_(out_stride) {}

  // Sums below `ready` are complete.
  void upto(std::int64_t ready) {
    for (; at_ + W <= ready; at_ += W) {
      F x[W];
#pragma GCC unroll 16
      for (int k = 0; k < W; ++k) x[k] = V::load(sums_ + (at_ + k) * W);
      V::transpose(x);
      if (n_ == W) {
#pragma GCC unroll 16
        for (int s = 0; s < W; ++s) V::store(out_ + s * out_stride_ + at_, x[s]);
      } else {
        for (int s = 0; s < n_; ++s) V::store(out_ + s * out_stride_ + at_, x[s]);
      }
    }
  }

  // There are no more than `all`.
  void finish(std::int64_t all) {
    const int rest = static_cast<int>(all - at_);
    if (rest == 0) return;
    F x[W];
    for (int k = 0; k < W; ++k) x[k] = k < rest ? V::load(sums_ + (at_ + k) * W) : V::zero();
    V::transpose(x);
    for (int s = 0; s < n_; ++s) V::store_part(out_ + s * out_stride_ + at_, x[s], rest);
  }

 private:
  using F = typename V::F;
  static constexpr int W = V::width;

  const float* const sums_;
  const int n_;
  float* const out_;
  const std::int64_t out_stride_;
  std::int64_t at_ = 0;
};

// Fewer samples than these are worked on one by one: empty lanes cost as much as full ones. Measured with 27 vectors of
// 16 and of 64 elements, AVX-512 on an AMD EPYC (26/2/1), batches of 1 to 16 samples, 2026-11-21: times cross between 6
// and 8 samples, and between 12 and 16.
template <class V>
[[gnu::always_inline]] inline int few_samples(std::int32_t dim) {
  return V::width * (dim <= 32 ? 7 : 13) / 16;
}

// A group of n samples from s0 on.
template <class V, bool Self, class Index>
void dots_of_group(const Dots<Index>& call, std::int64_t s0, int n) {
  constexpr int W = V::width;
  constexpr std::int64_t tile = std::int64_t{W} * W;
  float* const tiles = call.scratch;
  float* const sums = tiles + call.count * tile;
  float* const out = call.out + s0 * call.out_stride;
  PairWriter<V> writer(sums, n, out + call.dim, call.out_stride);
  Pairs<V, Self> pairs(call.count, tiles, sums);
  const std::int32_t strips = (call.dim + W - 1) / W;
  for (std::int64_t column = 0; column < call.dim; column += W) {
    const int columns = static_cast<int>(call.dim - column < W ? call.dim - column : W);
    const bool first = column == 0, last = column + W >= call.dim;
    for (std::int32_t f = 0; f < call.count; ++f) {
      load_tile<V>(call.vectors[f], s0, n, column, columns, tiles + f * tile);
    }
    bring_group<V>(call, s0 + W, static_cast<std::int32_t>(column / W), strips);
    pairs.add(columns, first, [&](std::int64_t ready) {
      if (last) writer.upto(ready);
    });
  }
  writer.finish(pairs_of(call.count, Self));
  for (int s = 0; s < n; ++s) copy_first<V>(call, s0 + s);
}

template <class V, bool Self, class Index>
void dots_of(const Dots<Index>& call) {
  constexpr int W = V::width;
  if constexpr (W == 16) {
    if (one_by_one<V>(call.dim)) return dots_one_by_one<V, Self>(call);
  }
  for (std::int64_t s0 = 0; s0 < call.samples; s0 += W) {
    const int n = static_cast<int>(call.samples - s0 < W ? call.samples - s0 : W);
    if (n < few_samples<V>(call.dim)) {
      const auto** vectors = reinterpret_cast<const std::byte**>(call.scratch);
      for (int s = 0; s < n; ++s) rows_of<V, Self>(call, s0 + s, vectors);
    } else {
      dots_of_group<V, Self>(call, s0, n);
    }
  }
}

template <class V, class Index>
void dots(const Dots<Index>& call) {
  if (call.self_terms) return dots_of<V, true>(call);
  return dots_of<V, false>(call);
}

}  // namespace recsmith
