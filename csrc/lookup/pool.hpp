// Reduces the rows of one bag in registers and writes the vector out.
#pragma once

#include "lookup/row.hpp"

namespace recsmith {

// Where vectors go: past the caches only where whole vectors are aligned.
template <class V>
class Writer {
 public:
  template <class Index>
  explicit Writer(const Call<Index>& call) : Writer(call.stream, call.out, call.out_stride) {}

  // For vectors at `out` and multiples of `spacing` floats from there.
  Writer(bool stream, const float* out, std::int64_t spacing)
      : stream_(stream && reinterpret_cast<std::uintptr_t>(out) % sizeof(typename V::F) == 0 &&
                spacing % V::width == 0) {}

  [[gnu::always_inline]] void operator()(float* out, typename V::F x) const {
    if (stream_) {
      V::stream(out, x);
    } else {
      V::store(out, x);
    }
  }

 private:
  bool stream_;
};

// N accumulators over columns [column, column + N * width). The biases of quantised rows are added up on their own,
// which leaves one multiply-add an element.
template <class V, RowType T, int N>
class Strip {
 public:
  using F = typename V::F;

  [[gnu::always_inline]] Strip() : bias_(V::zero()) {
    for (int j = 0; j < N; ++j) sum_[j] = V::zero();
  }

  template <bool Weighted>
  [[gnu::always_inline]] void add(const std::byte* at, std::int64_t column, F weight) {
    const Row<V, T> row(at);
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) sum_[j] = accumulate<Weighted>(sum_[j], row.raw(column + j * V::width), row, weight);
    add_bias<Weighted>(row, weight);
  }

  template <bool Weighted>
  [[gnu::always_inline]] void add_part(const std::byte* at, std::int64_t column, int n, F weight) {
    const Row<V, T> row(at);
    sum_[0] = accumulate<Weighted>(sum_[0], row.raw_part(column, n), row, weight);
    add_bias<Weighted>(row, weight);
  }

  [[gnu::always_inline]] void add(const Strip& other) {
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) sum_[j] = V::add(sum_[j], other.sum_[j]);
    bias_ = V::add(bias_, other.bias_);
  }

  // The j-th vector, times `factor` (one over the bag's length for means).
  [[gnu::always_inline]] F vector(int j, F factor) const {
    return V::mul(Row<V, T>::quantised ? V::add(sum_[j], bias_) : sum_[j], factor);
  }

 private:
  template <bool Weighted>
  [[gnu::always_inline]] static F accumulate(F sum, F raw, const Row<V, T>& row, F weight) {
    if constexpr (Row<V, T>::quantised) return V::fma(raw, Weighted ? V::mul(row.scale, weight) : row.scale, sum);
    return Weighted ? V::fma(raw, weight, sum) : V::add(sum, raw);
  }

  template <bool Weighted>
  [[gnu::always_inline]] void add_bias(const Row<V, T>& row, F weight) {
    if constexpr (Row<V, T>::quantised) bias_ = Weighted ? V::fma(row.bias, weight, bias_) : V::add(bias_, row.bias);
  }

  F sum_[N];
  F bias_;
};

// One over the length of a bag for means, one for sums.
template <class V>
[[gnu::always_inline]] inline typename V::F bag_factor(bool mean, std::int64_t length) {
  return V::set1(mean && length > 1 ? 1.0f / static_cast<float>(length) : 1.0f);
}

// Calls `body(strip_width, column)` with compile-time widths N = S, S/2 .. 1 over columns [column, dim), and
// `tail(column, n)` for what is left.
template <class V, int S, class Body, class Tail>
[[gnu::always_inline]] inline void each_strip(std::int64_t column, std::int64_t dim, Body body, Tail tail) {
  for (; dim - column >= S * V::width; column += S * V::width) body(std::integral_constant<int, S>{}, column);
  if constexpr (S > 1) {
    each_strip<V, S / 2>(column, dim, body, tail);
  } else if (column < dim) {
    tail(column, static_cast<int>(dim - column));
  }
}

}  // namespace recsmith
