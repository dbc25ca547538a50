// Which ids have a finished row and where: open addressing, one probe as a rule.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace recsmith {

class Slots {
 public:
  explicit Slots(std::int64_t entries) { clear(entries); }

  // Room for `entries` ids, none of them in it.
  void clear(std::int64_t entries) {
    const auto size = std::bit_ceil(static_cast<std::uint64_t>(entries < 4 ? 8 : 2 * entries));
    mask_ = size - 1;
    entries_.assign(size, Entry{empty, 0});
    used_ = 0;
  }

  // The slot of `id`, or -1.
  std::int64_t find(std::int64_t id) const {
    for (std::uint64_t at = home(id);; at = (at + 1) & mask_) {
      if (entries_[at].id == id) return entries_[at].slot;
      if (entries_[at].id == empty) return -1;
    }
  }

  // Have what `find(id)` reads first brought near.
  void prefetch(std::int64_t id) const { __builtin_prefetch(&entries_[home(id)]); }

  // The slot of `id`; if it has none yet, `slot` becomes it.
  std::int64_t find_or_add(std::int64_t id, std::int64_t slot) {
    for (std::uint64_t at = home(id);; at = (at + 1) & mask_) {
      if (entries_[at].id == id) return entries_[at].slot;
      if (entries_[at].id == empty) {
        entries_[at] = {id, slot};
        ++used_;
        return slot;
      }
    }
  }

  std::int64_t size() const { return used_; }

 private:
  static constexpr std::int64_t empty = -1;  // ids are not negative

  struct Entry {
    std::int64_t id, slot;
  };

  std::uint64_t home(std::int64_t id) const {
    return (static_cast<std::uint64_t>(id) * 0x9E3779B97F4A7C15ull >> 20) & mask_;
  }

  std::uint64_t mask_ = 0;
  std::vector<Entry> entries_;
  std::int64_t used_ = 0;
};

// Row numbers for a batch's ids: those in `hot` keep their slot, each other distinct id gets the next one from `first` on and
// is noted in `missing` once. Returns how many are missing; `hits` counts ids (with repeats) found in `hot`.
template <class Index>
std::int64_t resolve(const Slots& hot, Slots& fresh, const Index* ids, std::int64_t count, std::int64_t first,
                     std::int64_t* slots, std::int64_t* missing, std::int64_t& hits) {
  constexpr std::int64_t ahead = 16;
  std::int64_t found = 0;
  hits = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (i + ahead < count) hot.prefetch(ids[i + ahead]);
    std::int64_t slot = hot.find(ids[i]);
    if (slot >= 0) {
      ++hits;
    } else {
      slot = fresh.find_or_add(ids[i], first + found);
      if (slot == first + found) missing[found++] = ids[i];
    }
    slots[i] = slot;
  }
  return found;
}

}  // namespace recsmith
