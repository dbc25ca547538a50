// Hashes and codes of a batch of ids: what an encoder is told.
#pragma once

#include <cstdint>

namespace recsmith {

// Of hashes h in [0, buckets). uniform: 2 h / (buckets - 1) - 1. gaussian: of u = (h + 1) / buckets for neighbouring
// hashes, sqrt(-2 ln u) cos(2 pi v) and sqrt(-2 ln u) sin(2 pi v), taken from tables.
enum class Transform : std::uint8_t { uniform, gaussian };
enum class CodeType : std::uint8_t { fp32, bf16 };

struct Encode {
  const std::int64_t* ids;
  std::int64_t count;
  const std::int64_t* a;  // [k], in [1, prime)
  const std::int64_t* b;  // [k], in [0, prime)
  std::int64_t k;
  std::int64_t prime;
  std::int64_t buckets;
  Transform transform;
  const float* radius;  // gaussian only: [buckets] sqrt(-2 ln((h + 1) / buckets))
  const float* cosine;  // gaussian only: [buckets] cos(2 pi (h + 1) / buckets)
  const float* sine;    // gaussian only: [buckets]
  CodeType type;
  void* out;  // [count, k] of float or of bfloat16 bits
};

using Encoder = void (*)(const Encode&);

}  // namespace recsmith
