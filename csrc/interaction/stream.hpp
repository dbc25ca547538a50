// Pairwise products of one sample after the other, for rows long enough to be multiplied along their columns:
//   for each sample: list where its vectors lie, some samples ahead; multiply them block of pairs by block of pairs
// and between two blocks ask for one vector of a sample to come. A prefetch that waits for a walk of the page table lets
// nothing past it retire, so vectors that are far are asked for many at once: then the walks go side by side.
#pragma once

#include <algorithm>

#include "interaction/rows.hpp"

namespace recsmith {

// Whether samples are multiplied one by one. With shorter rows, transposing 16 samples costs no more than adding up
// lanes. Measured with 27 vectors, look-up included, batches of 2048, 16 at once and one by one, in turns: 426 and 442 ns
// a sample with 32 columns, 793 and 550 with 64, 1430 and 816 with 128 (AVX-512, AMD EPYC 26/2/1, 2026-11-21).
template <class V>
[[gnu::always_inline]] inline bool one_by_one(std::int32_t dim) {
  return V::width == 16 && dim >= 64;
}

// Prefetches a vector of N times V's width, or of `bytes` when N is 0. The empty statement: see lookup/prefetch.hpp.
template <class V, int N, Prefetch Level>
[[gnu::always_inline]] inline void bring_vector(const std::byte* at, std::int64_t bytes, bool aligned) {
  asm volatile("");
  if constexpr (N > 0) bytes = N * V::width * 4;
#pragma GCC unroll 8
  for (std::int64_t byte = 0; byte < bytes; byte += 64) V::template prefetch<Level>(at + byte);
  if (!aligned) V::template prefetch<Level>(at + bytes - 1);
}

template <class V, int N>
[[gnu::always_inline]] inline void bring_vector(const std::byte* at, std::int64_t bytes, bool aligned, Prefetch level) {
  if (level == Prefetch::t0) return bring_vector<V, N, Prefetch::t0>(at, bytes, aligned);
  if (level == Prefetch::t1) return bring_vector<V, N, Prefetch::t1>(at, bytes, aligned);
  if (level == Prefetch::nta) return bring_vector<V, N, Prefetch::nta>(at, bytes, aligned);
}

// A feature whose vectors are asked for one by one.
struct Asked {
  std::int32_t feature;
  Prefetch level;
  bool aligned;  // to cache lines
};

// Vectors of one sample to come, asked for `each` at a time.
template <class V, int N>
struct Spread {
  const std::byte* const* rows;  // [count]
  const Asked* at;
  const Asked* end;
  std::int32_t each;
  std::int64_t bytes;

  [[gnu::always_inline]] void operator()() {
    for (std::int32_t n = 0; n < each && at != end; ++n, ++at) {
      bring_vector<V, N>(rows[at->feature], bytes, at->aligned, at->level);
    }
  }
};

template <class Index>
[[gnu::always_inline]] inline bool starts_at_lines(const Vectors<Index>& vectors) {
  return (reinterpret_cast<std::uintptr_t>(vectors.base) | static_cast<std::uintptr_t>(vectors.stride)) % 64 == 0;
}

// The samples of a call. Of the vectors of its first `together` samples the far ones are near already or on their way,
// and so are all of its first `lead` samples.
template <class V, int N, bool Self, class Index>
class SampleStream {
 public:
  explicit SampleStream(const Dots<Index>& call)
      : call_(call),
        lists_(reinterpret_cast<const std::byte**>(call.scratch)),
        next_lists_(lists_ + 2 * listed * call.count),
        asked_(reinterpret_cast<Asked*>(next_lists_ + lead * call.count)) {
    for (std::int32_t f = 0; f < call.count; ++f) {
      const Vectors<Index>& one = call.vectors[f];
      if (!one.far && one.level != Prefetch::none) asked_[asks_++] = {f, one.level, starts_at_lines(one)};
    }
    const std::int32_t edges = (call.count + row_columns - 1) / row_columns, blocks = edges * (edges + 1) / 2;
    each_ = (asks_ + blocks - 1) / blocks;
    for (std::int64_t s = 0; call.next != nullptr && s < std::min(lead, call.next_samples); ++s) {
      fill(next_lists_ + s * call.count, call.next, s);
    }
  }

  void run() {
    list(0);
    for (std::int64_t s = 0; s < call_.samples; ++s) {
      if (s % listed == 0) list(s + listed);
      if (s % together == 0) bring_far(s + together);
      copy_first<V>(call_, s);
      const std::byte* const* ahead = row(s + lead);
      Spread<V, N> between{ahead, asked_, ahead == nullptr ? asked_ : asked_ + asks_, each_, bytes()};
      float* out = call_.out + s * call_.out_stride + call_.dim;
      SampleRows<V, N, Self, Spread<V, N>>(row(s), call_.count, call_.dim, out, between).put();
    }
  }

 private:
  static constexpr std::int64_t listed = 32;   // samples; two lots of them are listed at a time
  static constexpr std::int64_t together = 8;  // samples whose far vectors are asked for at once
  static constexpr std::int64_t lead = 2;      // samples, of vectors asked for one by one

  std::int64_t bytes() const { return std::int64_t{call_.dim} * 4; }

  void fill(const std::byte** list, const Vectors<Index>* vectors, std::int64_t sample) const {
    for (std::int32_t f = 0; f < call_.count; ++f) list[f] = vector_of(vectors[f], sample);
  }

  // Lists where the vectors of the lot of samples from s0 on lie, feature by feature: ids are read in order.
  void list(std::int64_t s0) {
    const std::int64_t n = std::min(listed, call_.samples - s0), count = call_.count;
    const std::byte** lot = lists_ + s0 / listed % 2 * listed * count;
    for (std::int32_t f = 0; f < call_.count; ++f) {
      const Vectors<Index> vectors = call_.vectors[f];
      for (std::int64_t s = 0; s < n; ++s) lot[s * count + f] = vector_of(vectors, s0 + s);
    }
  }

  // Where a sample's vectors lie, of this call or the next; null when there is none.
  const std::byte* const* row(std::int64_t s) const {
    if (s < call_.samples) return lists_ + s % (2 * listed) * call_.count;
    const std::int64_t later = s - call_.samples;
    return call_.next != nullptr && later < call_.next_samples ? next_lists_ + later * call_.count : nullptr;
  }

  // The far vectors of the samples from s0 on, or of the first ones of the next call.
  void bring_far(std::int64_t s0) const {
    const bool here = s0 < call_.samples;
    const Vectors<Index>* all = here ? call_.vectors : call_.next;
    if (all == nullptr) return;
    const std::int64_t first = here ? s0 : 0, last = here ? call_.samples : call_.next_samples;
    for (std::int32_t f = 0; f < call_.count; ++f) {
      if (!all[f].far) continue;
      const bool aligned = starts_at_lines(all[f]);
      for (std::int64_t s = first; s < std::min(last, first + together); ++s) {
        bring_vector<V, N>(vector_of(all[f], s), bytes(), aligned, all[f].level);
      }
    }
  }

  const Dots<Index>& call_;
  const std::byte** const lists_;       // [2 * listed, count]
  const std::byte** const next_lists_;  // [lead, count]
  Asked* const asked_;                  // [count] at most
  std::int32_t asks_ = 0, each_ = 0;
};

template <class V, bool Self, class Index>
void dots_one_by_one(const Dots<Index>& call) {
  switch (call.dim) {
    case 4 * V::width: return SampleStream<V, 4, Self, Index>(call).run();
    case 8 * V::width: return SampleStream<V, 8, Self, Index>(call).run();
    default: return SampleStream<V, 0, Self, Index>(call).run();
  }
}

}  // namespace recsmith
