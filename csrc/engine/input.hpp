// What one call of the engine is given, and what can be wrong with it.
#pragma once

#include <atomic>
#include <cstdint>

namespace recsmith::engine {

enum class Join : std::uint8_t { dot, cat, sum };

// What becomes of each sample's vectors: they meet one that the caller brings, the bottom MLP's output.
struct Joint {
  Join kind;
  bool self_terms;            // of dot
  bool rectified;             // of sum: what is below zero becomes zero
  const float* first;         // [batch, first_dim], rows first_stride floats apart
  std::int64_t first_dim;
  std::int64_t first_stride;
  float* out;                 // [batch, first_dim + pairs] (dot), first_dim + width (cat) or first_dim (sum) columns
  std::int64_t out_stride;
};

// The ids of all features, feature-major; bag (f, b) is values[offsets[f * batch + b]] up to the next offset.
template <class Index>
struct Input {
  const Index* values;
  std::int64_t length;       // of values and weights
  const Index* offsets;      // [features * batch + 1], or null: one id each
  const float* weights;      // or null
  std::int64_t batch;
  float* out;                // [batch, width], rows out_stride floats apart; unused with a joint
  std::int64_t out_stride;
  float* const* sequences;   // of each feature: where the vectors of an unpooled one go; null when there are none
  const Joint* joint = nullptr;  // or null: the vectors themselves are wanted
};

// The first thing found wrong with an input.
struct Fault {
  enum class Kind : std::int32_t { none, offsets_start, offsets_end, offsets_fall, id_range, memory };
  Kind kind = Kind::none;
  std::int32_t feature = 0;
  std::int64_t position = 0;  // in values or offsets
  std::int64_t found = 0;
  std::int64_t limit = 0;

  bool operator<(const Fault& other) const {
    return feature != other.feature ? feature < other.feature : position < other.position;
  }
};

// What a call comes back with.
struct Outcome {
  Fault fault;
  std::int64_t replaced = 0;  // ids that a policy replaced
};

}  // namespace recsmith::engine
