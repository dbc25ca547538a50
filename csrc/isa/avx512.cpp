#include "simd/avx512.hpp"

#include "isa/list.hpp"
#include "lookup/menu.hpp"

namespace recsmith {

namespace {
// The compiler's runtime asks the operating system too: registers that it does not save do not count.
bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("bmi2");
}

// Rows of half a vector are one whole vector of AVX2, which these processors have too. Its functions are asked for, not
// instantiated here, where the compiler may use instructions that processors with AVX2 alone have not.
template <class Index, IndexFunctions<Index> Target::*Functions>
Kernel<Index> kernel_by_width(Flow flow, RowType type, std::int32_t dim) {
  if (dim == simd::Avx512::width / 2) return (avx2_target.*Functions).kernel(flow, type, dim);
  return kernel<simd::Avx512, Index>(flow, type, dim);
}

template <class Index, IndexFunctions<Index> Target::*Functions>
CopyTiles<Index> tiles_by_width(RowType type, std::int32_t dim) {
  if (dim == simd::Avx512::width / 2) return (avx2_target.*Functions).tiles(type, dim);
  return tiles<simd::Avx512, Index>(type, dim);
}

constexpr Target with_narrow_rows(Target target) {
  target.int32.kernel = kernel_by_width<std::int32_t, &Target::int32>;
  target.int64.kernel = kernel_by_width<std::int64_t, &Target::int64>;
  target.int32.tiles = tiles_by_width<std::int32_t, &Target::int32>;
  target.int64.tiles = tiles_by_width<std::int64_t, &Target::int64>;
  return target;
}
}  // namespace

extern constexpr Target avx512_target = with_narrow_rows(target<simd::Avx512>("avx512", supported));

}  // namespace recsmith
