// Vectors of a group of samples: where they lie, bringing them near, transposing them.
#pragma once

#include "interaction/call.hpp"

namespace recsmith {

template <class Index>
[[gnu::always_inline]] inline const std::byte* vector_of(const Vectors<Index>& vectors, std::int64_t sample) {
  const std::int64_t at = vectors.ids == nullptr ? sample : static_cast<std::int64_t>(vectors.ids[sample]);
  return vectors.base + at * vectors.stride;
}

// Columns [column, column + columns) of n <= width samples from s0 on, as [column][sample]. The lanes beyond n repeat
// the last sample.
template <class V, class Index>
[[gnu::always_inline]] inline void load_tile(const Vectors<Index>& vectors, std::int64_t s0, int n,
                                             std::int64_t column, int columns, float* tile) {
  constexpr int W = V::width;
  typename V::F x[W];
  if (n == W && columns == W) {
#pragma GCC unroll 16
    for (int s = 0; s < W; ++s) x[s] = V::fp32(vector_of(vectors, s0 + s) + column * 4);
  } else {
    for (int s = 0; s < W; ++s) {
      const std::byte* at = vector_of(vectors, s0 + (s < n ? s : n - 1)) + column * 4;
      x[s] = columns == W ? V::fp32(at) : V::fp32_part(at, columns);
    }
  }
  V::transpose(x);
#pragma GCC unroll 16
  for (int k = 0; k < W; ++k) V::store(tile + k * W, x[k]);
}

// Copies the vector 0 of a sample to the head of its output.
template <class V, class Index>
[[gnu::always_inline]] inline void copy_first(const Dots<Index>& call, std::int64_t sample) {
  const std::byte* at = vector_of(call.vectors[0], sample);
  float* out = call.out + sample * call.out_stride;
  std::int64_t column = 0;
  for (; column + V::width <= call.dim; column += V::width) V::store(out + column, V::fp32(at + column * 4));
  const int rest = static_cast<int>(call.dim - column);
  if (rest > 0) V::store_part(out + column, V::fp32_part(at + column * 4, rest), rest);
}

// Prefetches a feature's vectors of samples [s0, s1). The empty statement: see lookup/prefetch.hpp.
template <class V, Prefetch Level, class Index>
[[gnu::always_inline]] inline void bring_at(const Vectors<Index>& vectors, std::int64_t s0, std::int64_t s1,
                                            std::int64_t bytes) {
  asm volatile("");
  // Vectors that do not start at cache lines may reach into one more.
  const auto start = reinterpret_cast<std::uintptr_t>(vectors.base) | static_cast<std::uintptr_t>(vectors.stride);
  const bool aligned = start % 64 == 0;
  for (std::int64_t s = s0; s < s1; ++s) {
    const std::byte* at = vector_of(vectors, s);
    for (std::int64_t byte = 0; byte < bytes; byte += 64) V::template prefetch<Level>(at + byte);
    if (!aligned) V::template prefetch<Level>(at + bytes - 1);
  }
}

// Prefetches part `part` of `parts` of the vectors of the group of samples that begins with `first`, in this call or in
// the next one: many at once, since among the multiplications each miss would hold up those behind it.
template <class V, class Index>
void bring_group(const Dots<Index>& call, std::int64_t first, std::int32_t part, std::int32_t parts) {
  const bool here = first < call.samples;
  const Vectors<Index>* all = here ? call.vectors : call.next;
  if (all == nullptr) return;
  const std::int64_t s0 = here ? first : 0, last = here ? call.samples : call.next_samples;
  const std::int64_t s1 = last - s0 < V::width ? last : s0 + V::width, bytes = std::int64_t{call.dim} * 4;
  for (std::int32_t f = call.count * part / parts; f < call.count * (part + 1) / parts; ++f) {
    switch (all[f].level) {
      case Prefetch::none: break;
      case Prefetch::t0: bring_at<V, Prefetch::t0>(all[f], s0, s1, bytes); break;
      case Prefetch::t1: bring_at<V, Prefetch::t1>(all[f], s0, s1, bytes); break;
      case Prefetch::nta: bring_at<V, Prefetch::nta>(all[f], s0, s1, bytes); break;
    }
  }
}

}  // namespace recsmith
