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
}  // namespace

extern constexpr Target avx512_target = target<simd::Avx512>("avx512", supported);

}  // namespace recsmith
