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

// Prefetches the vectors of one group of samples while another one is worked on, a few lines of each a step.
template <class V, class Index>
class GroupAhead {
 public:
  // The group that begins with sample `first`, in this call or in the next one; `steps` steps are to come.
  GroupAhead(const Dots<Index>& call, std::int64_t first, std::int64_t steps) {
    vectors_ = call.vectors;
    first_ = first;
    std::int64_t last = call.samples;
    if (first >= call.samples) {
      vectors_ = call.next;
      first_ = 0;
      last = call.next_samples;
    }
    if (vectors_ == nullptr) return;
    count_ = static_cast<int>(last - first_ < V::width ? last - first_ : V::width);
    if (count_ <= 0) return;
    bytes_ = call.dim * 4;
    lines_ = (bytes_ + 63) / 64 + 1;
    left_ = call.count * lines_;
    each_ = (left_ + steps - 1) / steps;
  }

  [[gnu::always_inline]] void step() {
    for (std::int64_t i = 0; i < each_ && left_ > 0; ++i) one();
  }

 private:
  // One line of a feature's vectors, of each sample.
  [[gnu::always_inline]] void one() {
    --left_;
    const Vectors<Index>& vectors = vectors_[left_ / lines_];
    const std::int64_t line = left_ % lines_;
    // Vectors that do not start at cache lines may reach into one more.
    const bool extra = line == lines_ - 1;
    if (extra && (reinterpret_cast<std::uintptr_t>(vectors.base) | static_cast<std::uintptr_t>(vectors.stride)) % 64 == 0) {
      return;
    }
    const std::int64_t byte = extra ? bytes_ - 1 : line * 64;
    if (vectors.level == Prefetch::t0) return bring<Prefetch::t0>(vectors, byte);
    if (vectors.level == Prefetch::t1) return bring<Prefetch::t1>(vectors, byte);
    if (vectors.level == Prefetch::nta) return bring<Prefetch::nta>(vectors, byte);
  }

  // The empty statement: see lookup/prefetch.hpp.
  template <Prefetch Level>
  [[gnu::always_inline]] void bring(const Vectors<Index>& vectors, std::int64_t byte) const {
    asm volatile("");
    for (int s = 0; s < count_; ++s) V::template prefetch<Level>(vector_of(vectors, first_ + s) + byte);
  }

  const Vectors<Index>* vectors_;
  std::int64_t first_ = 0, bytes_ = 0, lines_ = 1, left_ = 0, each_ = 0;
  int count_ = 0;
};

}  // namespace recsmith
