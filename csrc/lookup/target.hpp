// One instruction set's functions. Each file in isa/ fills one in; isa/targets.cpp chooses at run time.
#pragma once

#include "dhe/call.hpp"
#include "interaction/call.hpp"
#include "lookup/call.hpp"

namespace recsmith {

template <class Index>
struct IndexFunctions {
  // The kernel of a flow for a row type and dim. Never null.
  Kernel<Index> (*kernel)(Flow, RowType, std::int32_t dim);
  // Prefetches the rows of n ids: those of a small batch, or the head of the first feature.
  void (*prefetch)(const Rows&, const Index* ids, std::int64_t n, Prefetch level);
  // Position of the first id outside [0, rows), or n.
  std::int64_t (*first_outside)(const Index* ids, std::int64_t n, std::int64_t rows);
  // Position i of the first offsets[i] > offsets[i + 1], or n (n + 1 offsets).
  std::int64_t (*first_fall)(const Index* offsets, std::int64_t n);
  // Whether each of the n bags holds exactly one id.
  bool (*one_each)(const Index* offsets, std::int64_t n);
  // One row each of neighbouring features of a type and dim. Never null.
  CopyTiles<Index> (*tiles)(RowType, std::int32_t dim);
  // Pairwise products of each sample's vectors.
  void (*dots)(const Dots<Index>&);
  // The sum of each sample's vectors.
  void (*sums)(const Sums<Index>&);
};

struct Target {
  const char* name;      // "scalar", "avx2", "avx512", "neon"
  bool (*supported)();   // by this processor
  IndexFunctions<std::int32_t> int32;
  IndexFunctions<std::int64_t> int64;
  Encoder encode;  // ids to codes of deep hash embeddings
};

// All targets compiled in, slowest first; `scalar` is always supported.
const Target* const* targets(std::size_t* count);

}  // namespace recsmith
