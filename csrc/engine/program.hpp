// A plan bound to memory: which core serves which rows of which feature for which samples, with what kernel.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "lookup/target.hpp"

namespace recsmith::engine {

enum class Pooling : std::uint8_t { sum, mean, none };

// What becomes of an id outside its table. `modulo` is part of the feature's meaning and not counted.
enum class Policy : std::uint8_t { error, clamp, wrap, fallback, modulo };

struct Feature {
  Rows rows;
  std::int64_t column;  // of the output; unused when unpooled
  Pooling pooling;
  bool weighted;
  bool padded;
  std::int64_t padding_id;
  Policy policy;
  std::int64_t default_row;

  // Whether ids may be handed to a kernel as they came.
  bool plain() const { return !padded && pooling != Pooling::none; }
};

// The part [start, stop) of a batch as exact fractions of it.
struct Share {
  std::int64_t start, start_parts, stop, stop_parts;

  std::int64_t first(std::int64_t batch) const { return part(start, start_parts, batch); }
  std::int64_t last(std::int64_t batch) const { return part(stop, stop_parts, batch); }
  bool operator==(const Share&) const = default;

  static std::int64_t part(std::int64_t n, std::int64_t parts, std::int64_t batch) {
    if (n == 0) return 0;
    if (n == parts) return batch;
    if (parts < (1 << 20) && batch < (std::int64_t{1} << 40)) return n * batch / parts;
    return static_cast<std::int64_t>(static_cast<__int128>(n) * batch / parts);
  }
};

struct Tuning {
  Prefetch level;
  std::int32_t distance;  // rows
  std::int64_t block;     // samples; 0 takes all
  bool stream;
};

// One placement on one core, as planned.
struct TaskSpec {
  std::int32_t feature;
  std::int32_t stage;
  std::int32_t lane;
  std::int64_t first_row, last_row;
  Share share;
  Flow flow;
  Tuning tuning;
};

struct BucketSpec {
  std::int64_t batch_up_to;  // the largest number there is when unlimited
  std::int32_t stages;
  std::vector<TaskSpec> tasks;  // in the plan's order, which is the order of addition
  std::int64_t block = 0;       // samples at a time in the last stage, when it is fused with the interaction; else 0
};

// What serves a task's ids of one type.
template <class Index>
struct Kernels {
  Kernel<Index> flow;      // by the plan's data flow
  Kernel<Index> near;      // for rows that are in a near cache already
  CopyTiles<Index> tiles;  // for it and its neighbours together
};

// One placement on one core, bound.
struct Task {
  std::int32_t feature;
  std::int32_t number;  // in plan order
  Rows rows;            // the shard's
  std::int64_t first_row;
  Share share;
  Kernels<std::int32_t> int32;
  Kernels<std::int64_t> int64;
  std::int64_t row_bytes;
  Tuning tuning;
  bool sharded;  // its ids are a part of the feature's
  bool direct;   // writes to the output; other sharded tasks write partial sums of their own
  bool whole;    // the kernel wants all samples at once
  std::int32_t neighbours;  // tasks from this one on that are written together, in tiles

  template <class Index>
  const Kernels<Index>& kernels() const {
    if constexpr (sizeof(Index) == 4) {
      return int32;
    } else {
      return int64;
    }
  }
};

// Samples whose vectors are sums of several tasks' vectors, in the plan's order.
struct Sum {
  std::int32_t feature;
  Share share;
  std::vector<std::int32_t> tasks;  // numbers; the first may be direct
};

struct Bucket {
  static constexpr std::int64_t any = std::numeric_limits<std::int64_t>::max();

  std::int64_t batch_up_to = any;
  int lanes = 1;
  int stages = 0;                       // reductions excluded
  std::vector<Task> tasks;              // by stage, then lane, then plan order
  std::vector<std::int32_t> unit_ends;  // [stages * lanes]: unit u's tasks end here
  std::vector<Sum> sums;
  std::vector<std::int32_t> place;      // task number to index in `tasks`
  std::int64_t block = 0;               // as in the spec
  bool plain = true;                    // no shards, padding or unpooled features
  std::int64_t parallel_from = any;     // the smallest batch that gives work to two lanes
};

// Binds a bucket: kernels of `target`, and who adds what. Throws std::invalid_argument when the tasks of a fused stage
// do not divide the samples alike, or are shards or unpooled.
Bucket bind(const BucketSpec& spec, const std::vector<Feature>& features, const Target& target);

}  // namespace recsmith::engine
