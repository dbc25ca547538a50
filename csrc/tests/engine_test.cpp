// Random plans, good and spoilt inputs, several callers at once: what comes back is a fault or exactly the sum. Rows
// hold small integers, so that sums are exact in any order; arrays are as long as promised, so that a sanitizer sees
// any step beyond them.
#include "engine/engine.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

namespace {

using namespace recsmith;
using namespace recsmith::engine;

using Random = std::mt19937_64;

std::int64_t below(Random& random, std::int64_t n) { return static_cast<std::int64_t>(random() % n); }

struct World {
  std::vector<std::vector<float>> tables;
  std::vector<Feature> features;
  std::vector<BucketSpec> buckets;
  std::int64_t width = 0;
};

void add_feature(World& world, Random& random) {
  static constexpr std::int32_t dims[] = {1, 3, 8, 16, 19, 32};
  const std::int64_t rows = 1 + below(random, 60);
  // Neighbours are often alike: then their vectors may be written sample by sample.
  const bool alike = !world.features.empty() && below(random, 3) != 0;
  const std::int32_t dim = alike ? world.features.back().rows.dim : dims[below(random, 6)];
  auto& table = world.tables.emplace_back(static_cast<std::size_t>(rows * dim));
  for (float& x : table) x = static_cast<float>(below(random, 17) - 8);
  const auto pooling = below(random, 5) == 0 ? Pooling::none : Pooling::sum;
  const auto policy = static_cast<Policy>(below(random, 5));
  world.features.push_back({{reinterpret_cast<const std::byte*>(table.data()), rows, dim * 4, dim, RowType::fp32},
                            world.width,
                            pooling,
                            below(random, 3) == 0,
                            below(random, 3) == 0,
                            below(random, 5) - 1,
                            policy,
                            below(random, rows)});
  if (pooling == Pooling::sum) world.width += dim;
}

// Rows cut in up to three shards, samples in up to three shares, on up to three lanes and two stages.
BucketSpec make_bucket(const World& world, Random& random, std::int64_t up_to, std::int32_t lanes) {
  BucketSpec spec{up_to, 1 + static_cast<std::int32_t>(below(random, 2)), {}};
  // All features on one lane, in blocks: neighbours are then written in tiles.
  const bool together = below(random, 3) == 0;
  const std::int64_t block = 1 + below(random, 70);
  for (std::size_t f = 0; f < world.features.size(); ++f) {
    const std::int64_t rows = world.features[f].rows.count;
    const bool whole = together || below(random, 2) == 0;
    const std::int64_t shards = whole ? 1 : 1 + below(random, std::min<std::int64_t>(rows, 3));
    const std::int64_t shares = whole ? 1 : 1 + below(random, 3);
    for (std::int64_t r = 0; r < shards; ++r) {
      for (std::int64_t s = 0; s < shares; ++s) {
        spec.tasks.push_back({static_cast<std::int32_t>(f),
                              together ? 0 : static_cast<std::int32_t>(below(random, spec.stages)),
                              together ? 0 : static_cast<std::int32_t>(below(random, lanes)),
                              rows * r / shards,
                              rows * (r + 1) / shards,
                              {s, shares, s + 1, shares},
                              static_cast<Flow>(below(random, together ? 2 : 4)),
                              {static_cast<Prefetch>(below(random, 4)), static_cast<std::int32_t>(below(random, 40)),
                               together ? block : below(random, 3) * below(random, 9), below(random, 4) == 0}});
      }
    }
  }
  return spec;
}

template <class Index>
struct Ids {
  std::vector<Index> values, offsets;
  std::vector<float> weights;
  std::int64_t batch;
};

template <class Index>
Ids<Index> make_ids(const World& world, Random& random) {
  Ids<Index> ids;
  ids.batch = below(random, 3) == 0 ? below(random, 700) : below(random, 20);
  ids.offsets.push_back(0);
  const std::int64_t longest = below(random, 2) == 0 ? 1 : 2 + below(random, 5);
  for (const Feature& feature : world.features) {
    for (std::int64_t b = 0; b < ids.batch; ++b) {
      for (std::int64_t n = longest == 1 ? 1 : below(random, longest); n > 0; --n) {
        ids.values.push_back(static_cast<Index>(below(random, feature.rows.count)));
        ids.weights.push_back(static_cast<float>(below(random, 5) - 2));
      }
      ids.offsets.push_back(static_cast<Index>(ids.values.size()));
    }
  }
  return ids;
}

template <class Index>
void spoil(Ids<Index>& ids, Random& random) {
  auto& target = below(random, 2) == 0 || ids.values.empty() ? ids.offsets : ids.values;
  static constexpr std::int64_t odd[] = {-1, 0, 1, 61, 1 << 20, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
  target[static_cast<std::size_t>(below(random, static_cast<std::int64_t>(target.size())))] =
      static_cast<Index>(odd[below(random, 9)]);
}

void stop(const char* problem) {
  std::fprintf(stderr, "engine_test: %s\n", problem);
  std::abort();
}

// The row that an id means, or -1 for padding and -2 for an error.
std::int64_t row_of(const Feature& feature, std::int64_t id) {
  const std::int64_t rows = feature.rows.count;
  if (feature.padded && id == feature.padding_id) return -1;
  if (id >= 0 && id < rows) return id;
  switch (feature.policy) {
    case Policy::error: return -2;
    case Policy::clamp: return id < 0 ? 0 : rows - 1;
    case Policy::fallback: return feature.default_row;
    default: return (id % rows + rows) % rows;
  }
}

template <class Index>
bool sound(const World& world, const Ids<Index>& ids) {
  if (ids.offsets.front() != 0 || ids.offsets.back() != static_cast<Index>(ids.values.size())) return false;
  for (std::size_t i = 0; i + 1 < ids.offsets.size(); ++i) {
    if (ids.offsets[i] > ids.offsets[i + 1]) return false;
  }
  for (std::size_t bag = 0; bag + 1 < ids.offsets.size(); ++bag) {
    const Feature& feature = world.features[bag / static_cast<std::size_t>(ids.batch)];
    for (auto k = ids.offsets[bag]; k < ids.offsets[bag + 1]; ++k) {
      if (row_of(feature, ids.values[static_cast<std::size_t>(k)]) == -2) return false;
    }
  }
  return true;
}

template <class Index>
void compare(const World& world, const Ids<Index>& ids, const std::vector<float>& out,
             const std::vector<std::vector<float>>& sequences) {
  for (std::size_t f = 0; f < world.features.size(); ++f) {
    const Feature& feature = world.features[f];
    const auto dim = static_cast<std::size_t>(feature.rows.dim);
    for (std::int64_t b = 0; b < ids.batch; ++b) {
      const std::size_t bag = f * static_cast<std::size_t>(ids.batch) + static_cast<std::size_t>(b);
      std::vector<float> sum(dim, 0.0f);
      for (auto k = static_cast<std::size_t>(ids.offsets[bag]); k < static_cast<std::size_t>(ids.offsets[bag + 1]); ++k) {
        const std::int64_t row = row_of(feature, ids.values[k]);
        const std::size_t place = k - static_cast<std::size_t>(ids.offsets[f * static_cast<std::size_t>(ids.batch)]);
        for (std::size_t e = 0; e < dim; ++e) {
          const float x = row < 0 ? 0.0f : world.tables[f][static_cast<std::size_t>(row) * dim + e];
          const float y = row < 0 ? 0.0f : x * (feature.weighted ? ids.weights[k] : 1.0f);
          sum[e] += y;
          if (feature.pooling == Pooling::none && sequences[f][place * dim + e] != y) stop("a sequence is wrong");
        }
      }
      if (feature.pooling == Pooling::none) continue;
      const float* found = out.data() + b * world.width + feature.column;
      for (std::size_t e = 0; e < dim; ++e) {
        if (found[e] != sum[e]) stop("a sum is wrong");
      }
    }
  }
}

template <class Index>
bool serve(Engine& engine, const World& world, Random& random, bool spoilt) {
  Ids<Index> ids = make_ids<Index>(world, random);
  if (spoilt) spoil(ids, random);
  std::vector<std::vector<float>> sequences(world.features.size());
  std::vector<float*> places(world.features.size(), nullptr);
  for (std::size_t f = 0; f < world.features.size(); ++f) {
    if (world.features[f].pooling != Pooling::none) continue;
    // As the binding does: a length that cannot be is refused before the engine is called.
    const auto first = static_cast<std::int64_t>(ids.offsets[f * static_cast<std::size_t>(ids.batch)]);
    const auto last = static_cast<std::int64_t>(ids.offsets[(f + 1) * static_cast<std::size_t>(ids.batch)]);
    const auto length = static_cast<std::int64_t>(ids.values.size());
    if (first < 0 || first > length || last < first || last > length) return false;
    sequences[f].resize(static_cast<std::size_t>((last - first) * world.features[f].rows.dim));
    places[f] = sequences[f].data();
  }
  std::vector<float> out(static_cast<std::size_t>(ids.batch * world.width));
  const Input<Index> input{ids.values.data(),  static_cast<std::int64_t>(ids.values.size()),
                           ids.offsets.data(), ids.weights.data(),
                           ids.batch,          out.data(),
                           world.width,        places.data()};
  const Outcome outcome = engine.run(input, below(random, 2) == 0 ? After::spin : After::sleep);
  const bool refused = outcome.fault.kind != Fault::Kind::none;
  if (refused == sound(world, ids)) stop(refused ? "a good input was refused" : "a bad input was served");
  if (!refused) compare(world, ids, out, sequences);
  return refused;
}

long one_world(std::uint64_t seed, const Target& target) {
  Random random(seed);
  World world;
  for (std::int64_t f = 1 + below(random, 5); f > 0; --f) add_feature(world, random);
  const auto lanes = static_cast<std::int32_t>(1 + below(random, 3));
  world.buckets = {make_bucket(world, random, 8, 1), make_bucket(world, random, Bucket::any, lanes)};
  Engine engine(target, world.features, world.buckets, {0, 1, 2});
  std::atomic<long> refused{0};
  auto caller = [&](std::uint64_t number) {
    Random own(seed * 31 + number);
    for (int i = 0; i < 12; ++i) {
      const bool spoilt = below(own, 2) == 0;
      refused += serve<std::int64_t>(engine, world, own, spoilt) ? 1 : 0;
      refused += serve<std::int32_t>(engine, world, own, spoilt) ? 1 : 0;
    }
  };
  std::thread other(caller, 2);
  caller(1);
  other.join();
  return refused;
}

}  // namespace

int main(int argc, char** argv) {
  long worlds = 40, seed = 1, refused = 0;
  const char* wanted = "";
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--inputs") == 0) worlds = std::atol(argv[i + 1]) / 48 + 1;
    if (std::strcmp(argv[i], "--seed") == 0) seed = std::atol(argv[i + 1]);
    if (std::strcmp(argv[i], "--targets") == 0) wanted = argv[i + 1];
  }
  std::size_t count = 0;
  const Target* const* all = targets(&count);
  for (std::size_t t = 0; t < count; ++t) {
    if (!all[t]->supported() || (*wanted != 0 && std::strstr(wanted, all[t]->name) == nullptr)) continue;
    for (long w = 0; w < worlds; ++w) refused += one_world(static_cast<std::uint64_t>(seed * 100000 + w), *all[t]);
    std::printf("engine_test: %ld inputs on %s\n", worlds * 48, all[t]->name);
  }
  if (refused == 0) stop("no spoilt input was refused");
  std::printf("engine_test: %ld inputs refused\n", refused);
}
