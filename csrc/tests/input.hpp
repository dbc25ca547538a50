// One look-up drawn from a string of bytes: every table, batch and tuning that the kernels accept can come out.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "lookup/row.hpp"

namespace recsmith::tests {

class Source {
 public:
  Source(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}
  // 0 .. range - 1; zero when the bytes have run out.
  std::uint64_t below(std::uint64_t range) {
    std::uint64_t x = 0;
    for (int i = 0; i < 4 && at_ < end_; ++i) x = x << 8 | *at_++;
    return x % range;
  }
  std::uint8_t byte() { return at_ < end_ ? *at_++ : 0; }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

struct Input {
  RowType type;
  std::int32_t dim, distance;
  std::int64_t rows, stride, scratch_bytes, out_stride;
  std::size_t misaligned;
  Prefetch level;
  bool mean, weighted, stream, bags, next;
  std::vector<std::uint8_t> stored;  // rows * stride
  std::vector<std::int64_t> ids, offsets;
  std::vector<float> weights;

  std::int64_t samples() const {
    return static_cast<std::int64_t>(bags ? offsets.size() - 1 : ids.size());
  }
};

inline Input draw(Source& from) {
  constexpr std::int32_t dims[] = {8, 16, 32, 64, 128};
  Input in{};
  in.type = static_cast<RowType>(from.below(5));
  in.dim = from.below(2) != 0 ? dims[from.below(5)] : 1 + static_cast<std::int32_t>(from.below(150));
  in.rows = 1 + static_cast<std::int64_t>(from.below(from.below(2) != 0 ? 8 : 400));
  in.stride = row_bytes(in.type, in.dim) + static_cast<std::int64_t>(from.below(2) != 0 ? 0 : from.below(70));
  in.distance = static_cast<std::int32_t>(from.below(80));
  in.level = static_cast<Prefetch>(from.below(4));
  in.scratch_bytes = static_cast<std::int64_t>(from.below(from.below(2) != 0 ? 600 : 40000));
  in.misaligned = from.below(8);
  const auto flags = from.below(32);
  in.mean = flags & 1, in.weighted = flags & 2, in.bags = flags & 8, in.next = flags & 16;
  in.stream = flags & 4;
  in.out_stride = in.dim + static_cast<std::int64_t>(from.below(2) != 0 ? 0 : from.below(40));
  const std::int64_t count = static_cast<std::int64_t>(from.below(300));
  for (std::int64_t i = 0; i < count; ++i) {
    in.ids.push_back(static_cast<std::int64_t>(from.below(static_cast<std::uint64_t>(in.rows))));
    in.weights.push_back(static_cast<float>(from.byte()) / 16.0f - 8.0f);
  }
  if (in.bags) {
    const std::uint64_t longest = 1 + from.below(100);
    const std::int64_t most = 1 + static_cast<std::int64_t>(from.below(60));
    in.offsets.push_back(static_cast<std::int64_t>(from.below(static_cast<std::uint64_t>(count) + 1)));
    for (std::int64_t i = 0; i < most && in.offsets.back() < count; ++i) {
      in.offsets.push_back(std::min(count, in.offsets.back() + static_cast<std::int64_t>(from.below(longest))));
    }
  }
  in.stored.resize(static_cast<std::size_t>(in.rows * in.stride));
  std::uint32_t state = static_cast<std::uint32_t>(from.below(1u << 31)) | 1;
  for (std::size_t i = 0; i < in.stored.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    in.stored[i] = static_cast<std::uint8_t>(state >> 24);
  }
  return in;
}

}  // namespace recsmith::tests
