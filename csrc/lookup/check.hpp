// Checks of ids and offsets: one pass without branches in blocks that the compiler turns into vectors of the target,
// then an exact search in the block at fault.
#pragma once

#include <type_traits>

#include "lookup/call.hpp"

namespace recsmith {

// Position of the first block of N from `i` on in which something is bad, or of what is left.
template <int N, class Bad>
[[gnu::always_inline]] inline std::int64_t skip_good(std::int64_t i, std::int64_t n, Bad bad) {
  for (; i + N <= n; i += N) {
    unsigned found = 0;
    for (std::int64_t k = 0; k < N; ++k) found |= bad(i + k) ? 1u : 0u;
    if (found != 0) break;
  }
  return i;
}

// Position of the first i < n with bad(i), or n.
template <class V, class Bad>
[[gnu::always_inline]] inline std::int64_t first(std::int64_t n, Bad bad) {
  std::int64_t i = skip_good<16>(skip_good<64>(0, n, bad), n, bad);
  while (i < n && !bad(i)) ++i;
  return i;
}

// Unsigned, so that negative ids are too large.
template <class V, class Index>
std::int64_t first_outside(const Index* ids, std::int64_t n, std::int64_t rows) {
  using Unsigned = std::make_unsigned_t<Index>;
  constexpr std::int64_t highest = static_cast<std::int64_t>(static_cast<Unsigned>(-1) / 2);
  if (rows <= 0) return 0;
  const auto last = static_cast<Unsigned>(rows - 1 < highest ? rows - 1 : highest);
  return first<V>(n, [=](std::int64_t i) { return static_cast<Unsigned>(ids[i]) > last; });
}

// Whether all of a few ids are inside: for tiles, whose ids are checked right before they are used.
template <class Index>
[[gnu::always_inline]] inline bool all_inside(const Index* ids, std::int64_t n, std::int64_t rows) {
  using Unsigned = std::make_unsigned_t<Index>;
  constexpr std::int64_t highest = static_cast<std::int64_t>(static_cast<Unsigned>(-1) / 2);
  const auto last = static_cast<Unsigned>(rows - 1 < highest ? rows - 1 : highest);
  unsigned outside = 0;
  for (std::int64_t i = 0; i < n; ++i) outside |= static_cast<Unsigned>(ids[i]) > last ? 1u : 0u;
  return outside == 0 && rows > 0;
}

template <class V, class Index>
std::int64_t first_fall(const Index* offsets, std::int64_t n) {
  return first<V>(n, [=](std::int64_t i) { return offsets[i] > offsets[i + 1]; });
}

// offsets[0] + i for every i: one subtraction less than comparing neighbours, and no overflow for any input.
template <class V, class Index>
bool one_each(const Index* offsets, std::int64_t n) {
  using Unsigned = std::make_unsigned_t<Index>;
  const auto start = static_cast<Unsigned>(offsets[0]);
  return first<V>(n + 1, [=](std::int64_t i) {
           return static_cast<Unsigned>(static_cast<Unsigned>(offsets[i]) - start) != static_cast<Unsigned>(i);
         }) == n + 1;
}

}  // namespace recsmith
