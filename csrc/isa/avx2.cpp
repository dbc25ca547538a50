#include "simd/avx2.hpp"

#include <cpuid.h>

#include "isa/list.hpp"
#include "lookup/menu.hpp"

namespace recsmith {

namespace {
// Not every compiler's runtime knows the name of this feature.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

// The compiler's runtime asks the operating system too: registers that it does not save do not count.
bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c(); }
}  // namespace

extern constexpr Target avx2_target = target<simd::Avx2>("avx2", supported);

}  // namespace recsmith
