#include "isa/list.hpp"

namespace recsmith {

const Target* const* targets(std::size_t* count) {
#if defined(__x86_64__)
  static constexpr const Target* all[] = {&scalar_target, &avx2_target, &avx512_target};
#elif defined(__aarch64__)
  static constexpr const Target* all[] = {&scalar_target, &neon_target};
#else
  static constexpr const Target* all[] = {&scalar_target};
#endif
  *count = sizeof all / sizeof *all;
  return all;
}

}  // namespace recsmith
