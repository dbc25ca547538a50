// One row each of several neighbouring features, copied in tiles: a few samples of a feature, then the same samples of
// the next one. The output is filled nearly in order, which memory takes faster than columns that lie a sample apart,
// and what is known of a feature stays in registers for a tile.
#pragma once

#include <algorithm>

#include "lookup/check.hpp"
#include "lookup/gather.hpp"

namespace recsmith {

// Samples a tile: their vectors, and the next tile's rows, which are prefetched meanwhile, stay in a private cache.
inline constexpr std::int64_t tile_samples = 8;
// Every feature's ids are a stream of their own, too many and too short for the hardware to follow.
inline constexpr std::int64_t ids_ahead = 8 * tile_samples;

// Where the row of an id would lie that has not been checked: for prefetches, which may go anywhere.
template <class Index>
[[gnu::always_inline]] inline const std::byte* hint(const Column<Index>& column, Index id) {
  const auto base = reinterpret_cast<std::uintptr_t>(column.base), stride = static_cast<std::uintptr_t>(column.stride);
  return reinterpret_cast<const std::byte*>(base + static_cast<std::uintptr_t>(id) * stride);
}

// One tile of one feature. The rows of ids [samples, 2 * samples) are prefetched when Far.
template <class V, RowType T, int N, bool Far, class Index>
[[gnu::always_inline]] inline void copy_tile(const Column<Index>& column, const Index* ids, std::int64_t samples,
                                             std::int64_t dim, const Tiles<Index>& tiles, float* out,
                                             Writer<V> write) {
  const std::int64_t bytes = row_bytes(T, dim);
  for (std::int64_t i = 0; i < samples; ++i, out += tiles.out_stride) {
    if (Far) prefetch_row<V>(hint(column, ids[i + samples]), bytes, tiles.aligned, tiles.level);
    copy_row<V, T, N, false>(column.base + static_cast<std::int64_t>(ids[i]) * column.stride, dim, 1.0f, out, write);
  }
}

template <class V, RowType T, int N, class Index>
std::int64_t copy_tiles(const Tiles<Index>& tiles) {
  const std::int64_t dim = N > 0 ? N * V::width : tiles.dim;
  const Writer<V> write(tiles.stream, tiles.out, dim % V::width == 0 ? tiles.out_stride : 1);
  for (std::int64_t s = 0; s < tiles.samples; s += tile_samples) {
    const std::int64_t samples = std::min(tile_samples, tiles.samples - s);
    float* out = tiles.out + s * tiles.out_stride;
    for (const Column<Index>* column = tiles.columns; column < tiles.columns + tiles.features; ++column, out += dim) {
      const Index* ids = column->ids + s;
      if (samples < tile_samples) {
        if (!all_inside(ids, samples, column->rows)) return s;
        copy_tile<V, T, N, false>(*column, ids, samples, dim, tiles, out, write);
        continue;
      }
      if (!all_inside(ids, tile_samples, column->rows)) return s;
      V::template prefetch<Prefetch::t0>(reinterpret_cast<const std::byte*>(ids) + ids_ahead * sizeof(Index));
      if (column->ids_end - ids >= 2 * tile_samples) {
        copy_tile<V, T, N, true>(*column, ids, tile_samples, dim, tiles, out, write);
      } else {
        copy_tile<V, T, N, false>(*column, ids, tile_samples, dim, tiles, out, write);
      }
    }
  }
  return tiles.samples;
}

template <class V, RowType T, int Dim, class Index>
CopyTiles<Index> tiles_of_dim() {
  constexpr int vectors = Dim / V::width;
  return copy_tiles<V, T, Dim % V::width == 0 && vectors <= V::strip ? vectors : 0, Index>;
}

template <class V, RowType T, class Index>
CopyTiles<Index> tiles_of_type(std::int32_t dim) {
  switch (dim) {
    case 8: return tiles_of_dim<V, T, 8, Index>();
    case 16: return tiles_of_dim<V, T, 16, Index>();
    case 32: return tiles_of_dim<V, T, 32, Index>();
    case 64: return tiles_of_dim<V, T, 64, Index>();
    case 128: return tiles_of_dim<V, T, 128, Index>();
    default: return copy_tiles<V, T, 0, Index>;
  }
}

template <class V, class Index>
CopyTiles<Index> tiles(RowType type, std::int32_t dim) {
  switch (type) {
    case RowType::fp32: return tiles_of_type<V, RowType::fp32, Index>(dim);
    case RowType::fp16: return tiles_of_type<V, RowType::fp16, Index>(dim);
    case RowType::bf16: return tiles_of_type<V, RowType::bf16, Index>(dim);
    case RowType::int8: return tiles_of_type<V, RowType::int8, Index>(dim);
    case RowType::int4: return tiles_of_type<V, RowType::int4, Index>(dim);
  }
  return nullptr;
}

}  // namespace recsmith
