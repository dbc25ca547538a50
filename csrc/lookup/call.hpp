// What a look-up kernel is told: rows, ids, samples, where to write. Pointers and lengths, never plans.
#pragma once

#include <cstddef>
#include <cstdint>

namespace recsmith {

enum class RowType : std::uint8_t { fp32, fp16, bf16, int8, int4 };
enum class Prefetch : std::uint8_t { none, t0, t1, nta };
enum class Flow : std::uint8_t { gm, l1, gm_ub, l1_ub };

// A table as stored. Quantised rows start with an fp16 scale and an fp16 bias (spec/row_format.py).
struct Rows {
  const std::byte* base;  // row 0
  std::int64_t count;
  std::int64_t stride;  // bytes between rows
  std::int32_t dim;
  RowType type;
};

// The look-ups that will follow this call. While it serves its last ids it prefetches the first `distance` rows of
// these, so that no latency shows between tables.
template <class Index>
struct Next {
  Rows rows;
  const Index* ids;
  std::int64_t count;
  Prefetch level = Prefetch::t1;
  std::int32_t distance = 16;  // rows
};

// One feature's look-ups for a run of samples. Ids have been checked: 0 <= id < rows.count.
// Bag i is ids[offsets[i]] .. ids[offsets[i + 1] - 1]; without offsets it is the single id ids[i].
template <class Index>
struct Call {
  Rows rows;
  const Index* ids;
  const Index* ids_end;    // ids up to here may be read to prefetch their rows
  const Index* offsets;    // [samples + 1], or null
  const float* weights;    // parallel to ids, or null
  std::int64_t samples;
  float* out;              // [samples, dim], rows out_stride floats apart
  std::int64_t out_stride;
  bool mean;               // divide by the bag's length; empty bags stay zero
  bool stream;             // store past the caches; the caller fences
  Prefetch level;
  std::int32_t distance;   // rows; 0 for none
  const Next<Index>* next;  // or null
  std::byte* scratch;      // private to the core, 64-byte aligned; gm_ub and l1_ub work there
  std::int64_t scratch_bytes;  // may be 0: what does not fit is gathered as gm or l1 would
};

inline constexpr std::int64_t most_chunk_bytes = 128 * 1024;  // of a table at a time; they stay in a private cache
inline constexpr std::int64_t filed_bytes = 8;                // of one id, under its chunk

// Scratch with which gm_ub reads a table once for a call with so many ids.
inline constexpr std::int64_t chunks_scratch_bytes(std::int64_t ids) {
  return 2 * most_chunk_bytes + ids * filed_bytes;
}

template <class Index>
using Kernel = void (*)(const Call<Index>&);

// A feature with one id a sample, for a run of samples.
template <class Index>
struct Column {
  const std::byte* base;  // row 0
  std::int64_t rows;
  std::int64_t stride;    // bytes between rows
  const Index* ids;       // [samples]
  const Index* ids_end;   // ids up to here may be read to prefetch their rows
};

// One row each of neighbouring features of one dim and type, for a run of samples.
template <class Index>
struct Tiles {
  const Column<Index>* columns;  // [features]
  std::int64_t samples;
  std::int32_t features;
  std::int32_t dim;
  float* out;               // [samples, features * dim], samples out_stride floats apart
  std::int64_t out_stride;
  bool stream;              // store past the caches; the caller fences
  bool aligned;             // rows start at cache lines
  Prefetch level;
};

// Samples that it wrote: all, or those of the tiles before the first one with an id outside its table.
template <class Index>
using CopyTiles = std::int64_t (*)(const Tiles<Index>&);

}  // namespace recsmith
