// The sum of each sample's vectors, sample by sample, with a strip of columns in registers:
//   for each strip: sum = x_0; for each other vector: sum += x_i[strip]; then the strip goes out
// Meanwhile the same strip of the far vectors of a sample to come is asked for.
#pragma once

#include <algorithm>
#include <type_traits>

#include "interaction/tile.hpp"
#include "lookup/pool.hpp"

namespace recsmith {

template <class V, class Index>
class SampleSums {
 public:
  using F = typename V::F;

  explicit SampleSums(const Sums<Index>& call)
      : call_(call), rows_(reinterpret_cast<const std::byte**>(call.scratch)), asked_(rows_ + slots * call.count) {
    for (std::int64_t s = 0; s < sums_lead; ++s) list(s);
  }

  void run() {
    for (std::int64_t s = 0; s < call_.samples; ++s) {
      const std::int32_t asks = ask_for(list(s + sums_lead));
      add(rows_ + s % slots * call_.count, asks, call_.out + s * call_.out_stride);
    }
  }

 private:
  static constexpr std::int64_t slots = sums_lead + 1;

  // Lists where the vectors of a sample lie, of this call or the next; null when there is none.
  const std::byte** list(std::int64_t s) const {
    const bool here = s < call_.samples;
    const Vectors<Index>* all = here ? call_.vectors : call_.next;
    const std::int64_t sample = here ? s : s - call_.samples;
    if (all == nullptr || (!here && sample >= call_.next_samples)) return nullptr;
    const std::byte** rows = rows_ + s % slots * call_.count;
    for (std::int32_t f = 0; f < call_.count; ++f) rows[f] = vector_of(all[f], sample);
    return rows;
  }

  // Of the vectors of a sample to come those that are to be brought near; says how many.
  std::int32_t ask_for(const std::byte* const* rows) const {
    std::int32_t asks = 0;
    for (std::int32_t f = 0; rows != nullptr && f < call_.count; ++f) {
      if (call_.vectors[f].level != Prefetch::none) asked_[asks++] = rows[f];
    }
    return asks;
  }

  void add(const std::byte* const* rows, std::int32_t asks, float* out) const {
    each_strip<V, V::strip>(
        0, call_.dim,
        [&](auto width, std::int64_t column) __attribute__((always_inline)) {
          constexpr int N = width.value;
          bring(asks, column, N);
          F sum[N];
#pragma GCC unroll 16
          for (int j = 0; j < N; ++j) sum[j] = V::fp32(rows[0] + (column + j * V::width) * 4);
          for (std::int32_t f = 1; f < call_.count; ++f) {
            const std::byte* at = rows[f] + column * 4;
#pragma GCC unroll 16
            for (int j = 0; j < N; ++j) sum[j] = V::add(sum[j], V::fp32(at + j * V::width * 4));
          }
#pragma GCC unroll 16
          for (int j = 0; j < N; ++j) V::store(out + column + j * V::width, finished(sum[j]));
        },
        [&](std::int64_t column, int n) {
          bring(asks, column, 1);
          F sum = V::fp32_part(rows[0] + column * 4, n);
          for (std::int32_t f = 1; f < call_.count; ++f) sum = V::add(sum, V::fp32_part(rows[f] + column * 4, n));
          V::store_part(out + column, finished(sum), n);
        });
  }

  [[gnu::always_inline]] F finished(F x) const { return call_.rectified ? V::max(V::zero(), x) : x; }

  // Asks for `vectors` of V's width from `column` on. The empty statement: see lookup/prefetch.hpp.
  [[gnu::always_inline]] void bring(std::int32_t asks, std::int64_t column, int vectors) const {
    asm volatile("");
    for (std::int32_t k = 0; k < asks; ++k) {
      const std::byte* at = asked_[k] + column * 4;
      for (int byte = 0; byte < vectors * V::width * 4; byte += 64) V::template prefetch<Prefetch::t0>(at + byte);
    }
  }

  const Sums<Index>& call_;
  const std::byte** const rows_;   // [slots, count]
  const std::byte** const asked_;  // [count] at most
};

template <class V, class Index>
void sums(const Sums<Index>& call) {
  SampleSums<V, Index>(call).run();
}

}  // namespace recsmith
