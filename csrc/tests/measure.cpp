// Nanoseconds a row of every chosen kernel on one chain of tables, interleaved with the pointer-list bound.
//   measure --rows 1000000,3000 --dim 64 --batch 2048 --pool 0 --dtype fp32,int8 --target avx2,avx512 --flow gm
//           --distance 8,16,32 --level t0,t1 --stream 0,1 --rounds 15 --align 0
// pool 0 is one id a sample. Runs for counting instructions take --rounds 1 --bound 0.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "lookup/row.hpp"
#include "lookup/target.hpp"
#include "tests/bound.hpp"

using namespace recsmith;

namespace {

using Options = std::map<std::string, std::string>;

std::vector<std::string> list(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

std::byte* pages(std::int64_t bytes) {
  constexpr std::int64_t huge = 2 << 20;
  bytes = (bytes + huge - 1) / huge * huge;
  void* p = mmap(nullptr, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) std::abort();
  auto at = (reinterpret_cast<std::uintptr_t>(p) + huge - 1) / huge * huge;
  madvise(reinterpret_cast<void*>(at), bytes, MADV_HUGEPAGE);
  return reinterpret_cast<std::byte*>(at);
}

template <class Enum, std::size_t N>
Enum choose(const std::string& name, const char* const (&menu)[N]) {
  for (std::size_t i = 0; i < N; ++i) {
    if (name == menu[i]) return static_cast<Enum>(i);
  }
  std::fprintf(stderr, "unknown: %s\n", name.c_str());
  std::exit(2);
}

constexpr const char* types[] = {"fp32", "fp16", "bf16", "int8", "int4"};
constexpr const char* flows[] = {"gm", "l1", "gm_ub", "l1_ub"};
constexpr const char* levels[] = {"none", "t0", "t1", "nta"};

struct Workload {
  std::vector<std::int64_t> rows;
  std::int32_t dim;
  std::int64_t batch, pool, batches;
  std::vector<std::vector<std::int64_t>> ids;  // by batch * tables + table
  std::vector<std::int64_t> offsets;
  float* out;
  std::int64_t look_ups() const {
    return static_cast<std::int64_t>(rows.size()) * batch * std::max<std::int64_t>(1, pool);
  }
};

Workload make_workload(const Options& o) {
  Workload w{};
  for (const auto& r : list(o.at("rows"))) w.rows.push_back(std::stoll(r));
  w.dim = std::stoi(o.at("dim"));
  w.batch = std::stoll(o.at("batch"));
  w.pool = std::stoll(o.at("pool"));
  w.batches = std::max<std::int64_t>(2, std::stoll(o.at("ids")) / w.look_ups());
  std::mt19937_64 random(7);
  for (std::int64_t b = 0; b < w.batches; ++b) {
    for (const auto rows : w.rows) {
      std::vector<std::int64_t> ids(w.batch * std::max<std::int64_t>(1, w.pool));
      for (auto& id : ids) id = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(rows));
      w.ids.push_back(std::move(ids));
    }
  }
  for (std::int64_t i = 0; i <= w.batch; ++i) w.offsets.push_back(i * w.pool);
  w.out = reinterpret_cast<float*>(pages(w.batch * w.dim * static_cast<std::int64_t>(w.rows.size()) * 4));
  return w;
}

std::vector<Rows> make_tables(const Workload& w, RowType type, std::int64_t align) {
  std::vector<Rows> tables;
  for (const auto rows : w.rows) {
    std::int64_t stride = row_bytes(type, w.dim);
    if (align > 0) stride = (stride + align - 1) / align * align;
    std::byte* base = pages(rows * stride);
    std::memset(base, 0x21, rows * stride);
    tables.push_back({base, rows, stride, w.dim, type});
  }
  return tables;
}

struct Variant {
  std::string name;
  const Target* target;
  Flow flow;
  RowType type;
  Prefetch level;
  std::int32_t distance;
  bool stream;
  const std::vector<Rows>* tables;
  std::vector<double> seconds;
};

void run(const Variant& v, const Workload& w, std::int64_t batch, std::byte* scratch) {
  const std::size_t tables = w.rows.size();
  for (std::size_t t = 0; t < tables; ++t) {
    const auto& ids = w.ids[batch * tables + t];
    Next<std::int64_t> next{};
    if (t + 1 < tables) {
      const auto& following = w.ids[batch * tables + t + 1];
      next = {(*v.tables)[t + 1], following.data(), static_cast<std::int64_t>(following.size()), v.level, v.distance};
    }
    Call<std::int64_t> call{};
    call.rows = (*v.tables)[t];
    call.ids = ids.data();
    call.ids_end = ids.data() + ids.size();
    call.offsets = w.pool > 0 ? w.offsets.data() : nullptr;
    call.samples = w.batch;
    call.out_stride = w.dim * static_cast<std::int64_t>(tables);
    call.out = w.out + t * w.dim;
    call.stream = v.stream;
    call.level = v.level;
    call.distance = v.distance;
    call.next = t + 1 < tables && v.distance > 0 ? &next : nullptr;
    call.scratch = scratch;
    call.scratch_bytes = 1 << 18;
    v.target->int64.kernel(v.flow, v.type, w.dim)(call);
  }
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double quartile(std::vector<double> v, double q) {
  std::sort(v.begin(), v.end());
  return v[static_cast<std::size_t>(q * static_cast<double>(v.size() - 1))];
}

struct Bound {
  RowType type;
  const std::vector<Rows>* tables;
  std::map<std::string, std::vector<double>> seconds;
};

volatile float sink;

void run_bound(Bound& bound, const Workload& w, std::int64_t batch) {
  std::vector<const std::byte*> rows;
  const std::size_t tables = w.rows.size();
  for (std::size_t t = 0; t < tables; ++t) {
    for (const auto id : w.ids[batch * tables + t]) {
      const Rows& r = (*bound.tables)[t];
      rows.push_back(reinterpret_cast<const std::byte*>(reinterpret_cast<std::uintptr_t>(address(r, id)) / 64 * 64));
    }
  }
  const int lines = static_cast<int>((row_bytes(bound.type, w.dim) + 63) / 64);
  // Which flavour goes first differs by batch; each reads rows that the others have just brought near, so each gets its
  // own batch.
  const int flavour = static_cast<int>(batch % 6);
  const std::size_t distance = flavour % 2 == 0 ? 16 : 48;
  const double start = now();
  switch (flavour / 2) {
    case 0: sink = tests::read_rows<3>(rows, lines, distance); break;
    case 1: sink = tests::read_rows<2>(rows, lines, distance); break;
    default: sink = tests::read_rows<0>(rows, lines, distance); break;
  }
  bound.seconds[std::to_string(flavour)].push_back(now() - start);
}

std::vector<Variant> make_variants(const Options& o, const std::map<std::string, std::vector<Rows>>& tables) {
  std::vector<Variant> variants;
  std::size_t count = 0;
  const Target* const* all = targets(&count);
  for (const auto& dtype : list(o.at("dtype"))) {
    for (const auto& name : list(o.at("target"))) {
      for (std::size_t i = 0; i < count; ++i) {
        if (name != all[i]->name || !all[i]->supported()) continue;
        for (const auto& flow : list(o.at("flow"))) {
          for (const auto& level : list(o.at("level"))) {
            for (const auto& distance : list(o.at("distance"))) {
              for (const auto& stream : list(o.at("stream"))) {
                variants.push_back({dtype + " " + name + " " + flow + " " + level + " P" + distance + " nt" + stream,
                                    all[i], choose<Flow>(flow, flows), choose<RowType>(dtype, types),
                                    choose<Prefetch>(level, levels), std::stoi(distance), stream == "1",
                                    &tables.at(dtype), {}});
              }
            }
          }
        }
      }
    }
  }
  return variants;
}

}  // namespace

int main(int argc, char** argv) {
  Options o{{"rows", "1000000"}, {"dim", "64"},      {"batch", "2048"}, {"pool", "0"},   {"dtype", "fp32"},
            {"flow", "gm"},      {"target", "avx2"}, {"level", "t1"},   {"stream", "0"}, {"distance", "16"},
            {"rounds", "15"},    {"bound", "1"},     {"align", "0"},    {"ids", "4000000"}};
  for (int i = 1; i + 1 < argc; i += 2) o[argv[i] + 2] = argv[i + 1];
  const Workload w = make_workload(o);
  std::map<std::string, std::vector<Rows>> tables;
  std::vector<Bound> bounds;
  for (const auto& dtype : list(o.at("dtype"))) {
    const auto type = choose<RowType>(dtype, types);
    tables[dtype] = make_tables(w, type, std::stoll(o.at("align")));
    bounds.push_back({type, &tables[dtype], {}});
  }
  std::byte* scratch = pages(1 << 18);
  auto variants = make_variants(o, tables);
  std::int64_t batch = 0;
  for (int round = 0; round < std::stoi(o.at("rounds")); ++round) {
    for (auto& v : variants) {
      const double start = now();
      run(v, w, batch, scratch);
      v.seconds.push_back(now() - start);
      batch = (batch + 1) % w.batches;
    }
    for (auto& bound : bounds) {
      for (int i = 0; o.at("bound") == "1" && i < 6; ++i, batch = (batch + 1) % w.batches) run_bound(bound, w, batch);
    }
  }
  const double ns = 1e9 / static_cast<double>(w.look_ups());
  for (auto& v : variants) {
    std::printf("%-36s %7.2f ns/row [%.2f-%.2f]\n", v.name.c_str(), quartile(v.seconds, 0.5) * ns,
                quartile(v.seconds, 0.25) * ns, quartile(v.seconds, 0.75) * ns);
  }
  for (auto& bound : bounds) {
    double best = 1e9;
    std::string name;
    for (auto& [flavour, seconds] : bound.seconds) {
      if (quartile(seconds, 0.5) < best) best = quartile(seconds, 0.5), name = flavour;
    }
    if (!bound.seconds.empty()) {
      const std::string label = std::string(types[static_cast<int>(bound.type)]) + " bound";
      std::printf("%-36s %7.2f ns/row (flavour %s)\n", label.c_str(), best * ns, name.c_str());
    }
  }
}
