// Rows whose addresses are known, of several features, written sample by sample: the output is filled in order, which
// memory takes faster than columns that lie a sample apart.
#pragma once

#include "lookup/gather.hpp"

namespace recsmith {

template <class V, RowType T, int N>
void copy_listed(const Listed& list) {
  const std::int64_t dim = N > 0 ? N * V::width : list.dim, bytes = row_bytes(T, dim);
  const std::int64_t spacing = dim % V::width == 0 ? list.out_stride : 1;
  const Writer<V> write(list.stream, list.out, spacing);
  const std::byte* const* row = list.rows;
  const std::byte* const* ahead = list.ahead;
  for (std::int64_t i = 0; i < list.samples; ++i) {
    float* out = list.out + i * list.out_stride;
    for (std::int32_t f = 0; f < list.features; ++f, ++row, out += dim) {
      if (ahead != nullptr) prefetch_row<V>(*ahead++, bytes, list.aligned, list.level);
      copy_row<V, T, N, false>(*row, dim, 1.0f, out, write);
    }
  }
}

template <class V, RowType T, int Dim>
CopyListed listed_of_dim() {
  constexpr int vectors = Dim / V::width;
  return copy_listed<V, T, Dim % V::width == 0 && vectors <= V::strip ? vectors : 0>;
}

template <class V, RowType T>
CopyListed listed_of_type(std::int32_t dim) {
  switch (dim) {
    case 16: return listed_of_dim<V, T, 16>();
    case 32: return listed_of_dim<V, T, 32>();
    case 64: return listed_of_dim<V, T, 64>();
    case 128: return listed_of_dim<V, T, 128>();
    default: return copy_listed<V, T, 0>;
  }
}

template <class V>
CopyListed listed(RowType type, std::int32_t dim) {
  switch (type) {
    case RowType::fp32: return listed_of_type<V, RowType::fp32>(dim);
    case RowType::fp16: return listed_of_type<V, RowType::fp16>(dim);
    case RowType::bf16: return listed_of_type<V, RowType::bf16>(dim);
    case RowType::int8: return listed_of_type<V, RowType::int8>(dim);
    case RowType::int4: return listed_of_type<V, RowType::int4>(dim);
  }
  return nullptr;
}

}  // namespace recsmith
