// Addresses of rows, sample by sample, for features that have one valid id each.
#pragma once

#include <algorithm>
#include <utility>

#include "engine/input.hpp"
#include "engine/program.hpp"
#include "engine/scratch.hpp"
#include "lookup/prefetch.hpp"

namespace recsmith::engine {

// Two blocks of samples: one that is copied, and the one after it, whose first rows are prefetched meanwhile.
template <class Index>
class Listing {
 public:
  // Fewer neighbours are not worth a list.
  static constexpr std::int32_t fewest = 4;

  // For tasks [begin, end), which are neighbours; lists lie in `room`.
  Listing(const Input<Index>& input, const IndexFunctions<Index>& functions, const Feature* features,
          const Task* begin, const Task* end, Buffer<const std::byte*>& room)
      : input_(input), functions_(functions), features_(features), begin_(begin), end_(end), count_(end - begin) {
    const std::int64_t block = std::min(begin->tuning.block, std::max<std::int64_t>(input.batch, 1));
    now_.rows = room.at_least(2 * block * count_);
    next_.rows = now_.rows + block * count_;
    for (const Task* task = begin; task < end; ++task) {
      possible_ &= !(features[task->feature].weighted && input.weights != nullptr);
      aligned_ &= starts_at_lines(task->rows);
      if (task->tuning.level == Prefetch::none) continue;
      level_ = task->tuning.level;
      distance_ = std::max(distance_, task->tuning.distance);
    }
  }

  // Makes samples [s0, s1) the next block.
  void list(std::int64_t s0, std::int64_t s1) {
    next_.samples = s1 - s0;
    next_.complete = possible_ && s0 < s1;
    for (const Task* task = begin_; task < end_ && next_.complete; ++task) next_.complete = list(*task, s0, s1);
  }

  // Goes on to the next block and makes samples [s0, s1) the one after it. False when some feature of the block at
  // hand has other than one valid id for each sample.
  bool turn(std::int64_t s0, std::int64_t s1) {
    std::swap(now_, next_);
    list(s0, s1);
    return now_.complete;
  }

  // Writes the block at hand, samples [s0, s1).
  void copy(std::int64_t s0, std::int64_t s1) const {
    const Task& task = *begin_;
    const std::int64_t samples = s1 - s0;
    const std::int64_t lead = level_ == Prefetch::none ? 0 : std::min(samples, (distance_ + count_ - 1) / count_);
    Listed list{.rows = now_.rows,
                .ahead = lead > 0 ? now_.rows + lead * count_ : nullptr,
                .samples = samples - lead,
                .features = static_cast<std::int32_t>(count_),
                .dim = task.rows.dim,
                .out = input_.out + s0 * input_.out_stride + features_[task.feature].column,
                .out_stride = input_.out_stride,
                .stream = task.tuning.stream,
                .aligned = aligned_,
                .level = level_};
    task.copy_listed(list);
    list.rows += list.samples * count_;
    list.out += list.samples * list.out_stride;
    list.ahead = next_.complete && next_.samples >= lead ? next_.rows : nullptr;
    list.samples = lead;
    task.copy_listed(list);
  }

 private:
  struct Block {
    const std::byte** rows = nullptr;
    std::int64_t samples = 0;
    bool complete = false;
  };

  // One feature's column of the next block.
  bool list(const Task& task, std::int64_t s0, std::int64_t s1) {
    const std::int64_t at = task.feature * input_.batch, samples = s1 - s0;
    std::int64_t first = at + s0;
    if (input_.offsets != nullptr) {
      if (!functions_.one_each(input_.offsets + first, samples)) return false;
      first = input_.offsets[first];
      if (first < 0 || first + samples > input_.length) return false;
    }
    const Index* ids = input_.values + first;
    if (functions_.first_outside(ids, samples, task.rows.count) != samples) return false;
    const std::byte** row = next_.rows + (&task - begin_);
    for (std::int64_t i = 0; i < samples; ++i, row += count_) *row = address(task.rows, ids[i]);
    return true;
  }

  const Input<Index>& input_;
  const IndexFunctions<Index>& functions_;
  const Feature* features_;
  const Task* begin_;
  const Task* end_;
  std::int64_t count_;
  Block now_, next_;
  bool possible_ = true;
  bool aligned_ = true;
  Prefetch level_ = Prefetch::none;
  std::int32_t distance_ = 0;
};

}  // namespace recsmith::engine
