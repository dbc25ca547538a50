// De-duplication: each distinct id of a feature is gathered once, into a compact table of floats; bags are then served
// from there.
#pragma once

#include "tests/beyond/plain.hpp"

namespace recsmith::beyond {

// Numbers the distinct ids of a run, in order of first occurrence.
class Numbering {
 public:
  // Writes each id's number to `number`; `distinct` has room for all n. Returns how many there are.
  std::int64_t run(const std::int64_t* ids, std::int64_t n, std::int64_t* number, std::int64_t* distinct) {
    int bits = 4;
    while ((std::int64_t{1} << bits) < 2 * n) ++bits;
    if (slots_.size() != std::size_t{1} << bits) slots_.assign(std::size_t{1} << bits, {-1, 0, 0}), stamp_ = 0;
    ++stamp_;
    const std::uint64_t mask = slots_.size() - 1;
    std::int64_t found = 0;
    for (std::int64_t k = 0; k < n; ++k) {
      std::uint64_t at = static_cast<std::uint64_t>(ids[k]) * 0x9e3779b97f4a7c15ull >> (64 - bits);
      while (slots_[at].stamp == stamp_ && slots_[at].id != ids[k]) at = (at + 1) & mask;
      if (slots_[at].stamp != stamp_) {
        slots_[at] = {ids[k], stamp_, static_cast<std::int32_t>(found)};
        distinct[found++] = ids[k];
      }
      number[k] = slots_[at].number;
    }
    return found;
  }

 private:
  struct Slot {
    std::int64_t id;
    std::int32_t stamp, number;
  };
  std::vector<Slot> slots_;
  std::int32_t stamp_ = 0;
};

inline Serve distinct(const Shape& shape, const std::vector<Rows>& tables) {
  const std::int64_t columns = width(shape);
  return [=](const Batch& batch, float* out) {
    thread_local Numbering numbering;
    thread_local std::vector<std::int64_t> numbers, once;
    thread_local std::vector<float> near;
    const IndexFunctions<std::int64_t>& functions = best_target().int64;
    std::int64_t at = 0;
    for (std::size_t t = 0; t < tables.size(); ++t) {
      const Rows rows = tables[t];
      const std::int64_t n = batch.samples * shape.tables[t].pooling;
      const std::int64_t* ids = batch.values.data() + at;
      if (static_cast<std::int64_t>(numbers.size()) < n) numbers.resize(n), once.resize(n);
      if (static_cast<std::int64_t>(near.size()) < n * rows.dim) near.resize(n * rows.dim);
      if (functions.first_outside(ids, n, rows.count) != n) std::abort();
      const std::int64_t found = numbering.run(ids, n, numbers.data(), once.data());
      Call<std::int64_t> call{};
      call.rows = rows, call.ids = once.data(), call.ids_end = once.data() + found, call.samples = found;
      call.out = near.data(), call.out_stride = rows.dim, call.level = Prefetch::t1, call.distance = 24;
      functions.prefetch(rows, once.data(), std::min<std::int64_t>(24, found), Prefetch::t1);
      functions.kernel(Flow::gm, rows.type, rows.dim)(call);
      call.rows = {reinterpret_cast<const std::byte*>(near.data()), found, rows.dim * 4, rows.dim, RowType::fp32};
      call.ids = numbers.data(), call.ids_end = numbers.data() + n, call.samples = batch.samples;
      call.level = Prefetch::none, call.distance = 0, call.out = out, call.out_stride = columns;
      const std::int64_t* offsets = batch.offsets.data() + static_cast<std::int64_t>(t) * batch.samples;
      if (!batch.offsets.empty()) call.offsets = offsets, call.ids -= offsets[0];
      functions.kernel(Flow::l1, RowType::fp32, rows.dim)(call);
      at += n, out += rows.dim;
    }
  };
}

}  // namespace recsmith::beyond
