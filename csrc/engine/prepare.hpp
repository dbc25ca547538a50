// Checks the ids of a run of samples and turns them into what a kernel may be given.
#pragma once

#include <type_traits>

#include "engine/input.hpp"
#include "engine/program.hpp"
#include "engine/scratch.hpp"

namespace recsmith::engine {

// A run of samples of one feature, checked. Bags are ids[offsets[i]] .., or the single ids[i] without offsets.
template <class Index>
struct Piece {
  const Index* ids;
  const Index* offsets;
  const float* weights;
  std::int64_t samples;  // bags
  std::int64_t begin;    // of the ids, counted from `ids`
  std::int64_t end;
};

// The place of a run of samples in the input.
struct Span {
  std::int64_t first, last;  // positions in values
  bool one_each;
};

template <class Index>
class Preparer {
 public:
  Preparer(const Input<Index>& input, const IndexFunctions<Index>& functions, const Feature* features)
      : input_(input), functions_(functions), features_(features) {}

  Fault fault;
  std::int64_t replaced = 0;

  // Samples [s0, s1) of a pooled feature; false when `fault` says why not.
  bool pooled(const Task& task, std::int64_t s0, std::int64_t s1, Rewritten<Index>& room, Piece<Index>& piece) {
    Span span;
    if (!place(task.feature, s0, s1, span)) return false;
    const Feature& feature = features_[task.feature];
    if (!task.sharded && !feature.padded) {
      const std::int64_t count = span.last - span.first;
      const Index* ids = input_.values + span.first;
      const std::int64_t bad = count == 0 ? 0 : functions_.first_outside(ids, count, feature.rows.count);
      if (bad == count) {
        piece = as_given(task.feature, s0, s1 - s0, span);
        return true;
      }
      if (feature.policy == Policy::error) return outside(task.feature, span.first + bad);
    }
    return rewrite(task, s0, s1, span, room, piece);
  }

  // Where samples [s0, s1) lie; false when the offsets there are wrong.
  bool place(std::int32_t feature, std::int64_t s0, std::int64_t s1, Span& span) {
    const std::int64_t at = feature * input_.batch;
    if (input_.offsets == nullptr) {
      span = {at + s0, at + s1, true};
      return true;
    }
    const Index* offsets = input_.offsets + at;
    const std::int64_t n = s1 - s0;
    span = {offsets[s0], offsets[s1], functions_.one_each(offsets + s0, n)};
    if (!span.one_each) {
      const std::int64_t fall = functions_.first_fall(offsets + s0, n);
      if (fall < n) return falls(feature, at + s0 + fall);
    }
    // Together with the ends, which were checked, no bag can reach outside; a fall may lie in another core's part.
    if (span.first < offsets[0] || span.first < 0) return falls(feature, at + s0);
    if (span.last > offsets[input_.batch] || span.last > input_.length || span.last < span.first) {
      return falls(feature, at + s1);
    }
    return true;
  }

  // Room for what is left of the ids: those in the task's shard, without padding, made valid. Bag i of the result
  // belongs to sample s0 + i; `room.positions` are counted from the first id.
  bool rewrite(const Task& task, std::int64_t s0, std::int64_t s1, const Span& span, Rewritten<Index>& room,
               Piece<Index>& piece) {
    const Feature& feature = features_[task.feature];
    const std::int64_t count = span.last - span.first, samples = s1 - s0;
    Index* ids = room.ids.at_least(count);
    Index* offsets = room.offsets.at_least(samples + 1);
    const float* weights_in = weights(task.feature);
    float* weights_out = weights_in == nullptr ? nullptr : room.weights.at_least(count);
    std::int64_t* positions = feature.pooling == Pooling::none ? room.positions.at_least(count) : nullptr;
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < samples; ++i) {
      offsets[i] = static_cast<Index>(kept);
      const std::int64_t end = bag_end(task.feature, s0 + i);
      for (std::int64_t k = bag_end(task.feature, s0 + i - 1); k < end; ++k) {
        std::int64_t id = input_.values[k];
        if (feature.padded && id == feature.padding_id) continue;
        bool was_replaced = false;
        if (!within(id, feature.rows.count)) {
          if (feature.policy == Policy::error) return outside(task.feature, k);
          id = valid(id, feature);
          was_replaced = feature.policy != Policy::modulo;
        }
        id -= task.first_row;
        if (!within(id, task.rows.count)) continue;
        replaced += was_replaced ? 1 : 0;  // by the one shard that serves it
        ids[kept] = static_cast<Index>(id);
        if (weights_out != nullptr) weights_out[kept] = weights_in[k];
        if (positions != nullptr) positions[kept] = k - span.first;
        ++kept;
      }
    }
    offsets[samples] = static_cast<Index>(kept);
    const bool one_each = span.one_each && kept == samples;
    piece = {ids, one_each ? nullptr : offsets, weights_out, samples, 0, kept};
    return true;
  }

  // The ids of a span as they came.
  Piece<Index> as_given(std::int32_t feature, std::int64_t s0, std::int64_t samples, const Span& span) const {
    const float* scales = weights(feature);
    if (span.one_each) {
      return {input_.values + span.first, nullptr, scales == nullptr ? nullptr : scales + span.first, samples, 0,
              samples};
    }
    return {input_.values, input_.offsets + feature * input_.batch + s0, scales, samples, span.first, span.last};
  }

 private:
  const float* weights(std::int32_t feature) const { return features_[feature].weighted ? input_.weights : nullptr; }

  // Where the bag of a sample ends; of sample -1 where the feature's first bag begins.
  std::int64_t bag_end(std::int32_t feature, std::int64_t sample) const {
    const std::int64_t at = feature * input_.batch + sample + 1;
    return input_.offsets == nullptr ? at : static_cast<std::int64_t>(input_.offsets[at]);
  }

  static bool within(std::int64_t id, std::int64_t rows) {
    return static_cast<std::uint64_t>(id) < static_cast<std::uint64_t>(rows);
  }

  static std::int64_t valid(std::int64_t id, const Feature& feature) {
    const std::int64_t rows = feature.rows.count;
    switch (feature.policy) {
      case Policy::clamp: return id < 0 ? 0 : rows - 1;
      case Policy::wrap:
      case Policy::modulo: return (id % rows + rows) % rows;
      default: return feature.default_row;
    }
  }

  bool outside(std::int32_t feature, std::int64_t position) {
    fault = {Fault::Kind::id_range, feature, position, input_.values[position], features_[feature].rows.count};
    return false;
  }

  bool falls(std::int32_t feature, std::int64_t position) {
    fault = {Fault::Kind::offsets_fall, feature, position, input_.offsets[position], 0};
    return false;
  }

  const Input<Index>& input_;
  const IndexFunctions<Index>& functions_;
  const Feature* features_;
};

}  // namespace recsmith::engine
