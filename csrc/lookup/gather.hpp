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

// Adds up one strip of columns over the ids [begin, end). Narrow strips take odd and even ids apart, so that an addition
// does not wait for the one before it.
template <class V, RowType T, int N, bool Weighted, class Index, class Visit>
[[gnu::always_inline]] inline Strip<V, T, N> sum_strip(const Call<Index>& call, std::int64_t begin, std::int64_t end,
                                                       std::int64_t column, Visit visit) {
  auto add = [&](Strip<V, T, N>& strip, std::int64_t k) __attribute__((always_inline)) {
    visit(k);
    strip.template add<Weighted>(address(call.rows, call.ids[k]), column,
                                 V::set1(Weighted ? call.weights[k] : 1.0f));
  };
  Strip<V, T, N> strip;
  std::int64_t k = begin;
  if constexpr (2 * N <= V::strip) {
    Strip<V, T, N> odd;
    for (; k + 1 < end; k += 2) {
      add(strip, k);
      add(odd, k + 1);
    }
    strip.add(odd);
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

template <class V, RowType T, int N, bool Weighted, class Index, class Prefetcher>
[[gnu::always_inline]] inline void gather_bags(const Call<Index>& call, Prefetcher ahead) {
  const Writer<V> write(call);
  float* out = call.out;
  for (std::int64_t i = 0; i < call.samples; ++i, out += call.out_stride) {
    const std::int64_t begin = call.offsets[i], end = call.offsets[i + 1];
    auto visit = [&](std::int64_t k) __attribute__((always_inline)) { ahead(call.ids + k); };
    if constexpr (N > 0) {
      const auto strip = sum_strip<V, T, N, Weighted>(call, begin, end, 0, visit);
      write_strip<V, T, N>(strip, out, bag_factor<V>(call.mean, end - begin), write);
    } else {
      for (std::int64_t k = begin; k < end; ++k) visit(k);
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
  if (call.weights != nullptr) return gather_bags<V, T, N, true>(call, ahead);
  return gather_bags<V, T, N, false>(call, ahead);
}

}  // namespace recsmith
