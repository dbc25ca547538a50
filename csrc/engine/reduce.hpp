// Adds the partial sums of row shards, always in the plan's order, so that a batch gives the same bits every time.
#pragma once

#include <algorithm>

#include "engine/input.hpp"
#include "engine/program.hpp"

namespace recsmith::engine {

// Ids of a bag that count in a mean.
template <class Index>
std::int64_t counted(const Input<Index>& input, const Feature& feature, std::int64_t bag) {
  const std::int64_t begin = input.offsets == nullptr ? bag : static_cast<std::int64_t>(input.offsets[bag]);
  const std::int64_t end = input.offsets == nullptr ? bag + 1 : static_cast<std::int64_t>(input.offsets[bag + 1]);
  if (!feature.padded) return end - begin;
  std::int64_t count = 0;
  for (std::int64_t k = begin; k < end; ++k) count += input.values[k] != feature.padding_id ? 1 : 0;
  return count;
}

// Finishes part `lane` of `lanes` of the samples of each sum.
template <class Index>
void reduce(const Bucket& bucket, const std::vector<Feature>& features, const Input<Index>& input,
            float* const* partials, int lane, int lanes) {
  for (const Sum& sum : bucket.sums) {
    const Feature& feature = features[sum.feature];
    const std::int64_t dim = feature.rows.dim;
    const std::int64_t first = sum.share.first(input.batch), count = sum.share.last(input.batch) - first;
    for (std::int64_t s = first + count * lane / lanes; s < first + count * (lane + 1) / lanes; ++s) {
      float* out = input.out + s * input.out_stride + feature.column;
      for (std::size_t i = 0; i < sum.tasks.size(); ++i) {
        const Task& task = bucket.tasks[bucket.place[sum.tasks[i]]];
        if (task.direct) continue;  // the first one, which is there already
        const float* part = partials[task.number] + (s - task.share.first(input.batch)) * dim;
        if (i == 0) {
          std::copy(part, part + dim, out);
        } else {
          for (std::int64_t e = 0; e < dim; ++e) out[e] += part[e];
        }
      }
      if (feature.pooling != Pooling::mean) continue;
      const std::int64_t n = counted(input, feature, sum.feature * input.batch + s);
      if (n < 2) continue;
      const float factor = 1.0f / static_cast<float>(n);
      for (std::int64_t e = 0; e < dim; ++e) out[e] *= factor;
    }
  }
}

}  // namespace recsmith::engine
