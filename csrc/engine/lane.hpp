// Runs the tasks of one core: each call is checked just before the one ahead of it is run, so that its first rows can
// be prefetched meanwhile and ids are read once from memory.
#pragma once

#include <algorithm>
#include <cstring>

#include "engine/chain.hpp"
#include "engine/expect.hpp"
#include "engine/tiling.hpp"

namespace recsmith::engine {

template <class Index>
class Lane {
 public:
  // `partials` gives the buffer of a task that is not direct, by number.
  Lane(const Input<Index>& input, const IndexFunctions<Index>& functions, const Feature* features,
       float* const* partials, Scratch& scratch)
      : input_(input),
        functions_(functions),
        features_(features),
        partials_(partials),
        scratch_(scratch),
        chain_(functions, scratch),
        preparer_(input, functions, features) {}

  // Serves tasks [begin, end); false when the input is at fault.
  bool run(const Task* begin, const Task* end) {
    end_ = end;
    while (begin < end) {
      const Task* after = begin + 1;
      if (begin->neighbours >= Tiling<Index>::fewest) {
        after = begin + begin->neighbours;
        if (!run_tiles(begin, after)) return false;
      } else {
        while (after < end && begin->tuning.block > 0 && after->tuning.block == begin->tuning.block &&
               after->share == begin->share && after->neighbours < Tiling<Index>::fewest) {
          ++after;
        }
        const Share& share = begin->share;
        if (!run_blocks(begin, after, share.first(input_.batch), share.last(input_.batch))) return false;
      }
      begin = after;
    }
    chain_.finish();
    return true;
  }

  const Fault& fault() const { return preparer_.fault; }
  std::int64_t replaced() const { return preparer_.replaced; }

 private:
  std::int64_t step(const Task& task, std::int64_t samples) const {
    if (task.tuning.block > 0) return task.tuning.block;
    if (task.whole) return std::max<std::int64_t>(samples, 1);
    const std::int64_t bags = std::max<std::int64_t>(1, input_.batch);
    const std::int64_t length = input_.offsets == nullptr ? 1 : bag_length_;
    return std::max<std::int64_t>(std::min(bags, checked_ids / length), fewest_bags);
  }

  // Neighbours in tiles, a block of samples at a time. What has other than one valid id goes the long way.
  bool run_tiles(const Task* begin, const Task* end) {
    chain_.flush();
    Tiling<Index> tiling(input_, functions_, features_, begin, end, scratch_.run<Index>().columns);
    const std::int64_t first = begin->share.first(input_.batch), last = begin->share.last(input_.batch);
    const std::int64_t size = begin->tuning.block;
    for (std::int64_t s0 = first; s0 < last; s0 += size) {
      const std::int64_t s1 = std::min(last, s0 + size);
      const std::int64_t done = tiling.take(s0, s1, last) ? tiling.copy(s0, s1) : 0;
      if (s0 + done < s1 && !run_blocks(begin, end, s0 + done, s1)) return false;
    }
    chain_.fence_if(begin->tuning.stream);
    return true;
  }

  // Blocks of the samples [first, last), and in each block all tasks.
  bool run_blocks(const Task* begin, const Task* end, std::int64_t first, std::int64_t last) {
    bag_length_ = mean_length(input_, begin->feature, first, last);
    const std::int64_t size = step(*begin, last - first);
    for (std::int64_t s0 = first; s0 < last; s0 += size) {
      const std::int64_t s1 = std::min(last, s0 + size);
      for (const Task* task = begin; task < end; ++task) {
        if (task + 1 < end) {
          expect(task[1], s0, s1);
        } else if (s1 < last) {
          expect(*begin, s1, std::min(last, s1 + size));
        } else if (end < end_) {
          const std::int64_t next = end->share.first(input_.batch);
          expect(*end, next, std::min(end->share.last(input_.batch), next + size));
        }
        const bool done = features_[task->feature].pooling == Pooling::none ? unpooled(*task, s0, s1)
                                                                             : pooled(*task, s0, s1);
        if (!done) return false;
      }
    }
    return true;
  }

  void expect(const Task& task, std::int64_t s0, std::int64_t s1) const {
    engine::expect(input_, task.feature, s0, s1, bag_length_);
  }

  bool pooled(const Task& task, std::int64_t s0, std::int64_t s1) {
    Piece<Index> piece;
    if (!preparer_.pooled(task, s0, s1, chain_.room(), piece)) return false;
    const Feature& feature = features_[task.feature];
    const bool mean = feature.pooling == Pooling::mean && !task.sharded;
    const Place first = place_of(task);
    chain_.put(task, piece, {first.out + s0 * first.stride, first.stride, first.stream}, mean);
    return true;
  }

  // Of sample 0. Partial sums are read again soon, so they are never streamed past the caches.
  Place place_of(const Task& task) const {
    if (task.direct) return {input_.out + features_[task.feature].column, input_.out_stride, task.tuning.stream};
    const std::int64_t dim = task.rows.dim;
    return {partials_[task.number] - task.share.first(input_.batch) * dim, dim, false};
  }

  // Vectors of an unpooled feature lie in the order of its ids.
  bool unpooled(const Task& task, std::int64_t s0, std::int64_t s1) {
    Span span;
    if (!preparer_.place(task.feature, s0, s1, span)) return false;
    const Feature& feature = features_[task.feature];
    const std::int64_t dim = task.rows.dim, count = span.last - span.first;
    const std::int64_t start = input_.offsets == nullptr ? task.feature * input_.batch
                                                         : input_.offsets[task.feature * input_.batch];
    float* out = input_.sequences[task.feature] + (span.first - start) * dim;
    if (count == 0) return true;
    if (!task.sharded && !feature.padded &&
        functions_.first_outside(input_.values + span.first, count, feature.rows.count) == count) {
      const float* weights = feature.weighted && input_.weights != nullptr ? input_.weights + span.first : nullptr;
      chain_.put(task, {input_.values + span.first, nullptr, weights, count, 0, count}, {out, dim, task.tuning.stream}, false);
      return true;
    }
    return scattered(task, s0, s1, span, out);
  }

  // Gathers what is left of the ids and puts each vector in its place. Padding gives zeros.
  bool scattered(const Task& task, std::int64_t s0, std::int64_t s1, const Span& span, float* out) {
    chain_.flush();
    Piece<Index> piece;
    Rewritten<Index>& room = chain_.room();
    if (!preparer_.rewrite(task, s0, s1, span, room, piece)) return false;
    const std::int64_t dim = task.rows.dim;
    const auto bytes = static_cast<std::size_t>(dim) * sizeof(float);
    float* rows = scratch_.rows.at_least(std::max<std::int64_t>(1, piece.end * dim));
    chain_.put(task, {piece.ids, nullptr, piece.weights, piece.end, 0, piece.end}, {rows, dim, false}, false);
    chain_.flush();
    const std::int64_t* positions = room.positions.at_least(0);
    for (std::int64_t i = 0; i < piece.end; ++i) std::memcpy(out + positions[i] * dim, rows + i * dim, bytes);
    // One shard of the table clears the padding for all.
    const Feature& feature = features_[task.feature];
    if (!feature.padded || task.first_row != 0) return true;
    for (std::int64_t k = span.first; k < span.last; ++k) {
      if (input_.values[k] == feature.padding_id) std::memset(out + (k - span.first) * dim, 0, bytes);
    }
    return true;
  }

  const Input<Index>& input_;
  const IndexFunctions<Index>& functions_;
  const Feature* features_;
  float* const* partials_;
  Scratch& scratch_;
  const Task* end_ = nullptr;
  Chain<Index> chain_;
  Preparer<Index> preparer_;
  std::int64_t bag_length_ = 1;
};

}  // namespace recsmith::engine
