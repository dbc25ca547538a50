// GM-UB: the table is streamed through the scratch buffer in chunks and gathered there ([ASYM] section 3):
//   bucket the ids by chunk; for each chunk that is asked for: copy it, then out[sample] += weight * chunk[row]
// What is read depends on the table, hardly on the ids. Long bags over tiny tables are counted instead.
// The scratch buffer holds [chunk | bucket ends | entries]; with room for all ids each chunk is copied once, with less
// once for every so many ids, and with too little the call is served as gm.
#pragma once

#include <cstring>

#include "lookup/counted.hpp"
#include "lookup/gm.hpp"

namespace recsmith {

// One look-up, filed under its chunk. Positions count from the block's first id and from the call's first sample.
struct Entry {
  std::int32_t position;
  std::int32_t sample;
};

struct Chunks {
  std::int64_t rows;      // a chunk: a power of two, or the whole table
  int shift;              // id >> shift is its chunk
  std::int64_t count;     // chunks
  std::int64_t capacity;  // entries that fit, 0 when the buffer is too small to be of use
  std::byte* chunk;
  std::int32_t* ends;  // [count + 1]
  Entry* entries;
};

static_assert(sizeof(Entry) == filed_bytes);

// Up to half of the buffer for the chunk, the rest for bucketing.
template <class V>
Chunks divide(const Rows& rows, std::byte* scratch, std::int64_t scratch_bytes) {
  constexpr std::int64_t least_entries = 64, most_entries = 1 << 30;
  Chunks chunks{};
  if (scratch == nullptr) return chunks;
  const std::int64_t most_bytes = scratch_bytes / 2 < most_chunk_bytes ? scratch_bytes / 2 : most_chunk_bytes;
  const std::int64_t bytes = row_bytes(rows.type, rows.dim), fit = most_bytes / rows.stride;
  if (fit < 1 || bytes > rows.stride) return Chunks{};
  chunks.shift = fit < rows.count ? 63 - __builtin_clzll(static_cast<unsigned long long>(fit)) : 62;
  chunks.rows = fit < rows.count ? std::int64_t{1} << chunks.shift : rows.count;
  chunks.count = (rows.count + chunks.rows - 1) / chunks.rows;
  const std::int64_t chunk_bytes = (chunks.rows * rows.stride + 63) / 64 * 64;
  const std::int64_t ends_bytes = ((chunks.count + 1) * 4 + 63) / 64 * 64;
  const std::int64_t left = (scratch_bytes - chunk_bytes - ends_bytes) / static_cast<std::int64_t>(sizeof(Entry));
  if (left < least_entries) return Chunks{};
  chunks.capacity = left < most_entries ? left : most_entries;
  chunks.chunk = scratch;
  chunks.ends = reinterpret_cast<std::int32_t*>(scratch + chunk_bytes);
  chunks.entries = reinterpret_cast<Entry*>(scratch + chunk_bytes + ends_bytes);
  return chunks;
}

// Files the ids [begin, end) by chunk; `sample` is the bag that id `begin` lies in. Returns the bag of id `end`.
// Afterwards the entries of chunk c are ends[c - 1] .. ends[c] - 1.
template <class V, class Index>
std::int64_t bucket(const Call<Index>& call, const Chunks& chunks, std::int64_t begin, std::int64_t end,
                    std::int64_t sample) {
  std::int32_t* starts = chunks.ends;
  for (std::int64_t c = 0; c <= chunks.count; ++c) starts[c] = 0;
  for (std::int64_t k = begin; k < end; ++k) ++starts[(std::int64_t{call.ids[k]} >> chunks.shift) + 1];
  for (std::int64_t c = 0; c < chunks.count; ++c) starts[c + 1] += starts[c];
  for (std::int64_t k = begin; k < end; ++k) {
    if (call.offsets == nullptr) {
      sample = k;
    } else {
      while (call.offsets[sample + 1] <= k) ++sample;
    }
    const std::int64_t chunk = std::int64_t{call.ids[k]} >> chunks.shift;
    chunks.entries[starts[chunk]++] = {static_cast<std::int32_t>(k - begin), static_cast<std::int32_t>(sample)};
  }
  return sample;
}

// out += weight * row
template <class V, RowType T, bool Weighted>
[[gnu::always_inline]] inline void add_row(const std::byte* at, std::int64_t dim, float weight, float* out) {
  const Row<V, T> row(at);
  const auto factor = V::set1(weight);
  std::int64_t column = 0;
  for (; column + V::width <= dim; column += V::width) {
    const auto value = row.template value<Weighted>(row.raw(column), factor);
    V::store(out + column, V::add(V::load(out + column), value));
  }
  const int rest = static_cast<int>(dim - column);
  if (rest == 0) return;
  const auto value = row.template value<Weighted>(row.raw_part(column, rest), factor);
  V::store_part(out + column, V::add(V::load_part(out + column, rest), value), rest);
}

// Serves the filed look-ups, chunk by chunk.
template <class V, RowType T, bool Weighted, class Index>
void serve(const Call<Index>& call, const Chunks& chunks, std::int64_t begin) {
  const Rows& rows = call.rows;
  const Writer<V> write(call);
  std::int32_t entry = 0;
  for (std::int64_t c = 0; c < chunks.count; ++c) {
    if (entry == chunks.ends[c]) continue;
    const std::int64_t start = c * chunks.rows, left = rows.count - start;
    const std::int64_t whole = (left < chunks.rows ? left : chunks.rows) - 1;
    std::memcpy(chunks.chunk, rows.base + start * rows.stride, whole * rows.stride + row_bytes(T, rows.dim));
    for (; entry < chunks.ends[c]; ++entry) {
      const std::int64_t k = begin + chunks.entries[entry].position;
      const std::byte* row = chunks.chunk + (call.ids[k] - start) * rows.stride;
      float* out = call.out + chunks.entries[entry].sample * call.out_stride;
      const float weight = Weighted ? call.weights[k] : 1.0f;
      if (call.offsets == nullptr) {
        copy_row<V, T, 0, Weighted>(row, rows.dim, weight, out, write);
      } else {
        add_row<V, T, Weighted>(row, rows.dim, weight, out);
      }
    }
  }
}

template <class V, class Index>
void clear(const Call<Index>& call) {
  for (std::int64_t i = 0; i < call.samples; ++i) {
    std::memset(call.out + i * call.out_stride, 0, static_cast<std::size_t>(call.rows.dim) * sizeof(float));
  }
}

template <class V, class Index>
void divide_by_lengths(const Call<Index>& call) {
  for (std::int64_t i = 0; i < call.samples; ++i) {
    const std::int64_t length = call.offsets[i + 1] - call.offsets[i];
    if (length < 2) continue;
    float* out = call.out + i * call.out_stride;
    const float factor = 1.0f / static_cast<float>(length);
    for (std::int32_t column = 0; column < call.rows.dim; ++column) out[column] *= factor;
  }
}

// What a chunk serves is bound by the copy and the filing, so that one version for all dims is enough.
template <class V, RowType T, class Index>
void stream_chunks(const Call<Index>& call, const Chunks& chunks) {
  const bool bags = call.offsets != nullptr;
  if (bags) clear<V>(call);
  const std::int64_t first = bags ? call.offsets[0] : 0, last = bags ? call.offsets[call.samples] : call.samples;
  std::int64_t sample = 0;
  for (std::int64_t begin = first; begin < last; begin += chunks.capacity) {
    const std::int64_t end = last - begin < chunks.capacity ? last : begin + chunks.capacity;
    sample = bucket<V>(call, chunks, begin, end, sample);
    if (call.weights != nullptr) {
      serve<V, T, true>(call, chunks, begin);
    } else {
      serve<V, T, false>(call, chunks, begin);
    }
  }
  if (bags && call.mean) divide_by_lengths<V>(call);
}

template <class V, RowType T, int N, class Index>
void gm_ub(const Call<Index>& call) {
  if (long_bags<V>(call)) return counted<V, T, Index, true>(call);
  const Chunks chunks = divide<V>(call.rows, call.scratch, call.scratch_bytes);
  if (chunks.capacity == 0 || call.samples == 0 || call.samples > INT32_MAX) return gm<V, T, N>(call);
  stream_chunks<V, T>(call, chunks);
}

}  // namespace recsmith
