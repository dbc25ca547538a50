#include "calibration/probes.hpp"

#include <cstring>

namespace recsmith::calibration {

const Probes* find_probes(const char* name, std::int64_t row_bytes) {
#if defined(__x86_64__)
  static constexpr const Probes* all[] = {&scalar_probes, &avx2_probes, &avx512_probes};
#elif defined(__aarch64__)
  static constexpr const Probes* all[] = {&scalar_probes, &neon_probes};
#else
  static constexpr const Probes* all[] = {&scalar_probes};
#endif
  const Probes* fitting = all[0];
  for (const Probes* probes : all) {
    if (probes->width * 4 <= row_bytes) fitting = probes;
    if (std::strcmp(probes->name, name) == 0) return fitting;
  }
  return nullptr;
}

}  // namespace recsmith::calibration
