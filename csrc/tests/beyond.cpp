// Ideas beyond the paper beside the engine as it is: products of tiny tables, histogram x table, de-duplication within
// a batch, page-sorted gathers, compact hot rows. One line for each shape, law, batch and number of cores: microseconds
// a batch of the best plain way and of the idea's best, and how many times as fast the idea is (95 % interval).
//   beyond --idea products --rounds 41 --batch 128,2048 --cores 1,2
#include <cstdlib>
#include <map>
#include <sstream>

#include "tests/beyond/counting.hpp"
#include "tests/beyond/distinct.hpp"
#include "tests/beyond/hot.hpp"
#include "tests/beyond/products.hpp"
#include "tests/beyond/sorted.hpp"

using namespace recsmith;
using namespace recsmith::beyond;

namespace {

using Options = std::map<std::string, std::string>;

const Law uniform{"uniform", 0}, zipf{"zipf 1.05", 1.05}, fixed{"fixed", -1};

std::vector<std::string> list(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

Shape of_rows(std::string name, std::int32_t dim, const std::vector<std::int64_t>& rows, std::int64_t pooling = 1) {
  Shape shape{std::move(name), {}};
  for (const std::int64_t r : rows) shape.tables.push_back({r, dim, pooling});
  return shape;
}

using Batches = std::vector<std::vector<Batch>>;

// So many that their ids have left the last cache when they come again.
Batches make_batches(const Shape& shape, const Law& law, std::int64_t samples, int cores, Order order) {
  constexpr std::int64_t pool_ids = 6 << 20;
  Random random(11);
  Batches batches;
  const std::int64_t count = std::max<std::int64_t>(4, pool_ids / (samples * shape.ids_a_sample()));
  for (std::int64_t b = 0; b < count; ++b) {
    auto& parts = batches.emplace_back();
    for (int c = 0; c < cores; ++c) {
      parts.push_back(draw(shape, law, samples * (c + 1) / cores - samples * c / cores, order, random));
    }
  }
  return batches;
}

struct Try {
  const char* idea;
  Shape shape;
  std::vector<Law> laws;
};

std::string bytes_name(std::int64_t bytes) {
  return bytes >= 1 << 20 ? std::to_string(bytes >> 20) + " MiB" : std::to_string(bytes >> 10) + " KiB";
}

std::vector<Way> make_ways(const Try& one, const std::vector<Rows>& tables, const Batches& scattered_ids,
                           const Batches& ranked_ids) {
  const Shape& shape = one.shape;
  const std::string idea = one.idea;
  std::vector<Way> ways;
  auto add = [&](std::string name, bool is_idea, Serve serve, const Batches& batches) {
    ways.push_back({std::move(name), is_idea, std::move(serve), &batches});
  };
  for (const Manner& manner : manners(shape)) {
    add(manner.name, false, plain(shape, tables, manner), scattered_ids);
    if (idea == "hot") add("stored by rank, " + manner.name, true, plain(shape, tables, manner), ranked_ids);
    for (const std::int64_t bytes : {8 << 10, 32 << 10, 256 << 10}) {
      if (idea != "products" || manner.copies_ids) break;
      if (groups(shape, bytes).size() == shape.tables.size()) continue;  // nothing to multiply
      add(bytes_name(bytes) + ", " + manner.name, true, products(shape, tables, manner, bytes), scattered_ids);
    }
  }
  if (idea == "counting") {
    Manner flow{"l1_ub", 0, false};
    flow.near = Flow::l1_ub;
    add(flow.name, true, plain(shape, tables, flow), scattered_ids);
    add("four histograms", true, counting(shape, tables), scattered_ids);
    add("32 bags at a time", false, every_id(tables), scattered_ids);
  }
  if (idea == "distinct") add("each once", true, distinct(shape, tables), scattered_ids);
  if (idea == "sorted") {
    for (const Manner& manner : {Manner{"by feature, 48 ahead", 0, false, Prefetch::t1, 48},
                                 Manner{"by feature, t0", 0, false, Prefetch::t0, 16}}) {
      add(manner.name, false, plain(shape, tables, manner), scattered_ids);
    }
    for (const std::int64_t most : {1, 64, 512, 4096}) {
      add(std::to_string(most) + " ranges", true, sorted(shape, tables, most), scattered_ids);
      add(std::to_string(most) + " ranges, asked for", true, asked_sorted(shape, tables, most), scattered_ids);
    }
  }
  if (idea == "hot") {
    add("48 ahead", false, plain(shape, tables, {"", 0, false, Prefetch::t1, 48}), scattered_ids);
    for (const int size : {0, 1}) {
      add("copies of " + bytes_name(hot_bytes[size]), true, hot(shape, tables, size), scattered_ids);
    }
    add("stored by rank, 48 ahead", true, plain(shape, tables, {"", 0, false, Prefetch::t1, 48}), ranked_ids);
  }
  return ways;
}

Shape with(Shape shape, const char* suffix, RowType type, engine::Pages pages = engine::Pages::huge,
           bool weighted = false) {
  shape.name += suffix, shape.type = type, shape.pages = pages, shape.weighted = weighted;
  return shape;
}

// Tables in the order of the features; those of `criteo` beyond 3 M rows are left out, which all ways serve alike.
const std::vector<std::int64_t> criteo{1460, 583, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 3194, 27,
                                       14992, 10, 5652, 2173, 4, 18, 15, 286181, 105, 142572};
const std::vector<std::int64_t> avazu{240, 7, 7, 4737, 7745, 26, 8552, 559, 36, 2686408, 6729486,
                                      8251, 5, 4, 2626, 8, 9, 435, 4, 68, 172, 60};
const std::vector<std::int64_t> kuairec{
    7176,  4,     2,     2,     2,     8,     7,     7,     7,     2,     8,     30,    1076,  12,    10,    3,
    47,    340,   7,     5,     3,     2,     2,     2,     2,     2,     2,     1000,  300,   250,   1800,  10728,
    8400,  2,     250,   20,    4,     6000,  200,   300,   7000,  2600,  30000, 30000, 30000, 30000, 30000, 30000,
    30000, 30000, 30000, 30000, 30000, 30000, 6000,  6000,  6000,  6000,  150,   150,   1500,  1500,  1500,  1500,
    150,   150,   1500,  1500,  1500,  1500,  150,   150,   1500,  1500,  1500,  1500,  150,   150,   150,   150,
    1500,  1500,  150,   150};
const std::vector<std::int64_t> kuairec_by_size{2, 2, 2, 2,  2,  2,  2,  2,  2,   2,    2,    3,    3,    4,    4, 5,
                                                7, 7, 7, 7,  8,  8,  10, 12, 20,  30,   31,   47,   340,  1076, 2600,
                                                7000, 7176, 8400, 10728};

std::vector<Try> tries() {
  const std::vector<Law> all{uniform, zipf, fixed}, skewed{zipf, fixed};
  constexpr auto small = engine::Pages::small, huge = engine::Pages::huge;
  std::vector<Try> found{
      {"products", of_rows("criteo_kaggle 16", 16, criteo), {uniform, zipf}},
      {"products", of_rows("avazu 16", 16, avazu), {uniform, zipf}},
      {"products", of_rows("kuairec_big_84_guess 16", 16, kuairec), {uniform, zipf}},
      {"products", of_rows("kuairec, tables by size 16", 16, kuairec_by_size), {uniform}},
      {"products", of_rows("criteo tiny 16", 16, {3, 4, 10, 15, 18, 24, 27}), {uniform}},
      {"products", of_rows("kuairec tiny 16", 16, {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 4, 4, 5}), {uniform}},
      {"counting", {"taobao_ad btag", {{5, 8, 50}}}, {uniform, zipf}},
  };
  for (const std::int32_t dim : {16, 64}) {
    for (const std::int64_t rows : {3, 8, 16, 32, 64}) {
      Shape shape{"100 ids of " + std::to_string(rows) + " rows of " + std::to_string(dim), {{rows, dim, 100}}};
      found.push_back({"counting", shape, {uniform}});
      found.push_back({"counting", with(shape, ", weighted", RowType::fp32, huge, true), {uniform}});
    }
  }
  for (const auto type : {RowType::fp32, RowType::int8}) {
    const char* suffix = type == RowType::fp32 ? " fp32" : " int8";
    for (const std::int32_t dim : {16, 64}) {
      const std::string name = "2 x 4 M rows of " + std::to_string(dim);
      found.push_back({"hot", with(of_rows(name, dim, {4000000, 4000001}), suffix, type), {zipf}});
      found.push_back({"hot", with(of_rows(name + " 4k", dim, {4000000, 4000001}), suffix, type, small), {zipf}});
      found.push_back({"distinct", with(of_rows(name, dim, {4000000, 4000001}), suffix, type), all});
    }
    found.push_back({"distinct", with(of_rows("1 M rows of 64, 20 a bag", 64, {1000000}, 20), suffix, type), skewed});
  }
  const std::vector<Shape> large{of_rows("2 x 8 M rows of 16", 16, {8000000, 8000001}),
                                 of_rows("2 x 4 M rows of 64", 64, {4000000, 4000001}),
                                 of_rows("4 M rows of 128, 50 a bag", 128, {4000000}, 50)};
  for (const Shape& shape : large) {
    found.push_back({"sorted", with(shape, " 4k", RowType::fp32, small), {uniform, zipf}});
    found.push_back({"sorted", with(shape, " huge", RowType::fp32, huge), {uniform, zipf}});
  }
  return found;
}

void run(const Try& one, const Options& o) {
  const Tables tables(one.shape, std::string(one.idea) == "hot" ? hot_room : 0);
  for (const Law& law : one.laws) {
    for (const std::string& batch : list(o.at("batch"))) {
      for (const std::string& cores : list(o.at("cores"))) {
        const int c = std::stoi(cores);
        const Batches scattered_ids = make_batches(one.shape, law, std::stoll(batch), c, Order::scattered);
        const Batches ranked_ids = std::string(one.idea) == "hot"
                                       ? make_batches(one.shape, law, std::stoll(batch), c, Order::by_rank)
                                       : Batches{};
        auto ways = make_ways(one, tables.rows(), scattered_ids, ranked_ids);
        const Compared r = measure(one.shape, tables.rows(), ways, c, std::stoi(o.at("rounds")));
        std::printf("%-9s %-34s %-9s batch %4s, %d core%s: ", one.idea, one.shape.name.c_str(), law.name.c_str(),
                    batch.c_str(), c, c == 1 ? " " : "s");
        std::printf("%8.1f us (%s), %8.1f us (%s): %.2f (%.2f to %.2f)\n", r.plain_s * 1e6, r.plain.c_str(),
                    r.idea_s * 1e6, r.idea.c_str(), r.ratio, r.low, r.high);
        if (o.at("all") == "1") {
          for (const Way& way : ways) std::printf("    %-44s %9.1f us\n", way.name.c_str(), median(way.seconds) * 1e6);
        }
        std::fflush(stdout);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o{{"idea", ""}, {"shape", ""}, {"rounds", "41"}, {"batch", "128,2048"}, {"cores", "1,2"}, {"all", "0"}};
  for (int i = 1; i + 1 < argc; i += 2) o[argv[i] + 2] = argv[i + 1];
  for (const Try& one : tries()) {
    if (!o["idea"].empty() && o["idea"] != one.idea) continue;
    if (one.shape.name.find(o["shape"]) == std::string::npos) continue;
    run(one, o);
  }
}
