// Our engine as it is, in the ways that a plan can ask for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.hpp"
#include "tests/beyond/rounds.hpp"

namespace recsmith::beyond {

inline const Target& best_target() {
  // Asking what a processor supports takes microseconds in a virtual machine.
  static const Target& best = [] () -> const Target& {
    std::size_t count = 0;
    const Target* const* all = targets(&count);
    const Target* found = all[0];
    for (std::size_t i = 0; i < count; ++i) {
      if (all[i]->supported()) found = all[i];
    }
    return *found;
  }();
  return best;
}

struct Manner {
  std::string name;
  std::int64_t block;
  bool stream;
  Prefetch level = Prefetch::t1;
  std::int32_t distance = 24;
  Flow near = Flow::l1, far = Flow::gm;
  bool copies_ids = false;  // to one place that stays near, before anything else
};

inline constexpr std::int64_t near_bytes = 1 << 20;

// An engine for one core; tables beyond the private caches are prefetched.
inline std::shared_ptr<engine::Engine> make_engine(const std::vector<Rows>& tables, const Manner& manner,
                                                   bool weighted) {
  std::vector<engine::Feature> features;
  engine::BucketSpec bucket{engine::Bucket::any, 1, {}};
  std::int64_t column = 0;
  for (const Rows& rows : tables) {
    const bool near = rows.count * rows.stride <= near_bytes;
    const engine::Tuning tuning{near ? Prefetch::none : manner.level, near ? 0 : manner.distance, manner.block,
                                manner.stream};
    const auto f = static_cast<std::int32_t>(features.size());
    bucket.tasks.push_back({f, 0, 0, 0, rows.count, {0, 1, 1, 1}, near ? manner.near : manner.far, tuning});
    features.push_back({rows, column, engine::Pooling::sum, weighted, false, 0, engine::Policy::error, 0});
    column += rows.dim;
  }
  return std::make_shared<engine::Engine>(best_target(), features, std::vector{bucket}, std::vector{0});
}

inline void run_engine(engine::Engine& engine, const std::int64_t* values, std::int64_t count,
                       const std::int64_t* offsets, const float* weights, std::int64_t samples, float* out,
                       std::int64_t columns) {
  const engine::Input<std::int64_t> input{values, count, offsets, weights, samples, out, columns, nullptr};
  if (engine.run(input, engine::After::spin).fault.kind != engine::Fault::Kind::none) std::abort();
}

inline Serve plain(const Shape& shape, const std::vector<Rows>& tables, const Manner& manner) {
  auto engine = make_engine(tables, manner, shape.weighted);
  const std::int64_t columns = width(shape);
  const bool copies = manner.copies_ids;
  return [engine, columns, copies](const Batch& batch, float* out) {
    thread_local std::vector<std::int64_t> ids;
    if (copies) ids.assign(batch.values.begin(), batch.values.end());
    run_engine(*engine, copies ? ids.data() : batch.values.data(), static_cast<std::int64_t>(batch.values.size()),
               batch.offsets.empty() ? nullptr : batch.offsets.data(),
               batch.weights.empty() ? nullptr : batch.weights.data(), batch.samples, out, columns);
  };
}

// Feature by feature and sample by sample, through the caches and past them.
inline std::vector<Manner> manners(const Shape& shape) {
  std::vector<Manner> found{{"by feature", 0, false}, {"by feature, past caches", 0, true}};
  if (!shape.bags() && shape.tables.size() >= 4) {
    Manner copied{"by feature, ids copied first", 0, false};
    copied.copies_ids = true;
    found.push_back(copied);
    found.push_back({"by sample", 64, false});
    found.push_back({"by sample, past caches", 64, true});
  }
  return found;
}

}  // namespace recsmith::beyond
