// What is measured in the instructions of one target. Each file in isa/ fills one in.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lookup/call.hpp"

namespace recsmith::calibration {

struct Reads {
  const std::uint64_t* addresses;
  std::int64_t count;
  std::int64_t bytes;     // of a row
  std::int64_t distance;  // rows prefetched ahead
  Prefetch level;
};

struct Probes {
  const char* name;  // of the target
  // Reads every row (of at least one vector) and adds it up in registers; nothing is written. The ceiling of any
  // look-up of these rows.
  float (*read_rows)(const Reads&);
  // Loads one element of each row, each address known only when the load before has come back.
  float (*chase)(const Reads&);
  // Sequential, `bytes` a multiple of 64 and `at` aligned to that.
  float (*read)(const std::byte* at, std::int64_t bytes);
  void (*write)(std::byte* at, std::int64_t bytes);
  void (*stream_write)(std::byte* at, std::int64_t bytes);
  // One row of `row_bytes` at each of `rows` places `stride` apart: how a look-up fills a feature's columns. Aligned, and
  // `row_bytes` a multiple of the vectors'.
  void (*write_rows)(std::byte* at, std::int64_t rows, std::int64_t row_bytes, std::int64_t stride);
  void (*stream_rows)(std::byte* at, std::int64_t rows, std::int64_t row_bytes, std::int64_t stride);
  // `steps` times 8 independent multiply-adds of vectors of `width` elements.
  float (*multiply_add)(std::int64_t steps);
  std::int64_t width;
};

// Those of the target called `name`, or null; for rows of `row_bytes`, those of the widest target up to that one whose
// vectors are not longer than a row.
const Probes* find_probes(const char* name, std::int64_t row_bytes);

extern const Probes scalar_probes;
extern const Probes avx2_probes;
extern const Probes avx512_probes;
extern const Probes neon_probes;

}  // namespace recsmith::calibration
