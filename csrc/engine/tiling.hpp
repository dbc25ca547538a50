// Neighbouring features that have one id each, served together, a block of samples at a time.
#pragma once

#include <algorithm>

#include "engine/input.hpp"
#include "engine/program.hpp"
#include "engine/scratch.hpp"
#include "lookup/prefetch.hpp"

namespace recsmith::engine {

template <class Index>
class Tiling {
 public:
  // Fewer neighbours are not worth it.
  static constexpr std::int32_t fewest = 4;

  // For tasks [begin, end), which are neighbours; what is known of them lies in `room`.
  Tiling(const Input<Index>& input, const IndexFunctions<Index>& functions, const Feature* features,
         const Task* begin, const Task* end, Buffer<Column<Index>>& room)
      : input_(input), functions_(functions), features_(features), begin_(begin), end_(end) {
    columns_ = room.at_least(end - begin);
    for (const Task* task = begin; task < end; ++task) {
      possible_ &= !(features[task->feature].weighted && input.weights != nullptr);
      aligned_ &= starts_at_lines(task->rows);
      if (task->tuning.level != Prefetch::none) level_ = task->tuning.level;
    }
  }

  // Takes up samples [s0, s1) of a run that goes on to `last`. False when some feature has other than one id for each
  // of them.
  bool take(std::int64_t s0, std::int64_t s1, std::int64_t last) {
    bool taken = possible_;
    for (const Task* task = begin_; task < end_ && taken; ++task) taken = take(*task, s0, s1 - s0, last - s0);
    return taken;
  }

  // Writes the vectors of the samples that were taken up, or of those before an id outside its table, and says of how
  // many.
  std::int64_t copy(std::int64_t s0, std::int64_t s1) const {
    const Task& task = *begin_;
    return task.kernels<Index>().tiles({.columns = columns_,
                                        .samples = s1 - s0,
                                        .features = static_cast<std::int32_t>(end_ - begin_),
                                        .dim = task.rows.dim,
                                        .out = input_.out + s0 * input_.out_stride + features_[task.feature].column,
                                        .out_stride = input_.out_stride,
                                        .stream = task.tuning.stream,
                                        .aligned = aligned_,
                                        .level = level_});
  }

 private:
  bool take(const Task& task, std::int64_t s0, std::int64_t samples, std::int64_t to_come) {
    std::int64_t first = task.feature * input_.batch + s0;
    if (input_.offsets != nullptr) {
      if (!functions_.one_each(input_.offsets + first, samples)) return false;
      first = input_.offsets[first];
      if (first < 0 || first + samples > input_.length) return false;
    }
    const Index* ids = input_.values + first;
    const std::int64_t prefetched = task.tuning.level == Prefetch::none ? 0 : std::min(to_come, input_.length - first);
    columns_[&task - begin_] = {task.rows.base, task.rows.count, task.rows.stride, ids, ids + prefetched};
    return true;
  }

  const Input<Index>& input_;
  const IndexFunctions<Index>& functions_;
  const Feature* features_;
  const Task* begin_;
  const Task* end_;
  Column<Index>* columns_;
  bool possible_ = true;
  bool aligned_ = true;
  Prefetch level_ = Prefetch::none;
};

}  // namespace recsmith::engine
