// Look-ups joined by an interaction, fused and not, on every target: what comes back is a fault or exactly the products or sums.
// Elements are small integers, so that sums are exact in any order; arrays are as long as promised, so that a sanitizer
// sees any step beyond them.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "engine/engine.hpp"

namespace {

using namespace recsmith;
using namespace recsmith::engine;

using Random = std::mt19937_64;

std::int64_t below(Random& random, std::int64_t n) { return static_cast<std::int64_t>(random() % n); }

void stop(const char* problem) {
  std::fprintf(stderr, "interaction_test: %s\n", problem);
  std::abort();
}

struct World {
  std::int32_t dim;
  std::vector<std::vector<float>> tables;
  std::vector<Feature> features;
  std::int64_t width() const { return static_cast<std::int64_t>(features.size()) * dim; }
};

World make_world(Random& random) {
  World world{static_cast<std::int32_t>(1 + below(random, below(random, 2) == 0 ? 20 : 140)), {}, {}};
  for (std::int64_t f = 1 + below(random, below(random, 2) == 0 ? 4 : 12); f > 0; --f) {
    const std::int64_t rows = 1 + below(random, 50);
    auto& table = world.tables.emplace_back(static_cast<std::size_t>(rows * world.dim));
    for (float& x : table) x = static_cast<float>(below(random, 9) - 4);
    world.features.push_back({{reinterpret_cast<const std::byte*>(table.data()), rows, world.dim * 4, world.dim,
                               RowType::fp32},
                              world.width(), Pooling::sum, below(random, 4) == 0, below(random, 6) == 0, 0,
                              Policy::error, 0});
  }
  return world;
}

// The first features in a stage of their own, some in row shards; the others, when there are any, fused or not.
BucketSpec make_bucket(const World& world, Random& random, std::int32_t lanes) {
  const auto count = static_cast<std::int32_t>(world.features.size());
  const auto before = static_cast<std::int32_t>(below(random, 2) * below(random, count));
  BucketSpec spec{Bucket::any, before > 0 ? 2 : 1, {}};
  const Tuning tuning{static_cast<Prefetch>(below(random, 4)), static_cast<std::int32_t>(below(random, 30)), 0, false};
  for (std::int32_t f = 0; f < before; ++f) {
    const std::int64_t rows = world.features[f].rows.count, shards = 1 + below(random, std::min<std::int64_t>(rows, 2));
    for (std::int64_t r = 0; r < shards; ++r) {
      const auto lane = static_cast<std::int32_t>(below(random, lanes));
      spec.tasks.push_back({f, 0, lane, rows * r / shards, rows * (r + 1) / shards, {0, 1, 1, 1}, Flow::gm, tuning});
    }
  }
  for (std::int32_t f = before; f < count; ++f) {
    for (std::int32_t lane = 0; lane < lanes; ++lane) {
      spec.tasks.push_back({f, spec.stages - 1, lane, 0, world.features[f].rows.count, {lane, lanes, lane + 1, lanes},
                            static_cast<Flow>(below(random, 4)), tuning});
    }
  }
  spec.block = below(random, 4) == 0 ? 0 : 1 + below(random, 70);
  return spec;
}

template <class Index>
struct Ids {
  std::vector<Index> values, offsets;
  std::vector<float> weights;
};

template <class Index>
Ids<Index> make_ids(const World& world, Random& random, std::int64_t batch) {
  Ids<Index> ids;
  ids.offsets.push_back(0);
  const std::int64_t longest = below(random, 2) == 0 ? 1 : 4;
  for (const Feature& feature : world.features) {
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t n = longest == 1 ? 1 : below(random, longest); n > 0; --n) {
        ids.values.push_back(static_cast<Index>(below(random, feature.rows.count)));
        ids.weights.push_back(static_cast<float>(below(random, 3) - 1));
      }
      ids.offsets.push_back(static_cast<Index>(ids.values.size()));
    }
  }
  return ids;
}

// Vector x of a sample: the caller's, or a feature's sum.
template <class Index>
std::vector<float> vector_of(const World& world, const Ids<Index>& ids, const std::vector<float>& first,
                             std::int64_t batch, std::int64_t sample, std::size_t x) {
  std::vector<float> sum(static_cast<std::size_t>(world.dim), 0.0f);
  if (x == 0) return {first.begin() + sample * world.dim, first.begin() + (sample + 1) * world.dim};
  const Feature& feature = world.features[x - 1];
  const std::size_t bag = (x - 1) * static_cast<std::size_t>(batch) + static_cast<std::size_t>(sample);
  for (auto k = static_cast<std::size_t>(ids.offsets[bag]); k < static_cast<std::size_t>(ids.offsets[bag + 1]); ++k) {
    if (feature.padded && ids.values[k] == feature.padding_id) continue;
    const float* row = world.tables[x - 1].data() + static_cast<std::int64_t>(ids.values[k]) * world.dim;
    for (std::size_t e = 0; e < sum.size(); ++e) sum[e] += row[e] * (feature.weighted ? ids.weights[k] : 1.0f);
  }
  return sum;
}

template <class Index>
void compare(const World& world, const Ids<Index>& ids, const Joint& joint, const std::vector<float>& first,
             std::int64_t batch) {
  for (std::int64_t b = 0; b < batch; ++b) {
    std::vector<std::vector<float>> x;
    for (std::size_t i = 0; i <= world.features.size(); ++i) x.push_back(vector_of(world, ids, first, batch, b, i));
    const float* found = joint.out + b * joint.out_stride;
    auto expect = [&](float wanted) {
      if (*found++ != wanted) stop("an element is wrong");
    };
    if (joint.kind == Join::sum) {
      for (std::size_t e = 0; e < x[0].size(); ++e) {
        float sum = 0.0f;
        for (const auto& vector : x) sum += vector[e];
        expect(joint.rectified ? std::max(sum, 0.0f) : sum);
      }
      continue;
    }
    for (const float element : x[0]) expect(element);
    for (std::size_t i = joint.kind == Join::cat ? 1 : 0; i < x.size(); ++i) {
      for (std::size_t e = 0; joint.kind == Join::cat && e < x[i].size(); ++e) expect(x[i][e]);
      for (std::size_t j = 0; joint.kind == Join::dot && j < i + (joint.self_terms ? 1 : 0); ++j) {
        float product = 0.0f;
        for (std::size_t e = 0; e < x[i].size(); ++e) product += x[i][e] * x[j][e];
        expect(product);
      }
    }
  }
}

template <class Index>
void serve(Engine& engine, const World& world, Random& random, bool spoilt) {
  const std::int64_t batch = below(random, 2) == 0 ? 1 + below(random, 20) : 1 + below(random, 260);
  Ids<Index> ids = make_ids<Index>(world, random, batch);
  if (spoilt && ids.values.empty()) return;
  if (spoilt) ids.values[static_cast<std::size_t>(below(random, static_cast<std::int64_t>(ids.values.size())))] = -7;
  std::vector<float> first(static_cast<std::size_t>(batch * world.dim));
  for (float& x : first) x = static_cast<float>(below(random, 9) - 4);
  constexpr Join kinds[] = {Join::dot, Join::dot, Join::sum, Join::cat};
  const bool flag = below(random, 2) == 0;
  Joint joint{kinds[below(random, 4)], flag, flag, first.data(), world.dim, world.dim, nullptr, 0};
  const auto vectors = static_cast<std::int64_t>(world.features.size() + 1);
  joint.out_stride = world.dim + (joint.kind == Join::cat   ? world.width()
                                  : joint.kind == Join::dot ? pairs_of(vectors, joint.self_terms)
                                                            : 0);
  std::vector<float> out(static_cast<std::size_t>(batch * joint.out_stride));
  joint.out = out.data();
  bool single = below(random, 2) == 0;
  for (std::size_t i = 0; i < ids.offsets.size(); ++i) single = single && ids.offsets[i] == static_cast<Index>(i);
  const Input<Index> input{ids.values.data(), static_cast<std::int64_t>(ids.values.size()),
                           single ? nullptr : ids.offsets.data(), ids.weights.data(), batch,
                           out.data() + world.dim, joint.out_stride, nullptr, &joint};
  const Outcome outcome = engine.run(input, After::spin);
  if ((outcome.fault.kind != Fault::Kind::none) != spoilt) stop(spoilt ? "a bad input was served" : "a good one was not");
  if (!spoilt) compare(world, ids, joint, first, batch);
}

}  // namespace

int main(int argc, char** argv) {
  long worlds = 150, seed = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--worlds") == 0) worlds = std::atol(argv[i + 1]);
    if (std::strcmp(argv[i], "--seed") == 0) seed = std::atol(argv[i + 1]);
  }
  std::size_t count = 0;
  const Target* const* all = targets(&count);
  for (std::size_t t = 0; t < count; ++t) {
    if (!all[t]->supported()) continue;
    for (long w = 0; w < worlds; ++w) {
      Random random(static_cast<std::uint64_t>(seed * 100000 + w));
      const World world = make_world(random);
      const auto lanes = static_cast<std::int32_t>(1 + below(random, 3));
      Engine engine(*all[t], world.features, {make_bucket(world, random, lanes)}, {0, 1, 2});
      for (int i = 0; i < 4; ++i) {
        serve<std::int64_t>(engine, world, random, i == 3);
        serve<std::int32_t>(engine, world, random, i == 3);
      }
    }
    std::printf("interaction_test: %ld inputs on %s\n", worlds * 8, all[t]->name);
  }
}
