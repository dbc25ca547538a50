// Runs look-ups drawn from bytes through every target and flow and compares them with plain double precision.
// With libFuzzer (RECSMITH_LIBFUZZER) the bytes are the fuzzer's; else:
//   fuzz_kernels --inputs 20000 --seed 1 --threads 2 --targets scalar,avx512
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "lookup/target.hpp"
#include "tests/expected.hpp"
#include "tests/guarded.hpp"
#include "tests/input.hpp"

using namespace recsmith;
using namespace recsmith::tests;

namespace {

std::string chosen_targets;  // comma-separated; empty for all

bool chosen(const char* name) {
  const std::string list = "," + chosen_targets + ",";
  return chosen_targets.empty() || list.find("," + std::string(name) + ",") != std::string::npos;
}

[[noreturn]] void fail(const char* what, const Target& target, const Input& in, int flow) {
  std::fprintf(stderr, "%s: target %s flow %d type %d dim %d rows %ld bags %d weighted %d mean %d stream %d\n", what,
               target.name, flow, static_cast<int>(in.type), in.dim, static_cast<long>(in.rows), in.bags, in.weighted,
               in.mean, in.stream);
  std::abort();
}

template <class T, class From>
Guarded copy(const std::vector<From>& from) {
  Guarded to(from.size() * sizeof(T));
  for (std::size_t i = 0; i < from.size(); ++i) to.as<T>()[i] = static_cast<T>(from[i]);
  return to;
}

void compare(const Input& in, const Expected& expected, const float* out, const Target& target, int flow) {
  for (std::int64_t i = 0; i < in.samples(); ++i) {
    for (std::int64_t column = 0; column < in.dim; ++column) {
      const std::size_t at = static_cast<std::size_t>(i * in.dim + column);
      if (std::isinf(expected.bounds[at])) continue;
      const double error = std::abs(out[i * in.out_stride + column] - expected.sums[at]);
      if (!(error <= expected.bounds[at])) fail("differs from the oracle", target, in, flow);
    }
    if (i + 1 == in.samples()) break;
    for (std::int64_t column = in.dim; column < in.out_stride; ++column) {
      if (out[i * in.out_stride + column] != 7.0f) fail("wrote past dim", target, in, flow);
    }
  }
}

template <class Index>
void run(const Input& in, const Expected& expected, const Target& target, const IndexFunctions<Index>& functions) {
  // All but the last byte of the stride behind the last row is out of bounds.
  const std::size_t bytes = static_cast<std::size_t>((in.rows - 1) * in.stride + row_bytes(in.type, in.dim));
  const Guarded stored(bytes);
  std::memcpy(stored.data(), in.stored.data(), bytes);
  const Guarded ids = copy<Index>(in.ids), offsets = copy<Index>(in.offsets), weights = copy<float>(in.weights);
  const std::int64_t samples = in.samples();
  const std::size_t floats = samples == 0 ? 0 : static_cast<std::size_t>((samples - 1) * in.out_stride + in.dim);
  const Guarded out(floats * sizeof(float));
  const std::int64_t scratch_bytes = in.scratch_bytes / 64 * 64;
  const Guarded scratch(static_cast<std::size_t>(scratch_bytes));
  Call<Index> call{};
  call.rows = {stored.data(), in.rows, in.stride, in.dim, in.type};
  call.ids = ids.as<Index>();
  call.ids_end = call.ids + in.ids.size();
  call.offsets = in.bags ? offsets.as<Index>() : nullptr;
  call.weights = in.weighted ? weights.as<float>() : nullptr;
  call.samples = samples;
  call.out = out.as<float>();
  call.out_stride = in.out_stride;
  call.mean = in.mean;
  call.stream = in.stream;
  call.level = in.level;
  call.distance = in.distance;
  call.scratch = scratch.data();
  call.scratch_bytes = scratch_bytes;
  const Next<Index> next{call.rows, call.ids, static_cast<std::int64_t>(in.ids.size()), in.level, in.distance};
  call.next = in.next ? &next : nullptr;
  functions.prefetch(call.rows, call.ids, static_cast<std::int64_t>(in.ids.size()), in.level);
  for (int flow = 0; flow < 4; ++flow) {
    for (std::size_t i = 0; i < floats; ++i) call.out[i] = 7.0f;
    functions.kernel(static_cast<Flow>(flow), in.type, in.dim)(call);
    compare(in, expected, call.out, target, flow);
  }
}

// Ids and offsets of any value: the checks come before the kernels.
template <class Index>
void run_checks(Source& from, const Target& target, const IndexFunctions<Index>& functions) {
  std::vector<std::int64_t> drawn(1 + from.below(300));
  std::int64_t at = 0;
  const std::uint64_t widest = from.below(2) != 0 ? 1 : 16;
  for (auto& x : drawn) x = at += 1 + static_cast<std::int64_t>(from.below(widest)) - (from.below(200) == 0 ? 20 : 0);
  const Guarded values = copy<Index>(drawn);
  const Index* p = values.as<Index>();
  const auto n = static_cast<std::int64_t>(drawn.size());
  const auto rows = static_cast<std::int64_t>(from.below(5000));
  std::int64_t outside = 0, fall = 0;
  while (outside < n && p[outside] >= 0 && p[outside] < rows) ++outside;
  while (fall < n - 1 && p[fall] <= p[fall + 1]) ++fall;
  bool each = true;
  for (std::int64_t i = 0; i + 1 < n; ++i) each = each && p[i + 1] - p[i] == 1;
  if (functions.first_outside(p, n, rows) != outside || functions.first_fall(p, n - 1) != fall ||
      functions.one_each(p, n - 1) != each) {
    std::fprintf(stderr, "a check of target %s is wrong\n", target.name);
    std::abort();
  }
}

void one_input(const std::uint8_t* data, std::size_t size) {
  Source from(data, size);
  const Input in = draw(from);
  const Expected expected = expect(in);
  std::size_t count = 0;
  const Target* const* all = targets(&count);
  for (std::size_t i = 0; i < count; ++i) {
    if (!all[i]->supported() || !chosen(all[i]->name)) continue;
    run(in, expected, *all[i], all[i]->int32);
    run(in, expected, *all[i], all[i]->int64);
    Source again(data, size);
    run_checks(again, *all[i], all[i]->int32);
    run_checks(again, *all[i], all[i]->int64);
  }
}

}  // namespace

#ifdef RECSMITH_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  one_input(data, size);
  return 0;
}
#else
int main(int argc, char** argv) {
  long inputs = 2000, seed = 1, threads = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--inputs") == 0) inputs = std::atol(argv[i + 1]);
    if (std::strcmp(argv[i], "--seed") == 0) seed = std::atol(argv[i + 1]);
    if (std::strcmp(argv[i], "--threads") == 0) threads = std::atol(argv[i + 1]);
    if (std::strcmp(argv[i], "--targets") == 0) chosen_targets = argv[i + 1];
  }
  auto work = [=](long thread) {
    std::mt19937_64 random(static_cast<std::uint64_t>(seed * 1000 + thread));
    std::vector<std::uint8_t> bytes(4096);
    for (long i = 0; i < inputs / threads; ++i) {
      for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
      one_input(bytes.data(), bytes.size());
    }
  };
  std::vector<std::thread> team;
  for (long thread = 0; thread < threads; ++thread) team.emplace_back(work, thread);
  for (auto& member : team) member.join();
  std::size_t count = 0;
  const Target* const* all = targets(&count);
  std::printf("fuzz_kernels: %ld inputs agree on", inputs);
  for (std::size_t i = 0; i < count; ++i) {
    if (all[i]->supported() && chosen(all[i]->name)) std::printf(" %s", all[i]->name);
  }
  std::printf("\n");
}
#endif
