// The gather that gm and l1 share:
//   for each sample: sum = 0; for each of its ids: sum += weight * row(id), then out = sum (or sum / length)
// N is the number of vectors in a row, 0 when it is known only at run time or does not fit in registers. Far rows are
// prefetched.
#pragma once

#include <type_traits>

#include "lookup/pool.hpp"
#include "lookup/prefetch.hpp"

namespace recsmith {

template <class V, RowType T, int N, bool Weighted>
[[gnu::always_inline]] inline void copy_row(const std::byte* at, std::int64_t dim, float weight, float* out,
                                            Writer<V> write) {
  const Row<V, T> row(at);
  const auto factor = V::set1(weight);
  if constexpr (N > 0) {
#pragma GCC unroll 16
    for (int j = 0; j < N; ++j) {
      write(out + j * V::width, row.template value<Weighted>(row.raw(j * V::width), factor));
    }
  } else {
    std::int64_t column = 0;
    for (; column + V::width <= dim; column += V::width) {
      write(out + column, row.template value<Weighted>(row.raw(column), factor));
    }
    const int rest = static_cast<int>(dim - column);
    if (rest > 0) V::store_part(out + column, row.template value<Weighted>(row.raw_part(column, rest), factor), rest);
  }
}

template <class V, RowType T, int N, bool Weighted, class Index, class Prefetcher>
[[gnu::always_inline]] inline void gather_one_each(const Call<Index>& call, Prefetcher ahead) {
  const Writer<V> write(call);
  const Rows rows = call.rows;
  const Index* const ids = call.ids;
  const float* const weights = call.weights;
  const std::int64_t samples = call.samples, out_stride = call.out_stride, own = ahead.own_end() - ids;
  float* out = call.out;
  auto serve = [&](std::int64_t i) __attribute__((always_inline)) {
    copy_row<V, T, N, Weighted>(address(rows, ids[i]), rows.dim, Weighted ? weights[i] : 1.0f, out, write);
    out += out_stride;
  };
  std::int64_t i = 0;
  for (; i < own; ++i) {
    ahead.own(ids + i);
    serve(i);
  }
  for (; i < samples; ++i) {
    ahead.next();
    serve(i);
  }
}

// Sums that one strip of N vectors keeps at a time, so that an addition does not wait for the one before it: as many
// as there are registers for.
template <class V, int N>
inline constexpr int sums_apart = 4 * N <= V::strip ? 4 : 2 * N <= V::strip ? 2 : 1;

// Adds up one strip of columns over the ids [begin, end).
template <class V, RowType T, int N, bool Weighted, class Index, class Visit>
[[gnu::always_inline]] inline Strip<V, T, N> sum_strip(const Call<Index>& call, std::int64_t begin, std::int64_t end,
                                                       std::int64_t column, Visit visit) {
  constexpr int apart = sums_apart<V, N>;
  auto add = [&](Strip<V, T, N>& strip, std::int64_t k) __attribute__((always_inline)) {
    visit(k);
    strip.template add<Weighted>(address(call.rows, call.ids[k]), column,
                                 V::set1(Weighted ? call.weights[k] : 1.0f));
  };
  Strip<V, T, N> strip;
  std::int64_t k = begin;
  if (apart > 1 && end - begin >= apart) {
    Strip<V, T, N> others[apart > 1 ? apart - 1 : 1];
    for (; k + apart <= end; k += apart) {
      add(strip, k);
#pragma GCC unroll 4
      for (int i = 1; i < apart; ++i) add(others[i - 1], k + i);
    }
#pragma GCC unroll 4
    for (int i = 1; i < apart; ++i) strip.add(others[i - 1]);
  }
  for (; k < end; ++k) add(strip, k);
  return strip;
}

template <class V, RowType T, int N, class Write>
[[gnu::always_inline]] inline void write_strip(const Strip<V, T, N>& strip, float* out, typename V::F factor,
                                               Write write) {
#pragma GCC unroll 16
  for (int j = 0; j < N; ++j) write(out + j * V::width, strip.vector(j, factor));
}

// A row of any dim, strip by strip; rows are near after the first strip. Kept out of its callers: it is long, and all
// of them would hold a copy.
template <class V, RowType T, bool Weighted, class Index>
[[gnu::noinline]] void pool_any(const Call<Index>& call, std::int64_t begin, std::int64_t end, float* out,
                                Writer<V> write) {
  const std::int64_t dim = call.rows.dim;
  const auto factor = bag_factor<V>(call.mean, end - begin);
  auto nothing = [](std::int64_t) {};
  each_strip<V, V::strip>(
      0, dim,
      [&](auto width, std::int64_t column) {
        write_strip<V, T, width.value>(
            sum_strip<V, T, width.value, Weighted>(call, begin, end, column, nothing), out + column, factor, write);
      },
      [&](std::int64_t column, int n) {
        Strip<V, T, 1> strip;
        for (std::int64_t k = begin; k < end; ++k) {
          strip.template add_part<Weighted>(address(call.rows, call.ids[k]), column, n,
                                            V::set1(Weighted ? call.weights[k] : 1.0f));
        }
        V::store_part(out + column, strip.vector(0, factor), n);
      });
}

template <class V, RowType T, int N, bool Weighted, bool Far, class Index, class Prefetcher>
[[gnu::always_inline]] inline void gather_bags(const Call<Index>& call, Prefetcher ahead) {
  const Writer<V> write(call);
  const std::int64_t own = ahead.own_end() - call.ids;
  [[maybe_unused]] auto prefetch = [&](std::int64_t k) __attribute__((always_inline)) { ahead.own(call.ids + k); };
  [[maybe_unused]] auto nothing = [](std::int64_t) {};
  float* out = call.out;
  for (std::int64_t i = 0; i < call.samples; ++i, out += call.out_stride) {
    const std::int64_t begin = call.offsets[i], end = call.offsets[i + 1];
    const auto factor = bag_factor<V>(call.mean, end - begin);
    if constexpr (N > 0 && Far) {
      if (end <= own) {
        write_strip<V, T, N>(sum_strip<V, T, N, Weighted>(call, begin, end, 0, prefetch), out, factor, write);
        continue;
      }
    }
    if (Far || end > own) {
      for (std::int64_t k = begin; k < end; ++k) ahead(call.ids + k);
    }
    if constexpr (N > 0) {
      write_strip<V, T, N>(sum_strip<V, T, N, Weighted>(call, begin, end, 0, nothing), out, factor, write);
    } else {
      pool_any<V, T, Weighted>(call, begin, end, out, write);
    }
  }
}

template <class V, RowType T, int N, class Index, bool Far>
void gather(const Call<Index>& call) {
  if (call.samples == 0) return;
  if (call.offsets == nullptr) {
    const Ahead<V, T, N, Index, Far> ahead(call, call.ids, call.ids + call.samples);
    if (call.weights != nullptr) return gather_one_each<V, T, 0, true>(call, ahead);
    return gather_one_each<V, T, N, false>(call, ahead);
  }
  const Ahead<V, T, N, Index, Far> ahead(call, call.ids + call.offsets[0], call.ids + call.offsets[call.samples]);
  if (call.weights != nullptr) return gather_bags<V, T, N, true, Far>(call, ahead);
  return gather_bags<V, T, N, false, Far>(call, ahead);
}

}  // namespace recsmith
