// Ids ahead of their use: they come from far away and are needed before their rows are.
#pragma once

#include <algorithm>

#include "engine/input.hpp"

namespace recsmith::engine {

// Ids checked at a time: few enough to stay in the first cache until they are looked up.
inline constexpr std::int64_t checked_ids = 512;
// Of long bags more: what a block takes apart from its ids is paid once for so many bags. 2048 samples of 150 ids in
// three bags, all rows near, 2 threads, medians of two runs in turns: 182 and 190 us with blocks of 10 bags, 146 and 151
// with 32; 137 to 143 with 96 and 145 to 150 with 256 (AMD EPYC 26/2/1, 2026-11-21).
inline constexpr std::int64_t fewest_bags = 96;

// Ids in a bag, on average. Only a guide, since the offsets have not been checked yet.
template <class Index>
std::int64_t mean_length(const Input<Index>& input, std::int32_t feature, std::int64_t first, std::int64_t last) {
  if (last <= first || input.offsets == nullptr) return 1;
  const Index* offsets = input.offsets + feature * input.batch;
  const double ids = static_cast<double>(offsets[last]) - static_cast<double>(offsets[first]);
  const double mean = ids / static_cast<double>(last - first);
  return mean >= 1 && mean < 1e9 ? static_cast<std::int64_t>(mean) : 1;
}

template <class Index>
void fetch(const Index* begin, const Index* end) {
  constexpr std::int64_t line = 64 / sizeof(Index);
  for (; begin < end; begin += line) __builtin_prefetch(begin);
}

// Fetches the ids of a feature's samples [s0, s1). Offsets that have not been checked yet may say anything.
template <class Index>
void expect(const Input<Index>& input, std::int32_t feature, std::int64_t s0, std::int64_t s1, std::int64_t length) {
  const std::int64_t at = feature * input.batch;
  std::int64_t first = at + s0, last = at + s1;
  if (input.offsets != nullptr) {
    fetch(input.offsets + at + s0, input.offsets + at + s1 + 1);
    first = input.offsets[at + s0];
    if (first < 0 || first > input.length) return;
    last = std::min(input.length, first + std::min(length * (s1 - s0), 2 * checked_ids));
  }
  fetch(input.values + first, input.values + last);
}

}  // namespace recsmith::engine
