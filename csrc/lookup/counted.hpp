// Count x table: for a bag longer than its table, each row is read once and multiplied by how often its id occurs.
#pragma once

#include "lookup/gather.hpp"

namespace recsmith {

// Whether counting is cheaper than gathering: gathering does `vectors` adds an id, counting two increments' worth an id
// and `vectors` adds a row.
template <class V>
[[gnu::always_inline]] inline bool counting_pays(const Rows& rows, std::int64_t length, std::int64_t scratch_bytes) {
  const std::int64_t vectors = (rows.dim + V::width - 1) / V::width;
  return rows.count * 4 <= scratch_bytes && length * (vectors - 2) > rows.count * (vectors + 2);
}

// How often each row occurs among the ids [begin, end), or the sum of its weights.
template <class V, bool Weighted, class Index>
[[gnu::always_inline]] inline const float* count_ids(const Call<Index>& call, std::int64_t begin, std::int64_t end) {
  float* counts = reinterpret_cast<float*>(call.scratch);
  for (std::int64_t row = 0; row < call.rows.count; ++row) counts[row] = 0.0f;
  for (std::int64_t k = begin; k < end; ++k) counts[call.ids[k]] += Weighted ? call.weights[k] : 1.0f;
  return counts;
}

// One bag. Rows that do not occur are skipped, not multiplied by zero: they may hold infinities.
template <class V, RowType T, bool Weighted, class Index>
[[gnu::noinline]] void pool_counted(const Call<Index>& call, std::int64_t begin, std::int64_t end,
                                                float* out, Writer<V> write) {
  const float* counts = count_ids<V, Weighted>(call, begin, end);
  const Rows rows = call.rows;
  const auto factor = bag_factor<V>(call.mean, end - begin);
  each_strip<V, V::strip>(
      0, rows.dim,
      [&](auto width, std::int64_t column) {
        Strip<V, T, width.value> strip;
        for (std::int64_t row = 0; row < rows.count; ++row) {
          if (counts[row] == 0.0f) continue;
          strip.template add<true>(address(rows, row), column, V::set1(counts[row]));
        }
        write_strip<V, T, width.value>(strip, out + column, factor, write);
      },
      [&](std::int64_t column, int n) {
        Strip<V, T, 1> strip;
        for (std::int64_t row = 0; row < rows.count; ++row) {
          if (counts[row] == 0.0f) continue;
          strip.template add_part<true>(address(rows, row), column, n, V::set1(counts[row]));
        }
        V::store_part(out + column, strip.vector(0, factor), n);
      });
}

// Bags, each in the cheaper of the two ways.
template <class V, RowType T, bool Weighted, class Index, class Visit>
[[gnu::always_inline]] inline void pool_cheaper(const Call<Index>& call, Visit visit) {
  const Writer<V> write(call);
  float* out = call.out;
  for (std::int64_t i = 0; i < call.samples; ++i, out += call.out_stride) {
    const std::int64_t begin = call.offsets[i], end = call.offsets[i + 1];
    if (counting_pays<V>(call.rows, end - begin, call.scratch_bytes)) {
      pool_counted<V, T, Weighted>(call, begin, end, out, write);
    } else {
      for (std::int64_t k = begin; k < end; ++k) visit(k);
      pool_any<V, T, Weighted>(call, begin, end, out, write);
    }
  }
}

// Whether the call's bags are worth counting: their mean length decides.
template <class V, class Index>
[[gnu::always_inline]] inline bool long_bags(const Call<Index>& call) {
  if (call.offsets == nullptr || call.samples == 0) return false;
  const std::int64_t length = (call.offsets[call.samples] - call.offsets[0]) / call.samples;
  return counting_pays<V>(call.rows, length, call.scratch_bytes);
}

template <class V, RowType T, class Index, bool Far>
void counted(const Call<Index>& call) {
  Ahead<V, T, 0, Index, Far> ahead(call, call.ids + call.offsets[0], call.ids + call.offsets[call.samples]);
  auto visit = [&](std::int64_t k) { ahead(call.ids + k); };
  if (call.weights != nullptr) return pool_cheaper<V, T, true>(call, visit);
  return pool_cheaper<V, T, false>(call, visit);
}

}  // namespace recsmith
