// Histogram x table: the ids of a bag are counted, then each row is read once. What gm_ub and l1_ub do with long bags
// is one way; here the counts of all bags come first, in four histograms a bag so that increments of one row do not wait
// for each other, and are multiplied with the table as weights.
#pragma once

#include "tests/beyond/plain.hpp"

namespace recsmith::beyond {

template <bool Weighted>
void count_bag(const std::int64_t* ids, const float* weights, std::int64_t n, std::int64_t rows, float* four,
               float* counts) {
  for (std::int64_t i = 0; i < 4 * rows; ++i) four[i] = 0;
  std::int64_t k = 0;
  for (; k + 4 <= n; k += 4) {
    for (int j = 0; j < 4; ++j) four[j * rows + ids[k + j]] += Weighted ? weights[k + j] : 1.0f;
  }
  for (; k < n; ++k) four[ids[k]] += Weighted ? weights[k] : 1.0f;
  for (std::int64_t r = 0; r < rows; ++r) counts[r] = four[r] + four[rows + r] + four[2 * rows + r] + four[3 * rows + r];
}

// For shapes of one table.
inline Serve counting(const Shape& shape, const std::vector<Rows>& tables) {
  const Rows rows = tables[0];
  const TableShape table = shape.tables[0];
  const bool weighted = shape.weighted;
  return [=](const Batch& batch, float* out) {
    constexpr std::int64_t block = 32;
    thread_local std::vector<float> counts, four;
    thread_local std::vector<std::int64_t> every, offsets;
    counts.resize(static_cast<std::size_t>(block * rows.count)), four.resize(static_cast<std::size_t>(4 * rows.count));
    if (static_cast<std::int64_t>(every.size()) < block * rows.count || offsets.empty() || offsets[1] != rows.count) {
      every.clear(), offsets.clear();
      for (std::int64_t i = 0; i < block * rows.count; ++i) every.push_back(i % rows.count);
      for (std::int64_t i = 0; i <= block; ++i) offsets.push_back(i * rows.count);
    }
    const IndexFunctions<std::int64_t>& functions = best_target().int64;
    const auto kernel = functions.kernel(Flow::l1, rows.type, rows.dim);
    const auto count = static_cast<std::int64_t>(batch.values.size());
    if (functions.first_outside(batch.values.data(), count, rows.count) != count) std::abort();
    for (std::int64_t s0 = 0; s0 < batch.samples; s0 += block) {
      const std::int64_t n = std::min(block, batch.samples - s0);
      for (std::int64_t s = 0; s < n; ++s) {
        const std::int64_t at = (s0 + s) * table.pooling;
        const auto count_it = weighted ? count_bag<true> : count_bag<false>;
        count_it(batch.values.data() + at, weighted ? batch.weights.data() + at : nullptr, table.pooling, rows.count,
                 four.data(), counts.data() + s * rows.count);
      }
      Call<std::int64_t> call{};
      call.rows = rows, call.ids = every.data(), call.ids_end = every.data() + n * rows.count;
      call.offsets = offsets.data(), call.weights = counts.data(), call.samples = n;
      call.out = out + s0 * rows.dim, call.out_stride = rows.dim;
      kernel(call);
    }
  };
}

// Gathers every id, some bags at a time, which takes less preparing than few. For shapes of one table.
inline Serve every_id(const std::vector<Rows>& tables) {
  const Rows rows = tables[0];
  return [rows](const Batch& batch, float* out) {
    constexpr std::int64_t block = 32;
    const IndexFunctions<std::int64_t>& functions = best_target().int64;
    const auto kernel = functions.kernel(Flow::l1, rows.type, rows.dim);
    Call<std::int64_t> call{};
    call.rows = rows, call.ids = batch.values.data(), call.ids_end = call.ids + batch.values.size();
    call.weights = batch.weights.empty() ? nullptr : batch.weights.data(), call.out_stride = rows.dim;
    for (std::int64_t s0 = 0; s0 < batch.samples; s0 += block) {
      call.samples = std::min(block, batch.samples - s0);
      call.offsets = batch.offsets.data() + s0, call.out = out + s0 * rows.dim;
      const std::int64_t first = call.offsets[0], n = call.offsets[call.samples] - first;
      if (functions.first_fall(call.offsets, call.samples) != call.samples) std::abort();
      if (functions.first_outside(call.ids + first, n, rows.count) != n) std::abort();
      kernel(call);
    }
  };
}

}  // namespace recsmith::beyond
