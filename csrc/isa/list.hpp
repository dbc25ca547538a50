// The targets, each defined in the source of its name.
#pragma once

#include "lookup/target.hpp"

namespace recsmith {

extern const Target scalar_target;
extern const Target avx2_target;
extern const Target avx512_target;
extern const Target neon_target;

}  // namespace recsmith
