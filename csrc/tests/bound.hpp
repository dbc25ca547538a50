// The rows of a precomputed pointer list, read with prefetch and summed up: no ids, no output. A look-up of the same
// rows cannot be faster.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace recsmith::tests {

struct Row64 {
  alignas(64) float x[16];
};

template <int Locality>
float read_rows(const std::vector<const std::byte*>& rows, int lines, std::size_t distance) {
  float sum[16] = {};
  const std::size_t n = rows.size();
  for (std::size_t i = 0; i < n; ++i) {
    const std::byte* ahead = rows[i + distance < n ? i + distance : n - 1];
    for (int line = 0; line < lines; ++line) __builtin_prefetch(ahead + 64 * line, 0, Locality);
    for (int line = 0; line < lines; ++line) {
      const auto* row = reinterpret_cast<const Row64*>(rows[i] + 64 * line);
      for (int k = 0; k < 16; ++k) sum[k] += row->x[k];
    }
  }
  float all = 0;
  for (float s : sum) all += s;
  return all;
}

}  // namespace recsmith::tests
