// The look-up of all tables of a batch in one call.
#pragma once

#include <memory>
#include <vector>

#include "engine/input.hpp"
#include "engine/pool.hpp"
#include "engine/program.hpp"

namespace recsmith::engine {

class Engine {
 public:
  // `processors`: one for each lane that the buckets mention, the caller's first.
  Engine(const Target& target, std::vector<Feature> features, const std::vector<BucketSpec>& buckets,
         std::vector<int> processors);

  // Checks the input and looks it up. The output is undefined when a fault comes back. Safe from several threads: one
  // of them gets the pool, others serve their whole batch themselves.
  template <class Index>
  Outcome run(const Input<Index>& input, After after);

  const std::vector<Feature>& features() const { return features_; }
  const Target& target() const { return target_; }
  int lanes() const { return pool_ ? pool_->lanes() : 1; }

 private:
  const Bucket& bucket(std::int64_t batch) const;

  const Target& target_;
  std::vector<Feature> features_;
  std::vector<Bucket> buckets_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace recsmith::engine
