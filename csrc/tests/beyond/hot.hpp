// Hot-row ranges: the most frequent rows lie side by side, so that no cache line, and no page, of theirs holds cold
// rows. Either they are copied, and a small directory says of each id whether its row is among them, or the whole table
// is stored in order of frequency and ids come as ranks.
#pragma once

#include "tests/beyond/plain.hpp"

namespace recsmith::beyond {

// Copies of the hot rows of a table, in the room behind it from row `first` on, where kernels take them for other rows.
// Each is at the place that its id hashes to unless a hotter one has it, so that finding one takes no branch.
class HotRows {
 public:
  HotRows(const Rows& rows, std::int64_t first, std::int64_t bytes) : first_(first) {
    while ((rows.stride << (bits_ + 1)) <= bytes) ++bits_;
    ids_.assign(static_cast<std::size_t>(places()), -1);
    for (std::int64_t rank = 0; rank < std::min(rows.count, 2 * places()); ++rank) {
      const std::int64_t id = scattered(rank, rows.count);
      auto& held = ids_[place(id)];
      if (held >= 0) continue;
      held = static_cast<std::int32_t>(id);
      auto* copy = const_cast<std::byte*>(address(rows, first + static_cast<std::int64_t>(place(id))));
      std::memcpy(copy, address(rows, id), static_cast<std::size_t>(rows.stride));
    }
  }

  std::int64_t places() const { return std::int64_t{1} << bits_; }

  std::int64_t find(std::int64_t id) const {
    const std::uint64_t at = place(id);
    const std::int64_t hot = -static_cast<std::int64_t>(ids_[at] == id);
    return ((first_ + static_cast<std::int64_t>(at)) & hot) | (id & ~hot);
  }

 private:
  std::uint64_t place(std::int64_t id) const {
    return static_cast<std::uint64_t>(id) * 0x9e3779b97f4a7c15ull >> (64 - bits_);
  }
  std::int64_t first_;
  int bits_ = 4;
  std::vector<std::int32_t> ids_;
};

inline constexpr std::int64_t hot_bytes[] = {32 << 10, 256 << 10};
inline constexpr std::int64_t hot_room = (32 << 10) + (256 << 10);

// One id a sample; copies of up to hot_bytes[size] of each table.
inline Serve hot(const Shape& shape, const std::vector<Rows>& tables, int size) {
  auto held = std::make_shared<std::vector<HotRows>>();
  std::vector<Rows> longer = tables;
  for (Rows& rows : longer) {
    const std::int64_t first = rows.count + (size == 0 ? 0 : hot_bytes[0] / rows.stride);
    held->emplace_back(rows, first, hot_bytes[size]);
    rows.count = first + held->back().places();
  }
  auto engine = make_engine(longer, {"", 0, false, Prefetch::t1, 48}, false);
  const std::int64_t columns = width(shape);
  return [=](const Batch& batch, float* out) {
    thread_local std::vector<std::int64_t> ids;
    ids.resize(batch.values.size());
    for (std::size_t t = 0; t < tables.size(); ++t) {
      const std::int64_t at = static_cast<std::int64_t>(t) * batch.samples;
      const std::int64_t* given = batch.values.data() + at;
      if (best_target().int64.first_outside(given, batch.samples, tables[t].count) != batch.samples) std::abort();
      for (std::int64_t i = 0; i < batch.samples; ++i) ids[at + i] = (*held)[t].find(given[i]);
    }
    const auto count = static_cast<std::int64_t>(ids.size());
    run_engine(*engine, ids.data(), count, nullptr, nullptr, batch.samples, out, columns);
  };
}

}  // namespace recsmith::beyond
