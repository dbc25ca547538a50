#include "simd/avx2.hpp"

#include "calibration/vector_probes.hpp"

namespace recsmith::calibration {

extern constexpr Probes avx2_probes = probes<simd::Avx2>("avx2");

}  // namespace recsmith::calibration
