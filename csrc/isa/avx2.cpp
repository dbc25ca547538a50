#include "simd/avx2.hpp"

#include "isa/list.hpp"
#include "lookup/menu.hpp"

namespace recsmith {

namespace {
// The compiler's runtime asks the operating system too: registers that it does not save do not count.
bool supported() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
}  // namespace

extern constexpr Target avx2_target = target<simd::Avx2>("avx2", supported);

}  // namespace recsmith
