// What an interaction kernel is told: where each sample's vectors lie, where to write. Pointers and lengths, never plans.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lookup/call.hpp"

namespace recsmith {

// One feature's vectors, one a sample: sample i's lies at base + (ids ? ids[i] : i) * stride. They may be the rows of a
// table where they are.
template <class Index>
struct Vectors {
  const std::byte* base;  // float32 elements, aligned to them
  std::int64_t stride;    // bytes
  const Index* ids;       // checked; or null
  Prefetch level;         // into which cache they are brought ahead of their use; `none` where they are near
  bool far;               // whether bringing one near likely takes a walk of the page table: many at once then
};

// The pairwise products of each sample's vectors, in DLRM's order: vector 0, then x_i . x_j for i = 1, 2 .. and all
// j < i (j <= i, from i = 0 on, with self terms).
template <class Index>
struct Dots {
  const Vectors<Index>* vectors;  // [count]
  std::int32_t count;             // 1 or more
  std::int32_t dim;
  std::int64_t samples;
  float* out;                     // [samples, dim + pairs], rows out_stride floats apart
  std::int64_t out_stride;
  bool self_terms;
  const Vectors<Index>* next;     // [count], of the samples to come, prefetched meanwhile; or null
  std::int64_t next_samples;
  float* scratch;                 // dots_floats() of them, 64-byte aligned
};

// The sum of each sample's vectors, elementwise.
template <class Index>
struct Sums {
  const Vectors<Index>* vectors;  // [count]
  std::int32_t count;             // 1 or more
  std::int32_t dim;
  std::int64_t samples;
  float* out;                     // [samples, dim], rows out_stride floats apart; may be where the first vectors lie
  std::int64_t out_stride;
  bool rectified;                 // what is below zero becomes zero
  const Vectors<Index>* next;     // as of Dots
  std::int64_t next_samples;
  float* scratch;                 // sums_floats() of them, 64-byte aligned
};

// Products of one sample.
[[gnu::always_inline]] inline constexpr std::int64_t pairs_of(std::int64_t count, bool self_terms) {
  return self_terms ? count * (count + 1) / 2 : count * (count - 1) / 2;
}

inline constexpr std::int64_t widest_vector = 16;  // floats, of all targets

// Working memory of a call with `count` vectors a sample: tiles of all of them, and all sums of a group of samples or
// all rows of sums of one; or where the vectors of some samples lie, which takes less.
inline constexpr std::int64_t dots_floats(std::int64_t count) {
  const std::int64_t W = widest_vector;
  return (count + 1) * W * W + (pairs_of(count, true) + W) * W;
}

// Samples whose vectors are asked for ahead of their addition.
inline constexpr std::int64_t sums_lead = 2;

// Working memory of a call with `count` vectors a sample: where those of some samples lie.
inline constexpr std::int64_t sums_floats(std::int64_t count) {
  return (sums_lead + 2) * count * static_cast<std::int64_t>(sizeof(void*) / sizeof(float));
}

}  // namespace recsmith
