#include "calibration/lookups.hpp"

#include <atomic>
#include <memory>
#include <new>

namespace recsmith::calibration {

namespace {

using Index = std::int64_t;

struct FreeAligned {
  void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{64}); }
};
using Scratch = std::unique_ptr<std::byte[], FreeAligned>;

Scratch make_scratch(std::int64_t bytes) {
  return Scratch(new (std::align_val_t{64}) std::byte[static_cast<std::size_t>(bytes)]);
}

std::vector<Index> even_offsets(const Lookups& lookups) {
  std::vector<Index> offsets(static_cast<std::size_t>(lookups.batch + 1));
  for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<Index>(i) * lookups.pooling;
  return offsets;
}

void run_round(Kernel<Index> kernel, const Lookups& lookups, const Share& share, const Index* ids,
               const Index* offsets, std::byte* scratch) {
  const Rows rows{share.base, lookups.rows, lookups.stride, lookups.dim, lookups.type};
  const Index step = lookups.batch * lookups.pooling;
  for (Index at = 0; at < lookups.count; at += step) {
    const Next<Index> next{rows, ids + at + step, step, lookups.level, lookups.distance};
    kernel({.rows = rows,
            .ids = ids + at,
            .ids_end = ids + at + step,
            .offsets = lookups.pooling > 1 ? offsets : nullptr,
            .weights = nullptr,
            .samples = lookups.batch,
            .out = share.out,
            .out_stride = lookups.dim,
            .mean = false,
            .stream = lookups.stream,
            .level = lookups.level,
            .distance = lookups.distance,
            .next = at + step < lookups.count ? &next : nullptr,
            .scratch = scratch,
            .scratch_bytes = lookups.scratch_bytes});
  }
  if (lookups.stream) std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace

std::vector<Span> time_lookups(const Target& target, const Lookups& lookups, const std::vector<Share>& shares,
                               const std::vector<int>& cores, int rounds) {
  const Kernel<Index> kernel = target.int64.kernel(lookups.flow, lookups.type, lookups.dim);
  const std::vector<Index> offsets = even_offsets(lookups);
  std::vector<Scratch> scratch;
  for (std::size_t i = 0; i < cores.size(); ++i) scratch.push_back(make_scratch(lookups.scratch_bytes));
  std::vector<Index> done(cores.size() * 8, 0);  // rounds of each core, a cache line apart
  return run_together(cores, rounds, [&](int slot) {
    const auto at = static_cast<std::size_t>(slot);
    const Index round = done[at * 8]++;
    run_round(kernel, lookups, shares[at], shares[at].ids + round * lookups.count, offsets.data(), scratch[at].get());
  });
}

}  // namespace recsmith::calibration
