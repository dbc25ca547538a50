#include "simd/scalar.hpp"

#include "calibration/vector_probes.hpp"

namespace recsmith::calibration {

extern constexpr Probes scalar_probes = probes<simd::Scalar>("scalar");

}  // namespace recsmith::calibration
