// Look-ups whose instructions valgrind counts, so that a slower kernel shows without any noise. One case after the
// other is printed with its number of rows; each is one call of `counted`, the function that is counted.
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "engine/engine.hpp"
#include "isa/list.hpp"
#include "lookup/row.hpp"

namespace {

using namespace recsmith;
using namespace recsmith::engine;

constexpr const char* types[] = {"fp32", "fp16", "bf16", "int8", "int4"};

struct Case {
  const char* name;
  RowType type;
  std::int32_t dim;
  std::int64_t pool;   // ids a bag; 0 is one without offsets
  std::int64_t rows;
  Flow flow;
  std::int64_t block;  // samples written, or joined, together
  bool joined;         // pairwise products with a vector of the caller's
};

constexpr std::int64_t samples = 128, tables = 8;

constexpr Case cases[] = {
    {"one", RowType::fp32, 16, 0, 1000, Flow::gm, 0, false},
    {"one", RowType::fp32, 64, 0, 1000, Flow::gm, 0, false},
    {"one", RowType::fp32, 50, 0, 1000, Flow::gm, 0, false},
    {"one", RowType::fp16, 64, 0, 1000, Flow::gm, 0, false},
    {"one", RowType::int8, 64, 0, 1000, Flow::gm, 0, false},
    {"one", RowType::int4, 64, 0, 1000, Flow::gm, 0, false},
    {"tiles", RowType::fp32, 16, 0, 1000, Flow::gm, 32, false},
    {"tiles", RowType::fp32, 64, 0, 1000, Flow::gm, 32, false},
    {"tiles", RowType::int8, 64, 0, 1000, Flow::gm, 32, false},
    {"near", RowType::fp32, 16, 0, 1000, Flow::l1, 0, false},
    {"bags", RowType::fp32, 16, 20, 1000, Flow::gm, 0, false},
    {"bags", RowType::fp32, 64, 20, 1000, Flow::gm, 0, false},
    {"bags", RowType::fp32, 128, 20, 1000, Flow::gm, 0, false},
    {"bags", RowType::fp32, 50, 20, 1000, Flow::gm, 0, false},
    {"bags", RowType::fp16, 128, 20, 1000, Flow::gm, 0, false},
    {"bags", RowType::bf16, 64, 20, 1000, Flow::gm, 0, false},
    {"bags", RowType::int8, 64, 20, 1000, Flow::gm, 0, false},
    {"bags", RowType::int8, 128, 20, 1000, Flow::gm, 0, false},
    {"bags", RowType::int4, 64, 20, 1000, Flow::gm, 0, false},
    {"bags", RowType::int4, 128, 20, 1000, Flow::gm, 0, false},
    {"counted", RowType::fp32, 128, 100, 10, Flow::l1_ub, 0, false},
    {"chunks", RowType::fp32, 64, 0, 1000, Flow::gm_ub, 0, false},
    {"dots", RowType::fp32, 16, 0, 1000, Flow::gm, 64, true},
    {"dots", RowType::fp32, 64, 0, 1000, Flow::gm, 64, true},
    {"dots", RowType::int8, 64, 0, 1000, Flow::gm, 64, true},
};

struct alignas(64) Line {
  std::byte bytes[64];
};

// A plan on one core for one case, with memory of its own that begins at cache lines.
class Work {
 public:
  explicit Work(const Case& c)
      : stride_((row_bytes(c.type, c.dim) + 63) / 64 * 64), ids_(ids_of(c)), offsets_(offsets_of(c)),
        stored_(lines(tables * c.rows * stride_)), first_(lines(samples * c.dim * 4)),
        out_(lines(samples * out_width(c) * 4)) {
    std::memset(stored_.data(), 0x21, stored_.size() * sizeof(Line));
    for (std::int32_t t = 0; t < tables; ++t) {
      const std::byte* base = stored_.data()->bytes + t * c.rows * stride_;
      features.push_back({{base, c.rows, stride_, c.dim, c.type}, t * c.dim, Pooling::sum, false, false, 0,
                          Policy::error, 0});
      bucket.tasks.push_back({t, 0, 0, 0, c.rows, {0, 1, 1, 1}, c.flow, {Prefetch::t1, 16, c.joined ? 0 : c.block,
                                                                            false}});
    }
    bucket.block = c.joined ? c.block : 0;
    joint_ = {Join::dot, false, false, floats(first_), c.dim, c.dim, floats(out_), out_width(c)};
    input = {ids_.data(), static_cast<std::int64_t>(ids_.size()), c.pool > 0 ? offsets_.data() : nullptr, nullptr,
             samples, floats(out_), out_width(c), nullptr, c.joined ? &joint_ : nullptr};
  }
  Work(const Work&) = delete;

  std::vector<Feature> features;
  BucketSpec bucket{Bucket::any, 1, {}};
  Input<std::int64_t> input;

 private:
  static std::int64_t out_width(const Case& c) {
    return c.joined ? (c.dim + pairs_of(tables + 1, false) + 15) / 16 * 16 : tables * c.dim;
  }
  static std::vector<Line> lines(std::int64_t bytes) { return std::vector<Line>(static_cast<std::size_t>(bytes / 64)); }
  static float* floats(std::vector<Line>& lines) { return reinterpret_cast<float*>(lines.data()); }

  static std::vector<std::int64_t> ids_of(const Case& c) {
    std::mt19937_64 random(7);
    std::vector<std::int64_t> ids(static_cast<std::size_t>(tables * samples * (c.pool > 0 ? c.pool : 1)));
    for (auto& id : ids) id = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(c.rows));
    return ids;
  }
  static std::vector<std::int64_t> offsets_of(const Case& c) {
    std::vector<std::int64_t> offsets;
    for (std::int64_t i = 0; i <= tables * samples; ++i) offsets.push_back(i * c.pool);
    return offsets;
  }

  std::int64_t stride_;
  std::vector<std::int64_t> ids_, offsets_;
  std::vector<Line> stored_, first_, out_;
  Joint joint_;
};

}  // namespace

// By this name, and never as a part of another function: valgrind counts what happens from its call to its return.
extern "C" [[gnu::noinline]] bool counted(Engine& engine, const Input<std::int64_t>& input) {
  return engine.run(input, After::sleep).fault.kind == Fault::Kind::none;
}

int main() {
  for (const Target* target : {&scalar_target, &avx2_target}) {
    if (!target->supported()) continue;
    for (const Case& c : cases) {
      Work work(c);
      Engine engine(*target, work.features, {work.bucket}, {0});
      // The first run grows working memory.
      if (engine.run(work.input, After::sleep).fault.kind != Fault::Kind::none || !counted(engine, work.input)) return 1;
      std::printf("%s-%s-%s-dim%d %lld\n", target->name, c.name, types[static_cast<int>(c.type)], c.dim,
                  static_cast<long long>(work.input.length));
    }
  }
}
