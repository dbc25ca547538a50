#include "simd/neon.hpp"

#include "calibration/vector_probes.hpp"

namespace recsmith::calibration {

extern constexpr Probes neon_probes = probes<simd::Neon>("neon");

}  // namespace recsmith::calibration
