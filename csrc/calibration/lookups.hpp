// Times the look-up kernels themselves, as the engine calls them: batch after batch, each call told of the next.
#pragma once

#include <cstdint>
#include <vector>

#include "calibration/crew.hpp"
#include "lookup/target.hpp"

namespace recsmith::calibration {

// What one core looks up in one round.
struct Share {
  const std::byte* base;    // row 0 of its table
  const std::int64_t* ids;  // `count` ids a round, round after round
  float* out;               // [batch, dim]
};

struct Lookups {
  Flow flow;
  RowType type;
  std::int32_t dim;
  std::int64_t rows;     // of the table
  std::int64_t stride;   // bytes between rows
  std::int64_t count;    // ids a core and round; whole batches
  std::int64_t pooling;  // ids a bag; 1 calls the kernel without offsets
  std::int64_t batch;    // samples a call
  bool stream;
  Prefetch level;
  std::int32_t distance;
  std::int64_t scratch_bytes;
};

// rounds x cores spans. Every round reads other ids, so that nothing is found in a cache because it was just there.
std::vector<Span> time_lookups(const Target& target, const Lookups& lookups, const std::vector<Share>& shares,
                               const std::vector<int>& cores, int rounds);

}  // namespace recsmith::calibration
