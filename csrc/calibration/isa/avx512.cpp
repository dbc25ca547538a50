#include "simd/avx512.hpp"

#include "calibration/vector_probes.hpp"

namespace recsmith::calibration {

extern constexpr Probes avx512_probes = probes<simd::Avx512>("avx512");

}  // namespace recsmith::calibration
