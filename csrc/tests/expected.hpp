// What a look-up has to yield, in double precision and in the plainest way.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/input.hpp"

namespace recsmith::tests {

inline double half(const std::uint8_t* p) {
  const unsigned bits = p[0] | p[1] << 8, exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25);
}

template <class T>
T read(const std::uint8_t* p) {
  T x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

// Element `column` of a row, and in `size` the largest magnitude that its computation goes through.
inline double element(RowType type, const std::uint8_t* row, int column, double& size) {
  double value = 0;
  switch (type) {
    case RowType::fp32: value = read<float>(row + 4 * column); break;
    case RowType::fp16: value = half(row + 2 * column); break;
    case RowType::bf16: {
      const std::uint32_t bits = std::uint32_t{read<std::uint16_t>(row + 2 * column)} << 16;
      float single;
      std::memcpy(&single, &bits, sizeof single);
      value = single;
      break;
    }
    case RowType::int8:
    case RowType::int4: {
      const int code = type == RowType::int8 ? row[4 + column] : row[4 + column / 2] >> (column % 2 * 4) & 15;
      size = std::abs(code * half(row)) + std::abs(half(row + 2));
      return code * half(row) + half(row + 2);
    }
  }
  size = std::abs(value);
  return value;
}

struct Expected {
  std::vector<double> sums, bounds;  // [samples, dim]; an infinite bound means that anything goes
};

inline Expected expect(const Input& in) {
  Expected expected;
  for (std::int64_t i = 0; i < in.samples(); ++i) {
    const std::int64_t begin = in.bags ? in.offsets[i] : i, end = in.bags ? in.offsets[i + 1] : i + 1;
    const double length = static_cast<double>(end - begin);
    for (int column = 0; column < in.dim; ++column) {
      double sum = 0, sizes = 0;
      for (std::int64_t k = begin; k < end; ++k) {
        const double weight = in.weighted ? in.weights[k] : 1.0;
        double size = 0;
        sum += weight * element(in.type, in.stored.data() + in.ids[k] * in.stride, column, size);
        sizes += std::abs(weight) * size;
      }
      const double scale = in.mean && length > 1 ? 1 / length : 1;
      const double bound = sizes * scale * (length + 8) * 0x1p-23 + 1e-36;
      // Sums that overflow single precision, or hold infinities, may be infinite or not a number in any order.
      expected.sums.push_back(sum * scale);
      expected.bounds.push_back(std::isfinite(sizes) && sizes < 1e37 ? bound : INFINITY);
    }
  }
  return expected;
}

}  // namespace recsmith::tests
