// Prefetching ahead of the look-ups: rows of this call, then the head of the next one.
#pragma once

#include "lookup/row.hpp"

namespace recsmith {

// Rows that start at cache lines touch no more lines than their bytes fill; others may reach into one more.
[[gnu::always_inline]] inline bool starts_at_lines(const Rows& rows) {
  return (reinterpret_cast<std::uintptr_t>(rows.base) | static_cast<std::uintptr_t>(rows.stride)) % 64 == 0;
}

// Prefetches every cache line of a row. The empty statement keeps GCC from dropping calls to functions that do nothing
// but prefetch, which it takes for functions without effect.
template <class V, Prefetch Level>
[[gnu::always_inline]] inline void prefetch_lines(const std::byte* row, std::int64_t bytes, bool aligned) {
  asm volatile("");
  for (std::int64_t at = 0; at < bytes; at += 64) V::template prefetch<Level>(row + at);
  if (!aligned) V::template prefetch<Level>(row + bytes - 1);
}

template <class V>
[[gnu::always_inline]] inline void prefetch_row(const std::byte* row, std::int64_t bytes, bool aligned,
                                                Prefetch level) {
  if (level == Prefetch::t1) return prefetch_lines<V, Prefetch::t1>(row, bytes, aligned);
  if (level == Prefetch::t0) return prefetch_lines<V, Prefetch::t0>(row, bytes, aligned);
  if (level == Prefetch::nta) return prefetch_lines<V, Prefetch::nta>(row, bytes, aligned);
}

// Rows of n ids.
template <class V, class Index>
void prefetch_rows(const Rows& rows, const Index* ids, std::int64_t n, Prefetch level) {
  const std::int64_t bytes = row_bytes(rows.type, rows.dim);
  const bool aligned = starts_at_lines(rows);
  for (std::int64_t i = 0; i < n; ++i) prefetch_row<V>(address(rows, ids[i]), bytes, aligned, level);
}

// A rolling stream of prefetches: each look-up first prefetches the row `distance` look-ups ahead, and the last ones
// the head of the next call, several rows a step when this call has few ids. Without Own (rows that are near
// already) only the next call's. N as in gather.hpp.
template <class V, RowType T, int N, class Index, bool Own>
class Ahead {
 public:
  // [begin, end): the ids that this call looks up.
  Ahead(const Call<Index>& call, const Index* begin, const Index* end)
      : rows_(call.rows), level_(call.level), distance_(call.distance), own_end_(end), aligned_(starts_at_lines(call.rows)) {
    std::int64_t tail = 0;
    if (Own && level_ != Prefetch::none && distance_ > 0) {
      tail = distance_ - (call.ids_end > end ? call.ids_end - end : 0);
    } else {
      level_ = Prefetch::none;
      distance_ = 0;  // there may be no id further on
      if (call.next != nullptr) tail = call.next->distance;
    }
    if (tail < 0) tail = 0;
    if (tail > end - begin) tail = end - begin;
    own_end_ = end - tail;
    if (call.next != nullptr && tail > 0) follow(*call.next, tail);
  }

  // Ids from here on prefetch the next call's rows, those before their own successors'.
  const Index* own_end() const { return own_end_; }

  [[gnu::always_inline]] void own(const Index* id) const {
    if constexpr (Own) {
      const std::int64_t bytes = row_bytes(T, N > 0 ? N * V::width : rows_.dim);
      prefetch_row<V>(address(rows_, id[distance_]), bytes, aligned_, level_);
    }
  }

  [[gnu::always_inline]] void next() {
    for (int i = 0; i < step_ && next_ < next_end_; ++i, ++next_) {
      prefetch_row<V>(address(next_rows_, *next_), next_bytes_, next_aligned_, next_level_);
    }
  }

  [[gnu::always_inline]] void operator()(const Index* id) {
    if (id < own_end_) {
      own(id);
    } else {
      next();
    }
  }

 private:
  void follow(const Next<Index>& next, std::int64_t steps) {
    const std::int64_t count = next.count < next.distance ? next.count : next.distance;
    next_rows_ = next.rows;
    next_ = next.ids;
    next_end_ = next.ids + count;
    next_bytes_ = row_bytes(next.rows.type, next.rows.dim);
    next_aligned_ = starts_at_lines(next.rows);
    next_level_ = next.level;
    step_ = static_cast<int>((count + steps - 1) / steps);
  }

  Rows rows_;
  Prefetch level_;
  std::int64_t distance_;
  const Index* own_end_;
  bool aligned_;
  bool next_aligned_ = false;
  Rows next_rows_{};
  const Index* next_ = nullptr;
  const Index* next_end_ = nullptr;
  std::int64_t next_bytes_ = 0;
  Prefetch next_level_ = Prefetch::none;
  int step_ = 0;
};

}  // namespace recsmith
