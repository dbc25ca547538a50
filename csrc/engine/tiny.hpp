// Batches of a few samples: first every row of every feature is asked for, then they are gathered, so that the latency
// of memory is paid once and not once a table. Nothing is allocated or locked.
#pragma once

#include <algorithm>

#include "engine/input.hpp"
#include "engine/program.hpp"

namespace recsmith::engine {

inline constexpr std::int64_t tiny_ids = 512;
inline constexpr std::size_t tiny_tasks = 512;

template <class Index>
class Tiny {
 public:
  Tiny(const Bucket& bucket, const Feature* features, const Input<Index>& input)
      : bucket_(bucket), features_(features), input_(input) {}

  static bool suits(const Bucket& bucket, const Input<Index>& input) {
    return bucket.plain && input.length <= tiny_ids && bucket.tasks.size() <= tiny_tasks;
  }

  // False, with nothing written, when something is odd about the input; the long way round will say what.
  bool run() {
    const std::size_t count = bucket_.tasks.size();
    for (std::size_t t = 0; t < count; ++t) {
      if (!ask(bucket_.tasks[t], one_each_[t])) return false;
    }
    for (std::size_t t = 0; t < count; ++t) gather(bucket_.tasks[t], one_each_[t]);
    return true;
  }

 private:
  bool ask(const Task& task, bool& one_each) const {
    const std::int64_t s0 = task.share.first(input_.batch), s1 = task.share.last(input_.batch);
    const std::int64_t at = task.feature * input_.batch;
    std::int64_t first = at + s0, last = at + s1;
    one_each = true;
    if (input_.offsets != nullptr) {
      const Index* offsets = input_.offsets + at;
      first = offsets[s0];
      last = offsets[s1];
      for (std::int64_t s = s0; s < s1; ++s) {
        if (offsets[s] > offsets[s + 1]) return false;
        one_each &= offsets[s + 1] == first + (s - s0) + 1;
      }
      if (first < 0 || last > input_.length) return false;
    }
    const auto rows = static_cast<std::uint64_t>(task.rows.count);
    for (std::int64_t k = first; k < last; ++k) {
      const std::int64_t id = input_.values[k];
      if (static_cast<std::uint64_t>(id) >= rows) return false;
      prefetch(task.rows.base + id * task.rows.stride, task.row_bytes);
    }
    return true;
  }

  static void prefetch(const std::byte* row, std::int64_t bytes) {
    const std::byte* end = row + bytes;
    for (; row < end; row += 64) __builtin_prefetch(row);
    __builtin_prefetch(end - 1);
  }

  void gather(const Task& task, bool one_each) const {
    const std::int64_t s0 = task.share.first(input_.batch), samples = task.share.last(input_.batch) - s0;
    if (samples == 0) return;
    const Feature& feature = features_[task.feature];
    const std::int64_t at = task.feature * input_.batch + s0;
    const std::int64_t first = input_.offsets == nullptr ? at : static_cast<std::int64_t>(input_.offsets[at]);
    const float* weights = feature.weighted ? input_.weights : nullptr;
    const Call<Index> call{.rows = task.rows,
                           .ids = one_each ? input_.values + first : input_.values,
                           .ids_end = input_.values + input_.length,
                           .offsets = one_each ? nullptr : input_.offsets + at,
                           .weights = weights != nullptr && one_each ? weights + first : weights,
                           .samples = samples,
                           .out = input_.out + s0 * input_.out_stride + feature.column,
                           .out_stride = input_.out_stride,
                           .mean = feature.pooling == Pooling::mean,
                           .stream = false,
                           .level = Prefetch::none,
                           .distance = 0,
                           .next = nullptr,
                           .scratch = nullptr,
                           .scratch_bytes = 0};
    task.kernels<Index>().near(call);
  }

  const Bucket& bucket_;
  const Feature* features_;
  const Input<Index>& input_;
  bool one_each_[tiny_tasks];
};

}  // namespace recsmith::engine
